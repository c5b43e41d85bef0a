"""`fhir-tracker staff add --local`: what it does, prints, tells the trail, and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.cli import main
from fhir_tracker import local_accounts
from fhir_tracker.errors import Forbidden
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import accounts, audit
from fhir_tracker.storage.database import Database


@pytest.fixture
def ready_url(prepared_file: Path, tmp_path: Path) -> str:
    """The subject is the command."""
    path = tmp_path / "tracker.db"
    path.write_bytes(prepared_file.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture
def run(ready_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> object:
    """Run `fhir-tracker staff ...`: its exit code, what it printed and what it complained of."""
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.setenv("FHIR_TRACKER_SECRET_KEY", "k" * 40)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["staff", *words, "--database", ready_url])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def called(run: object, *words: str) -> tuple[int, str, str]:
    assert callable(run)
    found = run(*words)
    assert isinstance(found, tuple)
    return found


@pytest.mark.security("A2", "S55")
def test_somebody_is_invited_by_a_code_that_is_shown_once(run: object, database: Database) -> None:
    code, out, _ = called(run, "add", "--local", "Ada", "--name", "Ada Example", "--role", "rn", "--json")
    told = json.loads(out)
    assert (code, told["name"], told["subject"], told["roles"], told["changed"]) == (
        0,
        "Ada Example",
        "ada",
        ["rn"],
        False,
    )
    with database.begin() as tx:
        (row,) = [one for one in audit.list(tx, worker_viewer("auditor")) if one.ref.startswith("account/")]
        (account,) = accounts.all(tx)
        assert told["invitation"] not in str(row)
        assert (row.detail["command"], row.ref) == ("staff add --local", f"account/{account.id}")
        assert account.ref == f"Practitioner/{account.id}"
    listed = called(run, "list", "--json")[1]
    assert told["invitation"] not in listed
    assert "ada" in listed


def test_the_text_says_what_to_do_next_and_that_local_accounts_are_off(run: object) -> None:
    code, out, _ = called(run, "add", "--local", "ada", "--role", "rn")
    assert code == 0
    assert "ada (ada) may come in as rn" in out
    assert "/login/enrol" in out
    assert "FHIR_TRACKER_LOCAL_LOGIN=on" in out


@pytest.mark.security("S50")
def test_the_same_name_again_begins_anew(run: object, database: Database) -> None:
    first = json.loads(called(run, "add", "--local", "ada", "--role", "rn", "--json")[1])
    second = json.loads(called(run, "add", "--local", "ADA", "--role", "front-desk", "--json")[1])
    assert (second["id"], second["changed"], second["roles"]) == (first["id"], True, ["front-desk"])
    with database.begin() as tx, pytest.raises(Forbidden):
        local_accounts.invitation(tx, first["invitation"], "k" * 40, accounts.all(tx)[0].changed_at)
    assert "has to enrol again" in called(run, "add", "--local", "ada", "--role", "rn")[1]


def test_a_local_account_is_disabled_by_its_name(run: object, database: Database) -> None:
    called(run, "add", "--local", "ada", "--role", "rn")
    code, out, _ = called(run, "disable", "ada")
    assert (code, "is let in no more" in out) == (0, True)
    with database.begin() as tx:
        assert not accounts.all(tx)[0].active


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--local", "a b", "--role", "rn"], "--local is the name to log in with"),
        (["--local", "ada", "--role", "queen"], "There is no role 'queen'"),
        (["--local", "ada"], "Somebody without a role"),
        (["--local", "ada", "--role", "rn", "--connection", "north"], "--local is for somebody whom no EHR"),
        (["--local", "ada", "--role", "rn", "--subject", "x"], "--local is for somebody whom no EHR"),
        (["--role", "rn", "--connection", "north", "--fhir-user", "Practitioner/1"], "north"),
    ],
)
def test_what_makes_no_sense_is_refused(run: object, database: Database, words: list[str], told: str) -> None:
    code, out, err = called(run, "add", *words)
    assert code in (1, 2)
    assert told in err
    assert out == ""
    with database.begin() as tx:
        assert accounts.all(tx) == []
