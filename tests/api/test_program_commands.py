"""The commands of change control: what each prints and answers, on either database."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from api.doctor import examine
from api.worker import run_rules
from fhir_tracker import clock
from fhir_tracker.config import load_settings
from fhir_tracker.storage import programs as rows
from fhir_tracker.storage.database import Database
from tests.support.clinic import RING, Clinic
from tests.support.commands import answer, without_settings
from tests.test_change_control import tamper

DAY = timedelta(days=1)
LATER = RING.replace("within: 2 days", "within: 3 days")
RENAMED = RING.replace("to-call", "new")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(ready_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("program", "history")` is one command on the test's database: its exit code, output and errors."""
    without_settings(monkeypatch, tmp_path)

    def command(*words: str, **texts: str) -> tuple[int, str, str]:
        for name, text in texts.items():
            (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        files = [str(tmp_path / f"{word[1:]}.yaml") if word.startswith("@") else word for word in words]
        return answer(capsys, [*files, "--database", ready_url])

    return command


@pytest.fixture
def late(database: Database) -> Clinic:
    """A clinic with one patient whose first call is late and escalated."""
    start = clock.now() - 2 * DAY - timedelta(minutes=1)
    clinic = Clinic(database, at=start)
    clinic.patient("ann", start)
    clinic.discharge("ann", start)
    clinic.sweep(clock.now())
    return clinic


def test_a_version_goes_from_draft_to_approved_to_active_and_back(
    run: Run, late: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FHIR_TRACKER_REQUIRE_APPROVER", "yes")
    monkeypatch.setenv("FHIR_TRACKER_REQUIRE_REASON", "yes")
    assert run("program", "publish", "@new", new=LATER)[0] == 1
    code, out, _ = run("program", "publish", "@new", "--reason", "Three days are enough", "--by", "Practitioner/a")
    assert (code, "waits for approval: fhir-tracker program approve ring --version 2" in out) == (0, True)
    code, _, err = run("program", "approve", "ring", "--by", "Practitioner/a")
    assert (code, "another person has to approve it" in err) == (1, True)
    code, out, _ = run("program", "approve", "ring", "--by", "Practitioner/b")
    assert (code, out) == (0, "Ring after discharge (ring) is active as version 2.\n")
    assert run("program", "rollback", "ring", "--by", "Practitioner/b")[0] == 1
    code, out, _ = run("program", "rollback", "ring", "--reason", "Too late", "--by", "Practitioner/b", "--json")
    told = json.loads(out)
    assert (code, told["version"], told["status"], told["rollsBackTo"], told["movedPlans"]) == (0, 3, "draft", 1, 0)
    assert run("program", "approve", "ring", "--by", "Practitioner/b")[0] == 1
    code, out, _ = run("program", "approve", "ring", "--by", "Practitioner/a", "--json")
    told = json.loads(out)
    assert (code, told["status"], told["approver"], told["stay"]) == (0, "active", "Practitioner/a", {})
    code, out, _ = run("program", "history", "ring", "--json")
    lines = [(one["version"], one["status"], one["author"], one["approver"], one["reason"]) for one in json.loads(out)]
    assert (code, lines) == (
        0,
        [
            (3, "active", "Practitioner/b", "Practitioner/a", "Too late"),
            (2, "retired", "Practitioner/a", "Practitioner/b", "Three days are enough"),
            (1, "retired", "Device/test", None, None),
        ],
    )
    assert json.loads(out)[1]["hash"] == rows.digest(LATER)
    code, out, _ = run("program", "history", "ring")
    assert "back to version 1: Too late" in out


def test_plans_are_moved_by_another_person_than_who_wrote_the_version(
    run: Run, late: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FHIR_TRACKER_REQUIRE_APPROVER", "yes")
    run("program", "publish", "@new", "--by", "Practitioner/a", new=LATER)
    run("program", "approve", "ring", "--by", "Practitioner/b")
    code, _, err = run("program", "migrate-plans", "ring", "--by", "Practitioner/a")
    assert (code, "another person has to move plans to it" in err) == (1, True)
    code, out, _ = run("program", "migrate-plans", "ring", "--by", "Practitioner/b", "--json")
    assert (code, json.loads(out)["movedPlans"]) == (0, 1)
    run("program", "rollback", "ring", "--by", "Practitioner/a")
    code, out, _ = run("program", "approve", "ring", "--by", "Practitioner/b", "--json")
    assert (code, json.loads(out)["movedPlans"]) == (0, 1), "with the approval the plans go back too"
    assert {one.program_version for one in late.items("ann") if one.program} == {3}


def test_a_version_takes_effect_when_the_worker_runs_after_its_time(run: Run, late: Clinic) -> None:
    at = clock.now() + timedelta(hours=1)
    code, out, _ = run("program", "publish", "@new", "--effective", at.isoformat(), new=LATER)
    assert (code, "takes effect at" in out) == (0, True)
    settings = load_settings({}, database="sqlite:///unused.db")
    run_rules(late.database, settings, clock.now())
    assert [one.version for one in late.active()] == [1]
    run_rules(late.database, settings, at)
    assert [one.version for one in late.active()] == [2]
    code, _, err = run("program", "withdraw", "ring")
    assert (code, "waits for approval or for its time" in err) == (1, True)


def test_diff_says_in_words_what_changes(run: Run, late: Clinic) -> None:
    code, out, _ = run("program", "diff", "@new", new=LATER)
    assert (code, "task first-call: due changes from" in out, "3 days" in out) == (0, True, True)
    code, out, _ = run("program", "diff", "ring:1", "@new", "--json")
    told = json.loads(out)
    assert [(one["section"], one["name"], one["field"]) for one in told["differences"]] == [
        ("tasks", "first-call", "due")
    ]
    assert "no differences" in run("program", "diff", "@new", new=f"# only a comment\n{RING}")[1]
    assert run("program", "diff", "ring:9")[0] == 1
    assert run("program", "diff", "nowhere.yaml")[0] == 2
    assert run("program", "diff", "ring", "ring", "ring")[0] == 2


def test_a_dry_run_tells_what_would_have_fired(run: Run, late: Clinic) -> None:
    code, out, _ = run("program", "dry-run", "ring", "--since", "10d")
    assert (code, "would have escalated 1 times" in out, "0 new, 0 fewer" in out) == (0, True, True)
    code, out, _ = run("program", "dry-run", "ring", "--file", "@new", "--since", "10d", "--json", new=LATER)
    told = json.loads(out)
    assert (told["old"]["escalations"], told["new"]["escalations"]) == (1, 0)
    assert told["differing"] == {"gained": 0, "lost": 1, "moved": 0}
    assert run("program", "dry-run", "none")[0] == 2
    with pytest.raises(SystemExit, match="2"):
        run("program", "dry-run", "ring", "--since", "long")


def test_rules_replay_tells_what_was_wanted_then(run: Run, late: Clinic) -> None:
    ref = late.task("ann", "first-call").ref
    now = clock.now().isoformat()
    code, out, _ = run("rules", "replay", "--as-of", now, ref)
    assert (code, "YES late:" in out, "had fired: late level 1" in out) == (0, True, True)
    code, out, _ = run("rules", "replay", "--as-of", now)
    assert (code, out) == (0, "Nothing was wanted then that had not fired.\n")
    assert run("rules", "replay", "--as-of", now, "Task/none")[0] == 1
    assert json.loads(run("rules", "replay", "--as-of", now, ref, "--json")[1])[0]["item"] == ref


def test_plans_move_by_a_map_that_is_shown_first(run: Run, late: Clinic) -> None:
    run("program", "publish", "@new", new=RENAMED)
    code, out, _ = run("program", "migrate-plans", "ring")
    said = "1 open tasks in status to-call (version 1): there is no status to-call"
    assert (code, f"REFUSED: {said}" in out) == (1, True)
    code, out, _ = run("program", "migrate-plans", "ring", "--to", "2", "--map", "to-call=new", "--dry-run", "--json")
    told = json.loads(out)
    assert (code, told["plans"], told["tasks"], told["refused"]) == (0, {"1": 1}, {"1": 1}, [])
    assert told["changes"] == [{"kind": "status", "from": "to-call", "to": "new", "count": 1}]
    assert late.task("ann", "first-call").program_version == 1
    code, out, _ = run("program", "migrate-plans", "ring", "--map", "to-call=new", "--reason", "New names")
    assert (code, "moved 1 plans and 1 tasks" in out) == (0, True)
    item = late.task("ann", "first-call")
    assert (item.program_version, item.status, item.escalation_level) == (2, "new", 1)
    code, out, _ = run("program", "rollback", "ring")
    assert (code, "moved 1 plans and 1 tasks" in out) == (0, True)
    assert (late.task("ann", "first-call").program_version, late.task("ann", "first-call").status) == (3, "to-call")
    assert run("program", "migrate-plans", "ring", "--map", "to-call")[0] == 2
    assert run("program", "migrate-plans", "ring", "--to", "9")[0] == 1


def test_doctor_and_history_tell_a_text_that_was_changed(run: Run, late: Clinic, ready_url: str) -> None:
    tamper(late.database, LATER)
    code, out, _ = run("program", "history", "ring")
    assert (code, "CHANGED IN THE DATABASE" in out) == (1, True)
    (found,) = [one for one in examine(load_settings({}, database=ready_url)) if one.what == "programs"]
    assert (found.status, "ring 1" in found.detail) == ("FAIL", True)


def test_a_program_can_be_read_in_words_before_it_is_approved(run: Run, late: Clinic) -> None:
    run("program", "publish", "@new", "--effective", (clock.now() + DAY).isoformat(), new=LATER)
    code, out, _ = run("program", "show", "ring", "--version", "2", "--words")
    assert (code, "due 3 days after discharge" in out) == (0, True)
    assert run("program", "show", "ring", "--version", "7")[0] == 1
