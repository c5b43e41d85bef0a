"""`connection add` and `connection test` with credentials: what to register is said, and whether we are let in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from fhir_tracker import clock
from fhir_tracker.signing_keys import key_set
from fhir_tracker.storage.database import Database
from tests.subscriptions.fake_ehr import BASE, FakeEhr
from tests.subscriptions.test_commands import Shell
from tests.subscriptions.token_server import CLIENT, SECRET, TOKEN_URL, TokenServer, refusal

SIGNED = ["--auth", "private_key_jwt", "--client-id", CLIENT, "--token-url", TOKEN_URL]


@pytest.fixture
def shell(ready_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("FHIR_TRACKER_SECRET_KEY", "k" * 40)
    monkeypatch.setenv("FHIR_TRACKER_PUBLIC_URL", "https://tracker.example")
    return Shell(ready_url, capsys)


@pytest.fixture
def server(ready_url: str, ehr: FakeEhr) -> Iterator[TokenServer]:
    """Gives out tokens that `ehr` lets in, to whoever signs with a key of the database under test."""

    def jwks() -> dict[str, Any]:
        database = Database.open(ready_url)
        try:
            with database.read() as tx:
                return key_set(tx)
        finally:
            database.close()

    made = TokenServer(jwks)
    made.now = clock.now()

    def guard(request: httpx.Request) -> httpx.Response | None:
        if "metadata" in str(request.url):
            return None
        known = {f"Bearer {one}" for one in made.given}
        return None if request.headers.get("authorization") in known else httpx.Response(401)

    ehr.twists.append(guard)
    with respx.mock(assert_all_called=False) as router:
        ehr.serve(router)
        made.serve(router)
        yield made


@pytest.mark.requirement(102, 103)
def test_a_signing_connection_says_what_to_register_and_is_let_in(
    shell: Shell, ehr: FakeEhr, server: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ehr.put("Patient", "a")
    scopes = f"system/Patient.rs test/{shell.url[:6]}"
    shell.add("clinic", *SIGNED, "--scopes", scopes)
    assert f"client id to register   {CLIENT}" in shell.out
    assert "keys to register        https://tracker.example/.well-known/jwks.json" in shell.out
    told = shell.json("connection", "test", "clinic")["authentication"]
    assert (told["kind"], told["state"], told["problems"]) == ("private_key_jwt", "accepted", [])
    assert (told["clientId"], told["algorithm"], told["tokenEndpoint"]) == (CLIENT, "RS384", TOKEN_URL)
    assert (told["scopesAskedFor"], told["scopesGranted"]) == (scopes, "system/*.read")
    assert told["keyId"] == server.assertions[0].header["kid"]
    assert shell.run("connection", "test", "clinic") == 0
    assert "and are                 accepted" in shell.out
    assert shell.json("sync", "--once")["connections"][0]["complete"]
    assert server.asked == 1
    assert "made-up-token" not in caplog.text + shell.out + shell.err


@pytest.mark.parametrize("code", ["invalid_client", "invalid_scope"])
def test_a_refused_client_is_told_what_to_register(shell: Shell, server: TokenServer, code: str) -> None:
    shell.add("clinic", *SIGNED, "--scopes", f"{code} {shell.url[:6]}")
    server.twist = lambda number: refusal(400, code)
    told = shell.json("connection", "test", "clinic", code=1)
    assert (told["reachable"], told["authentication"]["state"]) == (True, "refused")
    assert code in told["error"]
    assert shell.run("connection", "test", "clinic") == 1
    assert CLIENT in shell.out
    assert code in shell.err
    assert shell.run("doctor") == 1
    assert f"FAIL  {'connection clinic':<22} No token is to be had" in shell.out
    assert shell.run("sync", "--once") == 1
    assert shell.json("connection", "show", "clinic")["state"] == "auth_failed"


@pytest.mark.usefixtures("server")
def test_a_server_that_shows_its_metadata_to_all_and_nothing_else_is_found_out(shell: Shell, tmp_path: Path) -> None:
    shell.add("open")
    told = shell.json("connection", "test", "open", code=1)["authentication"]
    assert told["state"] == "refused"
    assert "add the connection with --auth" in told["problems"][0]
    secret = tmp_path / "secret"
    secret.write_text("user:wrong")
    shell.add("basic", "--auth", "basic", "--secret-file", str(secret))
    assert shell.run("connection", "test", "basic") == 1
    assert "does not take our credentials for Patient: check --auth basic" in shell.out


def test_a_client_secret_is_used_and_its_open_travel_is_noticed(
    shell: Shell, ehr: FakeEhr, server: TokenServer, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET, encoding="utf-8")
    words = ["--auth", "client_secret", "--client-id", CLIENT, "--secret-file", str(secret)]
    shell.add("clinic", *words, "--token-url", TOKEN_URL, "--scopes", f"secret/{shell.url[:6]}")
    assert shell.json("connection", "test", "clinic")["authentication"]["state"] == "accepted"
    with respx.mock(assert_all_called=False) as router:
        ehr.serve(router, "http://ehr.example/fhir")
        server.serve(router)
        shell.add("plain", *words, "--token-url", TOKEN_URL, base="http://ehr.example/fhir")
        told = shell.json("connection", "test", "plain")["authentication"]
    assert "secrets travel unencrypted" in told["problems"][0]
    assert SECRET not in shell.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--auth", "private_key_jwt"], "needs --client-id"),
        (["--auth", "client_secret", "--client-id", "x"], "needs --secret-file"),
        (["--auth", "bearer", "--secret-file", "/x", "--scopes", "y"], "takes no --scopes"),
        ([*SIGNED[:4], "--token-url", "http://auth.example/"], "--token-url has to be an https address"),
    ],
)
def test_credentials_that_make_no_sense_are_one_line_and_exit_code_2(shell: Shell, words: list[str], said: str) -> None:
    assert shell.run("connection", "add", "clinic", "--base-url", BASE, *words) == 2
    assert said in shell.err
    assert len(shell.err.splitlines()) == 1
