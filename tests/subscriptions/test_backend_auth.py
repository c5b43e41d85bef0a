"""Tokens as a backend service: how they are asked for, how long they are kept, and what happens when there is none."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from fhir_tracker.errors import RemoteFailure, UsageError
from fhir_tracker.signing_keys import Keyring, key_set
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database
from subscriptions.backend_auth import TokenAuthorizer, Tokens, authorizer_of, registration_of
from subscriptions.client import EhrClient
from tests.subscriptions.token_server import CLIENT, JSON, SECRET, TOKEN_URL, TokenServer, refusal

BASE = "https://ehr.example/fhir"
WELL_KNOWN = f"{BASE}/.well-known/smart-configuration"
KEY = "k" * 40


class Service:
    """Our side: one registration, a clock that the test moves, tokens that no other test sees."""

    def __init__(self, server: TokenServer, options: dict[str, Any], keys: Keyring | None = None) -> None:
        self.keys = keys
        self.server = server
        self.now = server.now
        self.tokens = Tokens()
        self.connection = Connection(
            key="clinic", base_url=BASE, created_at=datetime(2024, 5, 6, tzinfo=UTC), options=options
        )
        self.authorizer = self.made()

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.server.now = self.now

    def made(self) -> TokenAuthorizer:
        return TokenAuthorizer(registration_of(self.connection), self.keys, self.tokens, lambda: self.now)

    def header(self) -> str | None:
        return self.authorizer.header(self.now)

    def client(self) -> EhrClient:
        return EhrClient(BASE, authorizer=self.authorizer, pause=lambda _: None, now=lambda: self.now)


def options(folder: Path, kind: str, **more: str) -> dict[str, Any]:
    told = {"auth": kind, "client_id": CLIENT, "token_url": TOKEN_URL, "scopes": "system/*.read", **more}
    if kind == "client_secret":
        file = folder / "secret"
        file.write_text(f"{SECRET}\n", encoding="utf-8")
        told["secret_file"] = str(file)
    return told


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as made:
        made.get(f"{BASE}/metadata").respond(404)
        yield made


@pytest.fixture
def server(router: respx.MockRouter) -> TokenServer:
    made = TokenServer()
    made.serve(router)
    return made


@pytest.fixture
def service(server: TokenServer, tmp_path: Path) -> Service:
    """A service that shows a secret."""
    return Service(server, options(tmp_path, "client_secret"))


@pytest.fixture
def keys(database: Database, server: TokenServer) -> Keyring:
    """A keyring with one key, which the server knows by its page of keys."""

    def jwks() -> dict[str, Any]:
        with database.read() as tx:
            return key_set(tx)

    server.jwks = jwks
    made = Keyring(database=database, secret_key=KEY)
    made.ensure(server.now, "ES384")
    return made


@pytest.fixture
def signing(server: TokenServer, keys: Keyring, tmp_path: Path) -> Service:
    """A service that signs."""
    return Service(server, options(tmp_path, "private_key_jwt"), keys)


@pytest.mark.requirement(102)
@pytest.mark.parametrize("alg", ["RS384", "ES384"])
def test_an_assertion_is_signed_and_worded_as_smart_says(signing: Service, keys: Keyring, alg: str) -> None:
    signing.pass_time(1)
    keys.rotate(signing.now, alg, at_once=True)
    assert signing.header() == "Bearer made-up-token-1"
    signing.pass_time(3600)
    assert signing.header() == "Bearer made-up-token-2"
    first, second = signing.server.assertions
    with keys.database.read() as tx:
        kid = key_set(tx)["keys"][0]["kid"]
    assert first.header == {"alg": alg, "typ": "JWT", "kid": kid}
    assert set(first.claims) == {"iss", "sub", "aud", "exp", "jti"}
    assert (first.claims["iss"], first.claims["sub"], first.claims["aud"]) == (CLIENT, CLIENT, TOKEN_URL)
    assert isinstance(first.claims["exp"], int)
    assert second.claims["exp"] == int((signing.now + timedelta(minutes=4)).timestamp())
    assert len({first.claims["jti"], second.claims["jti"]}) == 2
    form = signing.server.forms[0]
    assert {name: form[name] for name in ("grant_type", "scope")} == {
        "grant_type": "client_credentials",
        "scope": "system/*.read",
    }
    assert "authorization" not in signing.server.requests[0].headers


@pytest.mark.requirement(102)
def test_the_address_of_the_keys_is_in_the_header_where_the_connection_asks_for_it(
    server: TokenServer, keys: Keyring, tmp_path: Path
) -> None:
    jku = "https://tracker.example/.well-known/jwks.json"
    service = Service(server, options(tmp_path, "private_key_jwt", jku=jku), keys)
    service.header()
    assert server.assertions[0].header["jku"] == jku


@pytest.mark.requirement(102)
def test_a_key_that_was_rotated_signs_after_its_time_and_both_are_good(signing: Service, keys: Keyring) -> None:
    signing.header()
    new = keys.rotate(signing.now)
    signing.pass_time(23 * 3600)
    signing.header()
    signing.pass_time(2 * 3600)
    signing.header()
    kids = [one.header["kid"] for one in signing.server.assertions]
    assert kids[0] == kids[1] != kids[2] == new.kid
    assert signing.server.given == [f"made-up-token-{number}" for number in (1, 2, 3)]


@pytest.mark.requirement(102)
def test_a_server_that_has_not_read_the_new_key_yet_knows_us_by_the_one_before(signing: Service, keys: Keyring) -> None:
    with keys.database.read() as tx:
        read = key_set(tx)
    signing.server.jwks = lambda: read
    signing.pass_time(1)
    keys.rotate(signing.now, at_once=True)
    assert signing.header() == "Bearer made-up-token-2"
    assert signing.server.assertions[-1].header["kid"] == read["keys"][0]["kid"]


@pytest.mark.requirement(102)
def test_a_server_that_takes_one_algorithm_gets_that_one(
    signing: Service, keys: Keyring, router: respx.MockRouter
) -> None:
    told = {"token_endpoint": TOKEN_URL, "token_endpoint_auth_signing_alg_values_supported": ["RS384"]}
    router.get(WELL_KNOWN).respond(200, json=told)
    for alg in ("RS384", "ES384"):
        signing.pass_time(1)
        keys.rotate(signing.now, alg, at_once=True)
    signing.connection = Connection(
        key="clinic", base_url=BASE, created_at=signing.now, options={**signing.connection.options, "token_url": ""}
    )
    assert signing.made().header(signing.now) == "Bearer made-up-token-1"
    assert signing.server.assertions[0].header["alg"] == "RS384"


@pytest.mark.requirement(103)
@pytest.mark.parametrize(
    ("life", "kept", "renewed"),
    [
        (3600, 2879, 2881),
        (570, 455, 457),
        (300, 239, 241),
        (100, 49, 51),
        (60, 29, 31),
        ("3600", 2879, 2881),
        (None, 239, 241),
        (True, 239, 241),
        (0, 239, 241),
        (-5, 239, 241),
        ("soon", 239, 241),
        (1e300, 69_119, 69_121),
        ("9" * 400, 69_119, 69_121),
    ],
)
def test_a_token_is_kept_until_shortly_before_its_end(
    service: Service, life: object, kept: float, renewed: float
) -> None:
    service.server.life = life
    service.header()
    service.pass_time(kept)
    assert service.header() == "Bearer made-up-token-1"
    service.pass_time(renewed - kept)
    assert service.header() == "Bearer made-up-token-2"
    assert service.server.asked == 2


@pytest.mark.requirement(103)
def test_no_refresh_token_is_ever_used(service: Service) -> None:
    service.server.twist = lambda number: httpx.Response(
        200, json={"access_token": f"t{number}", "token_type": "Bearer", "expires_in": 60, "refresh_token": "made-up"}
    )
    for _ in range(2):
        service.header()
        service.pass_time(60)
    assert [form["grant_type"] for form in service.server.forms] == ["client_credentials"] * 2
    assert all("refresh_token" not in form for form in service.server.forms)


@pytest.mark.requirement(103)
def test_a_clock_that_is_put_back_does_not_keep_a_token_for_ever(service: Service) -> None:
    service.header()
    service.pass_time(-7200)
    assert service.header() == "Bearer made-up-token-2"


@pytest.mark.requirement(103)
def test_many_threads_and_clients_ask_for_one_token(service: Service) -> None:
    gate, entered = threading.Event(), threading.Event()

    def slowly(number: int) -> httpx.Response:
        entered.set()
        assert gate.wait(30)
        return service.server.token(number)

    service.server.twist = slowly
    found: list[str | None] = []
    threads = [threading.Thread(target=lambda: found.append(service.made().header(service.now))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert entered.wait(30)
    gate.set()
    for thread in threads:
        thread.join(30)
    assert found == ["Bearer made-up-token-1"] * 8
    assert service.server.asked == 1


@pytest.mark.requirement(103)
def test_a_401_brings_one_new_token_and_the_request_is_made_once_more(
    service: Service, router: respx.MockRouter
) -> None:
    route = router.get(f"{BASE}/Patient").mock(
        side_effect=[httpx.Response(200), httpx.Response(401), httpx.Response(200)]
    )
    with service.client() as ehr:
        assert ehr.get("Patient").status == 200
        assert ehr.get("Patient").status == 200
    sent = [call.request.headers["authorization"] for call in route.calls]
    assert sent == ["Bearer made-up-token-1", "Bearer made-up-token-1", "Bearer made-up-token-2"]
    assert service.server.asked == 2


@pytest.mark.requirement(103)
def test_a_server_that_takes_no_token_is_asked_twice_and_no_more(service: Service, router: respx.MockRouter) -> None:
    route = router.get(f"{BASE}/Patient").respond(401)
    with service.client() as ehr:
        assert ehr.get("Patient").status == 401
    assert (route.call_count, service.server.asked) == (2, 2)


@pytest.mark.requirement(103)
def test_after_a_401_a_token_that_another_thread_has_got_meanwhile_is_used(service: Service) -> None:
    other = service.made()
    assert other.header(service.now) == service.header() == "Bearer made-up-token-1"
    assert service.authorizer.refused()
    assert other.refused()
    assert other.header(service.now) == service.header() == "Bearer made-up-token-2"
    assert service.server.asked == 2


def test_a_secret_is_sent_to_the_token_endpoint_only_and_as_the_rules_of_forms_say(
    service: Service,
) -> None:
    assert service.header() == "Bearer made-up-token-1"
    assert "client_assertion" not in service.server.forms[0]
    assert "secret" not in str(service.server.forms[0])


def test_a_secret_goes_to_another_server_only_when_a_person_named_it(
    server: TokenServer, router: respx.MockRouter, tmp_path: Path
) -> None:
    router.get(WELL_KNOWN).respond(200, json={"token_endpoint": TOKEN_URL})
    service = Service(server, options(tmp_path, "client_secret", token_url=""))
    with pytest.raises(RemoteFailure, match=r"https://auth\.example:443, another server, .* --token-url") as caught:
        service.header()
    assert caught.value.auth
    assert server.asked == 0


def test_the_token_endpoint_is_found_by_asking_the_server(
    server: TokenServer, router: respx.MockRouter, tmp_path: Path
) -> None:
    url = "https://ehr.example/oauth2/token"
    server.serve(router, url)
    route = router.get(WELL_KNOWN).respond(200, json={"token_endpoint": url, "capabilities": ["permission-v2"]})
    service = Service(server, options(tmp_path, "client_secret", token_url="", scopes=""))
    assert service.header() == "Bearer made-up-token-1"
    assert route.calls.last.request.headers["accept"] == "application/json"
    assert "authorization" not in route.calls.last.request.headers
    assert server.forms[0]["scope"] == "system/*.rs"
    service.pass_time(1200)
    service.header()
    assert route.call_count == 1
    service.pass_time(3600)
    service.header()
    assert route.call_count == 2


def test_a_server_that_does_not_decode_the_secret_gets_it_as_it_is(service: Service) -> None:
    service.server.decodes = False
    assert service.header() == "Bearer made-up-token-2"
    service.pass_time(3600)
    assert service.header() == "Bearer made-up-token-3"
    service.server.decodes = True
    service.pass_time(3600)
    assert service.header() == "Bearer made-up-token-5"


@pytest.mark.parametrize(
    "told",
    [
        "http://auth.example/token",
        "ftp://auth.example/token",
        "/oauth2/token",
        "https://",
        "https://user:pass@auth.example/token",
        "https://auth.example:99999/token",
        "https://auth.example/to ken",
        "javascript:alert(1)",
        7,
        None,
        ["https://auth.example"],
        "",
    ],
)
def test_a_token_endpoint_that_credentials_may_not_go_to_is_not_used(
    service: Service, router: respx.MockRouter, told: object
) -> None:
    router.get(WELL_KNOWN).respond(200, json={"token_endpoint": told})
    service.connection = Connection(
        key="clinic", base_url=BASE, created_at=service.now, options={**service.connection.options, "token_url": ""}
    )
    with pytest.raises(RemoteFailure, match="give --token-url") as caught:
        service.made().header(service.now)
    assert caught.value.auth
    assert service.server.asked == 0


@pytest.mark.parametrize(
    ("answer", "auth"),
    [
        (httpx.Response(404), True),
        (httpx.Response(200, headers={"content-type": "text/html"}, text="<html>"), True),
        (httpx.Response(200, headers=JSON, text="[1"), False),
        (httpx.Response(200, headers=JSON, text='{"token_endpoint":'), False),
        (httpx.Response(503), False),
        (httpx.Response(302, headers={"location": "https://evil.example/"}), True),
    ],
)
def test_a_server_that_does_not_say_where_it_gives_tokens_is_told_of(
    service: Service, router: respx.MockRouter, answer: httpx.Response, auth: bool
) -> None:
    router.get(WELL_KNOWN).mock(return_value=answer)
    service.connection = Connection(
        key="clinic", base_url=BASE, created_at=service.now, options={**service.connection.options, "token_url": ""}
    )
    with pytest.raises(RemoteFailure) as caught:
        service.made().header(service.now)
    assert caught.value.auth is auth


FAULTS = [
    (refusal(400, "invalid_client"), True, "invalid_client: it does not know"),
    (refusal(401, "invalid_client"), True, "invalid_client: it does not know"),
    (refusal(400, "invalid_scope"), True, "check --scopes"),
    (refusal(400, "CANARY"), True, "answered 400."),
    (refusal(403, "unauthorized_client", error_description="CANARY"), True, "client_credentials"),
    (httpx.Response(408), False, "answered 408"),
    (httpx.Response(429, headers={"retry-after": "7"}), False, "answered 429"),
    (httpx.Response(500, text="CANARY"), False, "answered 500"),
    (httpx.Response(502, headers={"content-type": "text/html"}, text="CANARY"), False, "answered 502"),
    (httpx.Response(503, headers={"retry-after": "7"}), False, "answered 503"),
    (httpx.Response(404), True, "answered 404"),
    (httpx.Response(204), True, "answered 204"),
    (httpx.Response(200, headers={"content-type": "text/html"}, text="<html>CANARY"), True, "without a token"),
    (httpx.Response(200, headers=JSON, text=""), True, "without a token"),
    (httpx.Response(200, headers=JSON, text="{}"), True, "without a token"),
    (httpx.Response(200, headers=JSON, text="[" * 5000), True, "without a token"),
    (httpx.Response(200, json={"access_token": ""}), True, "without a token"),
    (httpx.Response(200, json={"access_token": 7}), True, "without a token"),
    (httpx.Response(200, json={"access_token": "a\r\nX-CANARY: 1"}), True, "without a token"),
    (httpx.Response(200, json={"access_token": "a" * 20_000}), True, "without a token"),
    (httpx.Response(200, json={"access_token": "CANARY", "token_type": "mac"}), True, "another kind"),
    (httpx.Response(200, headers=JSON, content=b" " * 200_000), True, "larger than"),
    (httpx.Response(302, headers={"location": "https://evil.example/"}), True, "redirects"),
    (httpx.Response(307, headers={"location": "https://evil.example/"}), True, "another origin"),
    (httpx.Response(308, headers={"location": "//evil.example/"}), True, "another origin"),
]


@pytest.mark.requirement(103)
@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_a_token_endpoint_that_fails_is_told_of_in_plain_words_and_shows_nothing_secret(
    service: Service, router: respx.MockRouter, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    answer, auth, said = FAULTS[number]
    caplog.set_level(logging.DEBUG)
    trap = router.route(host="evil.example")
    service.server.twist = lambda _: httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
    route = router.get(f"{BASE}/Patient")
    with service.client() as ehr, pytest.raises(RemoteFailure, match=said) as caught:
        ehr.get("Patient")
    assert caught.value.auth is auth
    assert not caught.value.permanent
    assert ("To mend it: check" in caught.value.message) is auth
    assert not trap.called
    assert not route.called
    shown = caplog.text + caught.value.message + repr(service.tokens.shelf(registration_of(service.connection)))
    assert "CANARY" not in shown
    assert SECRET not in shown
    assert service.server.requests[0].headers["authorization"].split()[1] not in shown


def test_a_refused_assertion_is_not_shown_and_what_to_register_is_said(
    signing: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    signing.server.twist = lambda number: refusal(401, "invalid_client", error_description="CANARY")
    with pytest.raises(RemoteFailure, match=f"register the client id {CLIENT} and the address of our keys") as caught:
        signing.header()
    shown = caplog.text + caught.value.message
    assert "CANARY" not in shown
    assert signing.server.forms[0]["client_assertion"] not in shown


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.ReadError("cut")])
def test_a_token_endpoint_that_is_away_is_no_matter_of_credentials(service: Service, error: Exception) -> None:
    def away(_: int) -> httpx.Response:
        raise error

    service.server.twist = away
    with pytest.raises(RemoteFailure) as caught:
        service.header()
    assert not caught.value.auth
    assert not caught.value.permanent


@pytest.mark.requirement(103)
def test_a_renewal_that_fails_is_put_off_while_the_old_token_still_counts(service: Service) -> None:
    service.header()
    service.server.twist = lambda number: httpx.Response(503)
    service.pass_time(500)
    assert [service.header() for _ in range(3)] == ["Bearer made-up-token-1"] * 3
    assert service.server.asked == 2
    service.pass_time(40)
    assert service.header() == "Bearer made-up-token-1"
    assert service.server.asked == 3
    service.pass_time(61)
    with pytest.raises(RemoteFailure, match="503"):
        service.header()
    service.server.twist = lambda number: None
    assert service.header() == "Bearer made-up-token-5"


@pytest.mark.requirement(103)
def test_a_token_that_was_refused_is_never_used_again(service: Service, router: respx.MockRouter) -> None:
    router.get(f"{BASE}/Patient").mock(side_effect=[httpx.Response(401), httpx.Response(200)])
    service.server.twist = lambda number: None if number != 2 else httpx.Response(503)
    with service.client() as ehr:
        with pytest.raises(RemoteFailure) as caught:
            ehr.get("Patient")
        assert not caught.value.auth
        assert ehr.get("Patient").status == 200
    assert service.header() == "Bearer made-up-token-3"


def test_threads_that_wait_for_a_token_share_its_failure(service: Service) -> None:
    gate, waiting = threading.Event(), threading.Barrier(5)

    def slowly(number: int) -> httpx.Response:
        assert gate.wait(30)
        return refusal(400, "invalid_client")

    service.server.twist = slowly
    told: list[RemoteFailure] = []

    def ask() -> None:
        one = service.made()
        waiting.wait(30)
        try:
            one.header(service.now)
        except RemoteFailure as failure:
            told.append(failure)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    waiting.wait(30)
    gate.set()
    for thread in threads:
        thread.join(30)
    assert [failure.auth for failure in told] == [True] * 4
    assert 1 <= service.server.asked <= 4


def test_another_registration_has_another_token(service: Service) -> None:
    service.header()
    options = {**service.connection.options, "scopes": "system/Task.read"}
    service.connection = Connection(key="b", base_url=BASE, created_at=service.now, options=options)
    assert service.made().header(service.now) == "Bearer made-up-token-2"


def test_a_secret_that_cannot_be_read_is_a_mistake_of_ours(server: TokenServer, tmp_path: Path) -> None:
    service = Service(server, {**options(tmp_path, "client_secret"), "secret_file": str(tmp_path / "none")})
    with pytest.raises(UsageError, match="cannot be read"):
        service.header()
    (tmp_path / "none").write_text(SECRET, encoding="utf-8")
    assert service.header() == "Bearer made-up-token-1"


def test_without_keys_at_hand_nothing_is_signed(server: TokenServer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none is at hand"):
        Service(server, options(tmp_path, "private_key_jwt")).header()


def test_a_connection_without_tokens_has_a_header_that_never_changes() -> None:
    now = datetime(2024, 5, 6, tzinfo=UTC)
    made = authorizer_of(Connection(key="a", base_url=BASE, created_at=now))
    assert made.header(now) is None
    assert not made.refused()
