"""`client` as people use it: systems are let in, listed, given new keys and shut out, and no secret is ever shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import respx

from api.cli import main
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import audit, clients
from fhir_tracker.storage.database import Database
from tests.support.systems import ec_key, key_set, rsa_key

URL = "https://reports.example/jwks.json"


@pytest.fixture
def keys(tmp_path: Path) -> str:
    """A file with the public keys `ec` and `rsa`."""
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(key_set("ec", "rsa")))
    return str(file)


def run(url: str, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command says, errors included."""
    capsys.readouterr()
    assert main(["client", *words, "--database", url]) == code, capsys.readouterr().err
    said = capsys.readouterr()
    return said.out + said.err


def listed(url: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(url, capsys, "list", "--json"))["clients"]
    return found


@pytest.mark.requirement(104, 108)
def test_a_system_lives_from_its_first_key_to_its_end(
    ready_url: str, capsys: pytest.CaptureFixture[str], keys: str, tmp_path: Path
) -> None:
    assert "no system may come in" in run(ready_url, capsys, "list")
    said = run(ready_url, capsys, "add", "reports", "--scopes", "system/Task.rs system/Patient.r", "--jwks-file", keys)
    assert "system/Task.rs system/Patient.r" in said
    (one,) = listed(ready_url, capsys)
    assert (one["id"], one["state"], one["keys"]) == ("reports", "active", ["ec", "rsa"])
    assert "reports" in run(ready_url, capsys, "list")
    (tmp_path / "new.json").write_text(json.dumps(key_set("new")))
    told = json.loads(run(ready_url, capsys, "rotate", "reports", "--jwks-file", str(tmp_path / "new.json"), "--json"))
    assert (told["keys"], told["rotated"] is not None) == (["new"], True)
    assert json.loads(run(ready_url, capsys, "revoke", "reports", "--json")) == {"revoked": "reports", "tokensEnded": 0}
    assert listed(ready_url, capsys)[0]["state"] == "revoked"
    assert "no client" in run(ready_url, capsys, "revoke", "reports", code=1)
    run(ready_url, capsys, "add", "reports", "--scopes", "system/Task.r", "--jwks-file", keys, "--name", "Reports")
    assert [(each["state"], each["scopes"], each["name"]) for each in listed(ready_url, capsys)] == [
        ("active", ["system/Task.r"], "Reports")
    ]


@pytest.mark.security("S55", "S1")
def test_private_keys_are_refused_and_shown_nowhere(
    ready_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for key in (ec_key("ec"), rsa_key()):
        private = {**key.as_dict(private=True), "kid": "a"}
        (tmp_path / "private.json").write_text(json.dumps({"keys": [private]}))
        words = ("add", "reports", "--scopes", "system/*.rs", "--jwks-file", str(tmp_path / "private.json"))
        said = run(ready_url, capsys, *words, code=2)
        assert "private" in said
        assert str(private["d"]) not in said
    assert listed(ready_url, capsys) == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("add", "reports", "--scopes", "user/*.rs"), "for people"),
        (("add", "reports", "--scopes", "system/Nope.rs"), "no scope"),
        (("add", "reports", "--scopes", " "), "at least one scope"),
        (("add", "a b", "--scopes", "system/*.rs"), "without spaces"),
        (("add", "sync", "--scopes", "system/*.rs"), "our own names"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(
    ready_url: str, capsys: pytest.CaptureFixture[str], keys: str, words: tuple[str, ...], why: str
) -> None:
    said = run(ready_url, capsys, *words, "--jwks-file", keys, code=2)
    assert why in said
    assert said.count("\n") == 1


def test_a_file_or_an_address_is_needed_and_not_both(
    ready_url: str, capsys: pytest.CaptureFixture[str], keys: str
) -> None:
    for more in ((), ("--jwks-file", keys, "--jwks-url", URL)):
        with pytest.raises(SystemExit) as caught:
            main(["client", "add", "reports", "--scopes", "system/*.rs", *more, "--database", ready_url])
        assert caught.value.code == 2
    assert "cannot be read" in run(
        ready_url, capsys, "add", "reports", "--scopes", "system/*.rs", "--jwks-file", "/nowhere/at/all", code=2
    )


@pytest.mark.requirement(108)
@pytest.mark.security("S27", "S29")
def test_an_address_is_looked_at_once_and_an_absent_one_is_told(
    ready_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--scopes", "system/*.rs", "--jwks-url")
    with respx.mock() as router:
        there = router.get(URL).respond(json=key_set("ec"))
        said = run(ready_url, capsys, "add", "good", *words, URL)
        assert (there.call_count, "cannot be read" in said) == (1, False)
        there.respond(500)
        assert "cannot be read now" in run(ready_url, capsys, "add", "away", *words, URL)
        there.respond(json={"keys": []})
        assert "none of the keys" in run(ready_url, capsys, "add", "empty", *words, URL)
        there.respond(json={"keys": [{**ec_key("ec").as_dict(private=True), "kid": "a"}]})
        assert "private" in run(ready_url, capsys, "add", "leaking", *words, URL, code=2)
    assert [one["id"] for one in listed(ready_url, capsys)] == ["away", "empty", "good"]
    assert "https" in run(ready_url, capsys, "add", "plain", *words, "http://reports.example/jwks.json", code=2)


@pytest.mark.security("B1", "A2")
def test_each_change_stands_in_the_trail_with_who_ran_the_command(
    database: Database, ready_url: str, capsys: pytest.CaptureFixture[str], keys: str
) -> None:
    run(ready_url, capsys, "add", "reports", "--scopes", "system/*.rs", "--jwks-file", keys)
    run(ready_url, capsys, "rotate", "reports", "--jwks-file", keys)
    run(ready_url, capsys, "revoke", "reports")
    with database.read() as tx:
        rows = [row for row in audit.list(tx, open_viewer()) if row.ref == "Device/reports"]
        assert clients.find(tx, "reports") is not None
    assert [(row.who, row.ref, row.detail["command"]) for row in reversed(rows)] == [
        ("Device/command-line", "Device/reports", f"client {act}") for act in ("add", "rotate", "revoke")
    ]
    assert all(row.detail["by"] for row in rows)
