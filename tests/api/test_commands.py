"""What the commands about programs, rules and the database do, print and answer, on either database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api.worker import HEARTBEAT
from fhir_tracker import clock
from fhir_tracker.brake import Limit, held
from fhir_tracker.rules.starters import starter_programs
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import head
from tests.support.clinic import RING, Clinic
from tests.support.commands import answer, without_settings

DAY = timedelta(days=1)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(ready_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("program", "list")` is one command on the test's database: its exit code, output and errors."""
    without_settings(monkeypatch, tmp_path)

    def command(*words: str, database: str = ready_url) -> tuple[int, str, str]:
        return answer(capsys, [*words, "--database", database])

    return command


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """The ring program as a file."""
    file = tmp_path / "ring.yaml"
    file.write_text(RING, encoding="utf-8")
    return file


@pytest.fixture
def late(database: Database) -> Clinic:
    """A clinic with one patient whose first call is late and escalated."""
    start = clock.now() - 2 * DAY - timedelta(minutes=1)
    clinic = Clinic(database, at=start)
    clinic.patient("ann", start)
    clinic.discharge("ann", start)
    clinic.sweep(clock.now())
    return clinic


def test_a_program_file_is_said_to_be_valid_with_its_size(run: Run, ring: Path) -> None:
    assert run("program", "validate", str(ring)) == (
        0,
        f"{ring} is valid: Ring after discharge, 5 statuses, 2 tasks, 2 rules.\n",
        "",
    )
    code, out, _ = run("program", "validate", str(ring), "--json")
    assert (code, json.loads(out)) == (
        0,
        {"valid": True, "program": "ring", "title": "Ring after discharge", "warnings": []},
    )


@pytest.mark.parametrize("words", [("validate",), ("publish",)])
def test_what_is_doubtful_is_told_as_a_warning_and_does_not_stop(run: Run, ring: Path, words: tuple[str, ...]) -> None:
    ring.write_text(RING.replace("role: front-desk", "role: front-dest"), encoding="utf-8")
    code, out, err = run("program", *words, str(ring))
    assert code == 0
    assert err.startswith("warning: line ")
    assert "front-dest" in err
    assert "warning" not in out
    code, out, err = run("program", *words, str(ring), "--json")
    assert (code, err) == (0, "")
    assert "front-dest" in json.loads(out)["warnings"][0]


# what is changed in the file, and a word of what is said about it
MISTAKES = [
    ("statuses:", "statusses:", "statusses"),
    ("is: requested", "is: asked", "asked"),
    ("role: care-coordinator", "rule: care-coordinator", "rule"),
    ("within: 2 days", "within: two days", "two days"),
    ("to: reached", "to: reeched", "reeched"),
    ("{escalate: late-call}", "{escalate: late-cal}", "late-cal"),
    ("{task: first-call}", "{task: first-cal}", "first-cal"),
    ("overdue_by", "overdu_by", "overdu_by"),
    ("after: 4 hours", "after: 4 ours", '"ours" is not a unit'),
    ("program: ring", "program: Ring Ring", "Ring Ring"),
    ("zone: America/New_York", "zone: America/New_Yorc", "New_Yorc"),
    ("means:", "meens:", "meens"),
]


@pytest.mark.parametrize(("right", "wrong", "word"), MISTAKES)
def test_a_mistake_is_one_line_with_line_and_column(run: Run, ring: Path, right: str, wrong: str, word: str) -> None:
    ring.write_text(RING.replace(right, wrong, 1), encoding="utf-8")
    code, out, err = run("program", "validate", str(ring))
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert lines[0].startswith(f"fhir-tracker: {ring}: ")
    assert all(": line " in line and ", column " in line for line in lines[1:])
    assert word in err
    code, out, err = run("program", "validate", str(ring), "--json")
    told = json.loads(out)
    assert (code, err, told["valid"]) == (1, "", False)
    assert len(told["issues"]) == len(lines) - 1
    assert all(set(issue) == {"at", "message"} for issue in told["issues"])
    assert run("program", "publish", str(ring))[0] == 1


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        (b"", 1, ""),
        (b"- a\n- b\n", 1, ""),
        (b"a: [1, 2\n", 1, "line"),
        (b"a: 1\na: 2\n", 1, ""),
        (b"\xff\xfe\x00", 2, "UTF-8"),
        (b"program: &a [*a]\n", 1, ""),
        (b"!!python/object/apply:os.system ['true']\n", 1, ""),
        (b"a: &x [1,1]\nb: &y [*x,*x]\nc: &z [*y,*y]\n", 1, ""),
        (b"[" * 5000, 1, ""),
    ],
)
def test_a_file_that_is_no_program_is_refused_politely(
    run: Run, tmp_path: Path, content: bytes, code: int, word: str
) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    found, out, err = run("program", "validate", str(file))
    assert (found, out) == (code, "")
    assert word in err
    assert err.startswith("fhir-tracker: ")
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["none.yaml", "", "."])
def test_a_file_that_cannot_be_read_is_a_mistake_of_usage(run: Run, tmp_path: Path, name: str) -> None:
    code, out, err = run("program", "publish", str(tmp_path / name))
    assert (code, out) == (2, "")
    assert "cannot be read" in err


