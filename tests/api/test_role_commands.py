"""What `roles show|check|load` do, print and tell the audit trail; and that a loaded file counts at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from fhir_tracker import roles
from fhir_tracker.errors import Fault, Incorrect, NotFound
from fhir_tracker.roles import built_in
from fhir_tracker.storage import epochs, glass, role_files
from fhir_tracker.storage.database import Database
from tests.storage.samples import NOW
from tests.support.commands import answer, without_settings

Run = Callable[..., tuple[int, str, str]]
OURS = """
roles:
  - role: medical-assistant
    title: Medical assistant
    may: [Task.rus, Patient.rs]
    hide: {Task: [note]}
    fix: {Task: [restriction]}
    acts: [queue, task]
    programs: [tcm]
  - role: front-desk
    title: Front desk
    may: [Patient.rs]
"""


@pytest.fixture
def run(ready_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """One command on the test's database."""
    without_settings(monkeypatch, tmp_path)
    monkeypatch.setenv("FHIR_TRACKER_SECRET_KEY", "k" * 40)
    return lambda *words: answer(capsys, [*words, "--database", ready_url])


@pytest.fixture
def ours(tmp_path: Path) -> str:
    """The practice's own file."""
    path = tmp_path / "ours.yaml"
    path.write_text(OURS)
    return str(path)


def test_the_roles_of_the_product_are_shown_in_words(run: Run) -> None:
    code, out, err = run("roles", "show")
    assert (code, err) == (0, "")
    assert all(role in out for role in built_in())
    code, out, _ = run("roles", "show", "front-desk")
    assert code == 0
    assert "never sees, nor sets, of Task: description, input" in out
    assert "open the page of a patient" in out
    assert "Observation" not in out


def test_a_role_there_is_not_is_told_with_one_near(run: Run) -> None:
    code, out, err = run("roles", "show", "front-desc")
    assert (code, out) == (1, "")
    assert err == "fhir-tracker: There is no role 'front-desc' (did you mean \"front-desk\"?).\n"


def test_checking_a_file_changes_nothing(run: Run, ours: str, database: Database) -> None:
    code, out, _ = run("roles", "check", ours)
    assert (code, out) == (0, f"{ours}: 2 roles, no problem: medical-assistant, front-desk\n")
    with database.read() as tx:
        assert role_files.all(tx) == []


def test_problems_are_told_with_their_places(run: Run, tmp_path: Path, database: Database) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("roles:\n  - {role: a, may: [Task.sr]}\n")
    for action in ("check", "load"):
        code, out, err = run("roles", action, str(path))
        assert (code, out) == (1, "")
        assert "line 2, column 21" in err
    with database.read() as tx:
        assert (role_files.all(tx), epochs.epoch(tx)) == ([], 0)


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_a_file_that_is_not_there_is_a_usage_error(run: Run, name: str) -> None:
    assert run("roles", "load", name)[0] == 2


