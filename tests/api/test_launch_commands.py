"""What `connection smart`, `login-provider` and `staff add|list|disable` do, print and tell the audit trail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from fhir_tracker.storage import accounts, epochs, issuers
from fhir_tracker.storage.database import Database
from tests.support.commands import answer, without_settings

Run = Callable[..., tuple[int, str, str]]
SECRET = "made-up-client-secret-4711"
SMART = "connection smart clinic --issuer https://ehr.example/fhir --client-id tracker".split()
ANN = ["--connection", "clinic", "--fhir-user", "Practitioner/7", "--name", "Ann Example, RN"]


@pytest.fixture
def run(ready_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """One command on the test's database, where there is a connection `clinic`."""
    without_settings(monkeypatch, tmp_path)
    monkeypatch.setenv("FHIR_TRACKER_SECRET_KEY", "k" * 40)

    def command(*words: str) -> tuple[int, str, str]:
        try:
            return answer(capsys, [*words, "--database", ready_url])
        except SystemExit as left:
            return int(str(left.code)), "", capsys.readouterr().err

    assert command("connection", "add", "clinic", "--base-url", "https://ehr.example/backend")[0] == 0
    return command


def configured(database: Database) -> list[dict[str, Any]]:
    """What the audit trail tells of changes of configuration besides the commands as they were typed, the oldest first."""
    with database.read() as tx:
        rows = tx.connection.execute(text("SELECT ref, detail FROM audit WHERE action = 'configure' ORDER BY seq"))
        return [{"ref": row.ref, **json.loads(row.detail)} for row in rows if not row.ref.startswith("command/")]


@pytest.mark.requirement(90)
@pytest.mark.security("S55", "E2", "B1")
def test_an_ehr_is_set_up_shown_and_taken_away(run: Run, database: Database, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    code, out, err = run(
        *SMART,
        *("--client-secret-file", str(secret), "--scopes", "launch patient/*.rs", "--intent", "worklist=queue"),
        *("--frame-ancestor", "https://ehr.example", "--frame-ancestor", "https://hub.example:8443", "--json"),
    )
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["clientType"] == "confidential-symmetric"
    assert told["frameAncestors"] == ["https://ehr.example", "https://hub.example:8443"]
    assert told["scopes"] == "launch patient/*.rs openid fhirUser"
    assert told["intents"] == {"worklist": "queue"}
    assert (told["launchUrl"], told["redirectUri"]) == ("/launch", "/callback")
    shown = run("connection", "smart", "clinic")
    assert (shown[0], "https://ehr.example/fhir" in shown[1]) == (0, True)
    everything = out + shown[1] + json.dumps(configured(database))
    assert SECRET not in everything
    assert [one["ref"] for one in configured(database)] == ["issuer/clinic"]
    assert configured(database)[0]["command"] == "connection smart"
    with database.read() as tx:
        kept = issuers.find(tx, "clinic")
        assert epochs.epoch(tx) > 0
    assert kept is not None
    assert SECRET not in str(kept.sealed_secret)
    assert run("connection", "smart", "clinic", "--remove")[0] == 0
    assert run("connection", "smart", "clinic", "--remove")[0] == 1
    assert run("connection", "smart", "clinic")[0] == 1


def test_the_terms_say_what_has_to_be_registered_at_the_ehr(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIR_TRACKER_PUBLIC_URL", "https://tracker.example")
    code, out, _ = run(*SMART, "--client-type", "confidential-asymmetric")
    assert code == 0
    for part in ("/launch\n", "/callback\n", "/.well-known/jwks.json\n"):
        assert f"https://tracker.example{part}" in out
    assert "staff add --connection clinic" in out
    assert "--frame-ancestor" in out
    code, out, _ = run(*SMART, "--no-pkce-check", "--json")
    assert (json.loads(out)["pkceChecked"], json.loads(out)["clientType"]) == (False, "public")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ([], []),
        (["--read-as-user"], ["patients read by each user's own token"]),
        (["--authorize-post"], ["logins begun by POST"]),
        (["--no-pkce-check"], ["PKCE not looked for"]),
        (["--label", "Harbour Clinic"], ["called Harbour Clinic"]),
        (
            ["--endpoint-origin", "https://login.example:8443", "--endpoint-origin", "https://keys.example"],
            ["endpoints also at https://login.example:8443, https://keys.example"],
        ),
        (
            ["--intent", "worklist=queue", "--read-as-user", "--introspection-url", "https://ehr.example/introspect"],
            [
                "introspection https://ehr.example/introspect",
                "intents worklist=queue",
                "patients read by each user's own token",
            ],
        ),
    ],
)
def test_every_term_that_was_given_is_shown_and_no_other(run: Run, given: list[str], shown: list[str]) -> None:
    usual = ("issuer", "client id", "client type", "launch address", "redirect address")
    first = run(*SMART, *given)[1]
    told = [" ".join(line.split()) for line in run("connection", "smart", "clinic")[1].splitlines()[1:]]
    assert sorted(line for line in told if not line.startswith(usual)) == sorted(shown)
    assert all(line in [" ".join(one.split()) for one in first.splitlines()] for line in told)