def test_publishing_retires_the_version_before_and_lists_both(run: Run, ring: Path) -> None:
    assert run("program", "publish", str(ring))[1] == "Ring after discharge (ring) is active as version 1.\n"
    ring.write_text(RING.replace("First call", "The first call"), encoding="utf-8")
    code, out, _ = run("program", "publish", str(ring), "--json")
    told = json.loads(out)
    assert (code, told["program"], told["version"], told["status"], told["warnings"]) == (0, "ring", 2, "active", [])
    _, out, _ = run("program", "list", "--json")
    rows = json.loads(out)
    assert [(row["code"], row["version"], row["status"]) for row in rows if row["code"] == "ring"] == [
        ("ring", 2, "active"),
        ("ring", 1, "retired"),
    ]
    assert all(set(row) == {"code", "version", "status", "title", "published", "by"} for row in rows)
    _, out, _ = run("program", "list")
    lines = out.splitlines()
    assert lines[0].split() == ["code", "version", "status", "title", "published", "by"]
    assert len(lines) == 1 + len(rows)
    assert len({line.index("active") for line in lines if "active" in line}) == 1


@pytest.mark.parametrize("code", sorted(starter_programs()))
def test_a_starter_is_shown_as_it_was_published(run: Run, code: str) -> None:
    _, out, _ = run("program", "show", code)
    head_line, _, source = out.partition("\n")
    assert source == starter_programs()[code]
    assert head_line.startswith("# ")
    _, out, _ = run("program", "show", code, "--json")
    told = json.loads(out)
    assert (told["code"], told["version"], told["source"]) == (code, 1, starter_programs()[code])
    assert told["title"] in head_line


def test_a_program_that_there_is_not_is_said_so(run: Run) -> None:
    assert run("program", "show", "none") == (
        1,
        "",
        "fhir-tracker: There is no program none; see fhir-tracker program list.\n",
    )


@pytest.mark.requirement(131)
def test_an_explanation_says_rule_facts_levels_and_next_look(run: Run, late: Clinic) -> None:
    item = late.task("ann", "first-call")
    assert item.due_at is not None
    ref = item.ref
    code, out, err = run("rules", "explain", ref)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"{ref}  First call  [to-call]  ring version 1")
    assert lines[1].startswith(f"clock running, due {item.due_at.isoformat()}, role care-coordinator")
    assert any(line.startswith("YES late: ") for line in lines)
    assert any("level 1 to rn fired 20" in line for line in lines)
    assert any(line.strip().startswith("next: level 2 to provider at ") for line in lines)
    assert lines[-1].startswith("next look ")


@pytest.mark.requirement(131)
def test_the_same_explanation_as_json(run: Run, late: Clinic) -> None:
    item = late.task("ann", "first-call")
    _, out, _ = run("rules", "explain", item.ref, "--json")
    told: dict[str, Any] = json.loads(out)
    assert (told["item"], told["program"], told["clock"], told["role"]) == (
        item.ref,
        "ring|1",
        "running",
        "care-coordinator",
    )
    assert told["escalationLevel"] == 1
    (one,) = [rule for rule in told["rules"] if rule["rule"] == "late"]
    assert one["holds"] is True
    assert one["why"]
    assert one["facts"]
    assert [(fired["level"], fired["to"]) for fired in one["fired"]] == [(1, "rn")]
    assert (one["nextLevel"]["level"], one["nextLevel"]["to"]) == (2, "provider")
    assert told["nextLook"] == one["nextLevel"]["at"]
    plan = next(one for one in late.items("ann") if one.kind == "plan")
    rules = json.loads(run("rules", "explain", plan.ref, "--json")[1])["rules"]
    assert [(rule["rule"], rule["holds"], rule["fired"], rule["nextLevel"]) for rule in rules] == [
        ("missed", False, [], None)
    ]


def test_an_escalation_is_explained_by_the_work_it_is_about(run: Run, late: Clinic) -> None:
    (escalation,) = late.escalations("ann")
    assert run("rules", "explain", escalation.ref)[1].startswith(late.task("ann", "first-call").ref)
    plan = next(item for item in late.items("ann") if item.kind == "plan")
    assert run("rules", "explain", plan.ref)[1].startswith(plan.ref)


@pytest.mark.parametrize("ref", ["Task/none", "CarePlan/none", "Task/a b"])
def test_what_is_no_work_is_said_so(run: Run, ref: str) -> None:
    assert run("rules", "explain", ref) == (1, "", f"fhir-tracker: There is no work item for {ref}.\n")