@pytest.mark.security("S50", "B1")
def test_a_loaded_file_counts_at_once_is_kept_and_audited(run: Run, ours: str, database: Database) -> None:
    code, out, err = run("roles", "load", ours, "--reason", "We have assistants now", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["changed"] == ["front-desk", "medical-assistant"]
    with database.read() as tx:
        (kept,) = role_files.all(tx)
        assert (kept.number, kept.source, kept.reason) == (1, OURS, "We have assistants now")
        assert kept.loaded_by.startswith("command line: ")
        assert epochs.epoch(tx) == 1
        assert roles.policy_for(tx, ["medical-assistant"]).hidden == {"Task": {"note"}}
        assert roles.policy_for(tx, ["front-desk"]).grants == roles.required(tx, "front-desk").grants
        assert [grant.text for grant in roles.policy_for(tx, ["front-desk"]).grants] == ["user/Patient.rs"]
        assert roles.policy_for(tx, ["rn"]) == built_in()["rn"]
        rows = tx.connection.execute(
            text("SELECT ref, detail FROM audit WHERE action = 'configure' AND ref LIKE 'roles/%'")
        ).all()
    assert [row.ref for row in rows] == ["roles/1"]
    told = json.loads(rows[0].detail)
    assert (told["roles"], told["reason"]) == (["front-desk", "medical-assistant"], "We have assistants now")
    assert told["by"]
    assert "file 1: loaded" in run("roles", "show")[1]


@pytest.mark.security("S48")
def test_an_emptied_role_gives_nothing_and_an_unknown_one_neither(database: Database) -> None:
    with database.begin() as tx:
        roles.load(tx, "roles:\n  - {role: rn, may: []}\n", name="x", at=NOW, by="test")
        found = roles.policy_for(tx, ["rn", "stranger"])
        assert (found.grants, found.acts) == ((), frozenset())
        with pytest.raises(NotFound):
            roles.required(tx, "stranger")


def test_the_last_role_that_can_change_roles_cannot_be_taken_away(database: Database) -> None:
    with pytest.raises(Incorrect, match="people or roles"), database.begin() as tx:
        roles.load(tx, "roles:\n  - {role: clinic-admin, may: [Patient.rs]}\n", name="x", at=NOW, by="test")
    with database.read() as tx:
        assert role_files.all(tx) == []


@pytest.mark.security("S48")
def test_a_kept_file_that_cannot_be_read_lets_nobody_in(database: Database) -> None:
    with database.begin() as tx:
        role_files.add(tx, "roles: [of a later release]", at=NOW, by="test")
    with pytest.raises(Fault, match="Role file 1"), database.read() as tx:
        roles.policy_for(tx, ["rn"])


@pytest.mark.security("A5", "B1", "S50")
def test_which_labels_restrict_is_said_by_a_command_and_is_in_the_trail(run: Run, database: Database) -> None:
    assert "restricted by these labels: R, V, 42CFRPart2" in run("roles", "show")[1]
    with database.read() as tx:
        before = epochs.epoch(tx)
    code, out, err = run("roles", "restrict", "V", "PSY", "http://a|b", "--reason", "Staff", "--json")
    assert (code, json.loads(out), err) == (0, {"restricting": ["PSY", "V", "http://a|b"]}, "")
    assert json.loads(run("roles", "show", "--json")[1])["restricting"] == ["PSY", "V", "http://a|b"]
    assert "by these labels: none" in run("roles", "restrict", "--none")[1]
    with database.read() as tx:
        assert epochs.epoch(tx) == before + 2
        rows = tx.connection.execute(text("SELECT detail FROM audit WHERE ref = 'roles/labels' ORDER BY seq")).scalars()
        told = [json.loads(one) if isinstance(one, str) else one for one in rows]
    assert [(one["labels"], one["reason"]) for one in told] == [(["PSY", "V", "http://a|b"], "Staff"), ([], "")]
    assert told[1]["before"] == ["PSY", "V", "http://a|b"]


@pytest.mark.parametrize(
    ("words", "wanted"), [((), 2), (("R", "--none"), 2), (("HVI",), 1), (("R", "a b"), 1), (("x" * 501,), 1)]
)
def test_labels_that_are_none_are_refused_in_one_line(run: Run, words: tuple[str, ...], wanted: int) -> None:
    code, out, err = run("roles", "restrict", *words)
    assert (code, out) == (wanted, "")
    assert len(err.strip().splitlines()) == 1
    assert "by these labels: R, V" in run("roles", "show")[1]


@pytest.mark.security("A5", "B1")
def test_the_list_of_broken_glass_says_who_why_and_until_when(run: Run, database: Database) -> None:
    assert run("break-glass", "list")[1] == "nobody has opened a restricted record\n"
    with database.begin() as tx:
        glass.add(
            tx,
            glass.Opening(
                id="1",
                who="Practitioner/nurse",
                patient="vip",
                reason="She fell",
                began_at=NOW,
                ends_at=NOW + timedelta(minutes=60),
            ),
        )
    code, out, err = run("break-glass", "list")
    assert (code, err) == (0, "")
    assert "Practitioner/nurse" in out
    assert "She fell" in out
    (row,) = json.loads(run("break-glass", "list", "--json", "--limit", "5")[1])["openings"]
    assert (row["patient"], row["open"], row["ends"]) == ("Patient/vip", False, "2026-03-09T16:30:00+00:00")