@pytest.mark.parametrize(
    "words",
    [
        ["--read-as-user"],
        ["--no-pkce-check"],
        ["--authorize-post"],
        ["--frame-ancestor", "https://hub.example"],
        ["--endpoint-origin", "https://hub.example"],
        ["--scopes", "openid"],
        ["--label", "Harbour"],
        ["--client-type", "public"],
        ["--client-secret-file", "/nowhere"],
        ["--intent", "worklist=queue"],
        ["--introspection-url", "https://ehr.example/introspect"],
        ["--issuer", "https://ehr.example/fhir"],
        ["--client-id", "tracker"],
    ],
)
def test_a_term_alone_is_refused_rather_than_passed_over(run: Run, database: Database, words: list[str]) -> None:
    """Who types it would believe it set: with no issuer the terms are only shown."""
    assert run(*SMART, "--intent", "round=operations")[0] == 0
    code, out, err = run("connection", "smart", "clinic", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "all terms are given anew" in err
    with database.read() as tx:
        kept = issuers.find(tx, "clinic")
    assert kept is not None
    assert kept.options == {"intents": {"round": "operations"}}


@pytest.mark.security("S50", "A2", "B1")
def test_staff_is_added_listed_changed_and_disabled(run: Run, database: Database) -> None:
    code, out, _ = run("staff", "add", *ANN, "--role", "rn", "--role", "clinic-admin", "--json")
    assert code == 0
    made = json.loads(out)
    assert (made["person"], made["roles"], made["active"]) == ("Practitioner/clinic-7", ["rn", "clinic-admin"], True)
    assert run("staff", "add", *ANN, "--role", "auditor")[0] == 0
    code, out, _ = run("staff", "list", "--json")
    (listed,) = json.loads(out)["accounts"]
    assert (code, listed["id"], listed["roles"], listed["fhirUser"]) == (0, made["id"], ["auditor"], "Practitioner/7")
    assert "Ann Example, RN" in run("staff", "list")[1]
    assert run("staff", "disable", "--connection", "clinic", "--fhir-user", "Practitioner/7")[0] == 0
    assert "disabled" in run("staff", "list")[1]
    with database.read() as tx:
        assert [one.active for one in accounts.all(tx)] == [False]
    told = configured(database)
    assert [one["command"] for one in told] == ["staff add", "staff add", "staff disable"]
    assert {one["ref"] for one in told} == {f"account/{made['id']}"}
    assert [one["active"] for one in told] == [True, True, False]
    assert all(one["by"] for one in told)


@pytest.mark.parametrize("named", ["id", "person", "fhirUser"])
def test_who_is_disabled_is_named_by_any_of_their_names(run: Run, named: str) -> None:
    made = json.loads(run("staff", "add", *ANN, "--role", "rn", "--json")[1])
    code, out, _ = run("staff", "disable", made[named], "--json")
    assert (code, json.loads(out)["active"]) == (0, False)


def test_a_role_there_is_not_is_refused_with_a_suggestion(run: Run, database: Database) -> None:
    code, out, err = run("staff", "add", *ANN, "--role", "care-cordinator")
    assert (code, out) == (2, "")
    assert "did you mean care-coordinator?" in err
    assert configured(database) == []


def test_staff_outside_an_ehr_comes_by_a_provider(run: Run) -> None:
    add = "login-provider add office --issuer https://login.example/tenant --client-id tracker --subject email".split()
    code, out, _ = run(*add)
    assert (code, "staff add --provider office" in out) == (0, True)
    assert "login.example" in run("login-provider", "list")[1]
    who = ["--provider", "office", "--subject", "ben@clinic.example", "--name", "Ben Example", "--role", "clinic-admin"]
    made = json.loads(run("staff", "add", *who, "--json")[1])
    assert (made["provider"], made["subject"], made["connection"]) == ("office", "ben@clinic.example", None)
    assert run("staff", "disable", "ben@clinic.example", "--provider", "office")[0] == 0
    assert run("login-provider", "remove", "office")[0] == 0
    assert run("staff", "add", *who)[0] == 1


@pytest.mark.parametrize(
    "words", [["--client-secret-file", "/nowhere/at/all"], ["--intent", "no-view"], ["--scopes", "a  b"]]
)
def test_what_cannot_be_used_is_refused_in_one_line(run: Run, words: list[str]) -> None:
    code, out, err = run(*SMART, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