def test_the_brake_is_released_once(run: Run, database: Database) -> None:
    assert json.loads(run("rules", "release", "--json")[1]) == {"released": False, "escalations": 0}
    for words in ((), ("--json",)):
        with database.begin() as tx:
            tx.execute(text("DELETE FROM setting WHERE key LIKE 'mass-escalation-released%'"))
            assert held(tx, {("tcm", "task"): 1000}, Limit(share=0.1, floor=1), clock.now())
        code, out, _ = run("rules", "release", *words)
        assert code == 0
        assert json.loads(out) == {"released": True, "escalations": 1000} if words else out.startswith("Released: 1000")
    assert run("rules", "release")[1] == "The brake is not on.\n"


def test_a_rebuild_gives_the_same_queues_and_counts_them(run: Run, late: Clinic) -> None:
    before = [(item.ref, item.status, item.due_at, item.escalation_level) for item in late.items("ann")]
    code, out, err = run("rebuild", "--json")
    counts = json.loads(out)
    assert code == 0
    assert set(counts) == {"resources", "work_items", "figures"}
    assert counts["work_items"] == len(before)
    assert counts["resources"] > counts["work_items"]
    assert [(item.ref, item.status, item.due_at, item.escalation_level) for item in late.items("ann")] == before
    assert all(line.startswith("Rebuilding") for line in err.splitlines())
    told = (
        f"Rebuilt: {counts['resources']} resources, {counts['work_items']} work items, {counts['figures']} figures.\n"
    )
    assert run("rebuild")[1] == told


def test_migrating_a_database_that_is_up_to_date_does_nothing(run: Run) -> None:
    assert run("migrate")[:2] == (0, "The database is up to date.\n")
    assert json.loads(run("migrate", "--json")[1]) == {"steps": []}


def test_migrating_an_empty_database_takes_every_step(
    run: Run, request: pytest.FixtureRequest, tmp_path: Path, ready_url: str
) -> None:
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    if ready_url.startswith("postgresql"):
        server = request.getfixturevalue("postgres")
        url = server.url(server.create())
    code, out, _ = run("migrate", "--json", database=url)
    steps = json.loads(out)["steps"]
    assert code == 0
    assert steps[-1].split()[0] == head()
    assert json.loads(run("migrate", "--json", database=url)[1]) == {"steps": []}
    assert run("program", "list", database=url)[0] == 0


def test_another_programs_database_is_refused_and_left_alone(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("CREATE TABLE letters (body TEXT)")
    before = path.read_bytes()
    for words in (("migrate",), ("program", "list"), ("rebuild",), ("worker", "--once")):
        code, out, err = run(*words, database=f"sqlite:///{path}")
        assert (code, out) == (2, "")
        assert "not made by fhir-tracker" in err
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT name FROM sqlite_master").fetchall() == [("letters",)]
    assert len(path.read_bytes()) == len(before)


def test_a_newer_database_is_refused_by_every_command(run: Run, database: Database) -> None:
    with database.begin() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for words in (("migrate",), ("program", "list"), ("rebuild",), ("worker", "--once"), ("rules", "release")):
        code, out, err = run(*words)
        assert (code, out) == (2, ""), words
        assert "newer" in err
        assert "Traceback" not in err


def test_a_file_that_is_no_database_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_bytes(b"Dear reader, this is no database." * 100)
    code, out, err = run("program", "list", database=f"sqlite:///{path}")
    assert code in (2, 3)
    assert out == ""
    assert len(err.splitlines()) == 1


def test_a_worker_with_once_leaves_a_heartbeat(run: Run, database: Database) -> None:
    before = clock.now()
    assert run("worker", "--once") == (0, "", "")
    with database.read() as tx:
        beat = states.get(tx, HEARTBEAT)
    assert beat is not None
    assert beat >= before.isoformat()


def test_the_version_is_that_of_the_database_shape(run: Run) -> None:
    assert json.loads(run("version", "--json")[1])["schema"] == head()


def test_a_patient_is_enrolled_by_hand_once(run: Run, database: Database) -> None:
    clinic = Clinic(database)
    clinic.patient("bea")
    code, out, _ = run("program", "enrol", "ring", "Patient/bea", "--reason", "Asked by the family", "--json")
    plan = json.loads(out)["plan"]
    assert (code, clinic.item(plan).kind, clinic.task("bea", "first-call").plan) == (0, "plan", plan)
    assert clinic.log(plan)[0].reason == "Asked by the family"
    assert run("program", "enrol", "ring", "Patient/bea")[0] == 1
    assert len([item for item in clinic.items("bea") if item.kind == "plan"]) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("ring", "Patient/nobody"), 1, "There is no Patient/nobody"),
        (("nothing", "Patient/bea"), 1, "There is no program nothing"),
        (("ring", "bea"), 2, "is not Patient/ID"),
    ],
)
def test_enrolling_by_hand_says_what_is_missing(
    run: Run, database: Database, words: tuple[str, ...], code: int, said: str
) -> None:
    Clinic(database).patient("bea")
    answered = run("program", "enrol", *words)
    assert answered[0] == code
    assert said in answered[2]
