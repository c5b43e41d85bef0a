"""`fhir-tracker measures`: definitions, figures in every format, findings and repairs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from fhir_tracker import clock
from fhir_tracker.measures.definitions import MEASURES
from fhir_tracker.storage.database import Database
from tests.support.clinic import Clinic
from tests.support.commands import answer, without_settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def late(database: Database) -> Clinic:
    """A clinic with one patient whose first call is a minute late, and one plain Task on hold until nothing."""
    start = clock.now() - timedelta(days=2, minutes=1)
    clinic = Clinic(database, at=start)
    clinic.patient("ann", start)
    clinic.discharge("ann", start)
    clinic.put({"resourceType": "Task", "id": "held", "status": "on-hold", "intent": "order"}, start)
    return clinic


@pytest.fixture
def run(ready_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    without_settings(monkeypatch, tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        return answer(capsys, ["measures", *words, "--database", ready_url])

    return command


def test_every_measure_is_listed_and_shown(run: Run) -> None:
    code, out, _ = run("list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(MEASURES)
    code, out, _ = run("show", "on-time")
    assert code == 0
    assert "on time of completed" in out
    assert json.loads(run("show", "on-time", "--json")[1])["main"] == "on_time_rate"
    assert run("show", "nothing")[0] == 1


@pytest.mark.usefixtures("late")
def test_the_same_figures_as_table_csv_json_and_fhir(run: Run) -> None:
    code, out, _ = run("report", "overdue")
    assert code == 0
    assert out.splitlines()[0].split()[:4] == ["OWNER", "ROLE", "PROGRAM", "COUNT"]
    (line,) = csv.DictReader(io.StringIO(run("report", "overdue", "--format", "csv")[1]))
    told = json.loads(run("report", "overdue", "--json")[1])
    body = json.loads(run("report", "overdue", "--format", "fhir")[1])
    assert line["count"] == "1"
    assert told["rows"][0]["count"] == 1
    assert body["group"][0]["measureScore"]["value"] == 1


@pytest.mark.usefixtures("late")
def test_figures_of_a_moment_a_period_and_a_program(run: Run) -> None:
    yesterday = (clock.now() - timedelta(days=1)).isoformat(timespec="seconds")
    then = json.loads(run("report", "overdue", "--as-of", yesterday, "--json")[1])
    assert then["rows"] == []
    told = json.loads(run("report", "throughput", "--program", "ring", "--from", "2020-01-01", "--json")[1])
    assert told["total"]["count"] == 1
    assert json.loads(run("report", "throughput", "--to", "2020-01-31", "--json")[1])["rows"] == []
    assert run("report", "overdue", "--program", "no-such")[0] == 1
    assert run("report", "overdue", "--as-of", "tomorrow-ish")[0] == 1
    assert run("report", "throughput", "--from", "2026-02-01", "--to", "2026-01-01")[0] == 2
    code, _, said = run("report", "escalations-by-hour", "--from", "0002-01-01")
    assert (code, "at most 100 years" in said) == (2, True)


def test_all_of_them_can_be_kept_as_measure_reports(run: Run, late: Clinic) -> None:
    code, out, _ = run("report", "all", "--store", "--format", "csv")
    assert code == 0
    assert "owner,role,program,count" in out
    kept = late.stored("MeasureReport")
    assert [one["measure"].rpartition("/")[2] for one in kept] == list(MEASURES)
    assert all(one["status"] == "complete" and one["type"] == "summary" for one in kept)


def test_findings_are_listed_and_repaired(run: Run, late: Clinic) -> None:
    code, out, _ = run("findings")
    assert code == 0
    assert "endless-hold" in out
    assert "measures repair endless-hold --dry-run" in out
    assert json.loads(run("findings", "endless-hold", "--json")[1])[0]["ref"] == "Task/held"
    assert "planned" in run("repair", "endless-hold", "--dry-run")[1]
    assert late.item("Task/held").hold_until is None
    code, out, _ = run("repair", "endless-hold", "--by", "Practitioner/admin")
    assert (code, out.splitlines()[-1]) == (0, "1 done")
    assert late.item("Task/held").hold_until is not None
    assert run("repair", "endless-hold")[1].splitlines()[-1] == "Nothing to repair."


def test_each_kind_of_finding_is_repaired_once_and_said_by_whom(run: Run, late: Clinic) -> None:
    start = clock.now() - timedelta(days=2)
    late.put({"resourceType": "Practitioner", "id": "gone", "active": False}, start)
    body = {"resourceType": "Task", "status": "requested", "intent": "order", "code": {"coding": [{"code": "call"}]}}
    owned = {"owner": {"reference": "Practitioner/gone"}, "for": {"reference": "Patient/ann"}}
    for id_ in ("one", "two"):
        late.put(body | owned | {"id": id_}, start)
        start += timedelta(minutes=1)
    plan = next(one for one in late.stored("CarePlan"))
    call = late.task("ann", "first-call")
    undated = {name: value for name, value in late.resource(call.ref).items() if name != "restriction"}
    late.put(undated, start)
    assert run("repair", "no-due", "--by", "Practitioner/admin")[1].splitlines()[-1] == "1 done, 3 skipped"
    assert late.item(call.ref).due_at is not None
    late.put(plan | {"status": "completed"}, clock.now())
    done = {}
    for kind in ("duplicate", "closed-plan", "inactive-owner"):
        told = json.loads(run("repair", kind, "--by", "Practitioner/admin", "--json")[1])
        done[kind] = [(one["task"], one["state"]) for one in told]
        assert all(late.log(one["task"])[-1].who == "Practitioner/admin" for one in told)
        assert run("repair", kind)[1].splitlines()[-1] == "Nothing to repair."
    assert done == {
        "duplicate": [("Task/two", "done")],
        "closed-plan": [(call.ref, "done")],
        "inactive-owner": [("Task/one", "done")],
    }
    for odd in (("nothing",), ("no-owner", "--limit", "0"), ("no-owner", "--limit", "-1")):
        with pytest.raises(SystemExit, match="2"):
            run("repair", *odd)
