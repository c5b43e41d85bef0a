"""Queues that are not in order: what is found, and what the repair of each makes of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from fhir_tracker import records, transitions
from fhir_tracker.errors import NotFound
from fhir_tracker.fhir.dates import instant
from fhir_tracker.measures import hygiene, repair
from fhir_tracker.measures.hygiene import Finding
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage.standing import Moment
from tests.support.clinic import EVERYONE, MONDAY, NURSE, SYSTEM, Clinic, author

HOUR = timedelta(hours=1)
LATER = MONDAY + timedelta(days=1)


def found(clinic: Clinic, kind: str, at: datetime | None = None) -> list[str]:
    moment = Moment(at=at or LATER, now=at is None)
    with clinic.database.read() as tx:
        return [one.ref for one in hygiene.findings(tx, SYSTEM, moment, kinds=[kind])]


def repaired(clinic: Clinic, kind: str, *, dry_run: bool = False) -> list[tuple[str, str]]:
    with clinic.database.read() as tx:
        some = hygiene.findings(tx, SYSTEM, Moment(at=LATER, now=True), kinds=[kind])
    made = [repair.repair(clinic.database, one, author(LATER, EVERYONE), dry_run=dry_run) for one in some]
    return [(one.state, one.what) for one in made]


def plain(id_: str, **members: Any) -> dict[str, Any]:
    coded = {"coding": [{"code": "call"}], "text": "Call"}
    whom = {"for": {"reference": "Patient/ann"}}
    return {"resourceType": "Task", "id": id_, "status": "requested", "intent": "order", "code": coded} | whom | members


def call(clinic: Clinic) -> WorkItem:
    return clinic.task("ann", "first-call")


def test_work_without_a_role_goes_to_a_queue_and_what_waits_in_one_is_left(clinic: Clinic) -> None:
    clinic.put(plain("t"), MONDAY)
    assert found(clinic, "no-owner") == sorted([call(clinic).ref, "Task/t"])
    states = repaired(clinic, "no-owner")
    assert sorted(state for state, _ in states) == ["done", "skipped"]
    assert clinic.item("Task/t").role == "clinic-admin"
    assert clinic.log("Task/t")[-1].reason == "Queue hygiene: nobody had it"
    assert call(clinic).owner is None


def test_work_gets_the_due_time_that_its_program_says(clinic: Clinic) -> None:
    before = call(clinic)
    body = {name: value for name, value in clinic.resource(before.ref).items() if name != "restriction"}
    clinic.put(body, MONDAY + HOUR)
    assert found(clinic, "no-due") == [before.ref]
    ((state, what),) = repaired(clinic, "no-due", dry_run=True)
    assert (state, call(clinic).due_at) == ("planned", None)
    assert "2 days after discharge" in what
    assert [state for state, _ in repaired(clinic, "no-due")] == ["done"]
    assert call(clinic).due_at == before.due_at
    assert found(clinic, "no-due") == []
    assert found(clinic, "no-due", MONDAY + 2 * HOUR) == [before.ref]


def test_plain_work_without_a_due_time_is_left_to_a_person(clinic: Clinic) -> None:
    clinic.put(plain("t"), MONDAY)
    assert repaired(clinic, "no-due") == [("skipped", "no program says when it is due: a person has to")]


def test_a_hold_until_nothing_gets_an_end(clinic: Clinic) -> None:
    clinic.put(plain("t", status="on-hold"), MONDAY)
    assert found(clinic, "endless-hold") == ["Task/t"]
    assert repaired(clinic, "endless-hold") == [("done", f"on hold until {instant(LATER + repair.HOLD_FOR)}")]
    assert clinic.item("Task/t").hold_until == LATER + repair.HOLD_FOR
    assert found(clinic, "endless-hold") == []


def test_open_work_of_a_closed_plan_is_cancelled(clinic: Clinic) -> None:
    ref = call(clinic).ref
    assert found(clinic, "closed-plan") == []
    plan = clinic.resource(call(clinic).plan or "")
    clinic.put(plan | {"status": "completed"}, MONDAY + HOUR)
    assert found(clinic, "closed-plan") == [ref]
    assert found(clinic, "closed-plan", MONDAY) == []
    assert repaired(clinic, "closed-plan") == [("done", "cancelled: Queue hygiene: its plan is closed")]
    assert (clinic.item(ref).open, clinic.item(ref).fhir_status) == (False, "cancelled")
    assert clinic.log(ref)[-1].reason_code == "closed-plan"
    assert found(clinic, "closed-plan") == []


def test_work_of_somebody_who_left_goes_back_to_its_queue(clinic: Clinic) -> None:
    nurse = {"resourceType": "Practitioner", "id": "nurse", "active": True}
    clinic.put(nurse, MONDAY)
    with clinic.acting(MONDAY, NURSE) as (tx, by):
        transitions.claim(tx, call(clinic).ref, by)
    assert found(clinic, "inactive-owner") == []
    clinic.put(nurse | {"active": False}, MONDAY + HOUR)
    assert found(clinic, "inactive-owner") == [call(clinic).ref]
    assert found(clinic, "inactive-owner", MONDAY) == []
    assert [state for state, _ in repaired(clinic, "inactive-owner")] == ["done"]
    assert call(clinic).owner is None
    assert call(clinic).role == "care-coordinator"


def test_the_later_of_two_doubles_is_cancelled(clinic: Clinic) -> None:
    due = {"restriction": {"period": {"end": instant(LATER)}}}
    clinic.put(plain("a", authoredOn=instant(MONDAY), **due), MONDAY)
    clinic.put(plain("b", authoredOn=instant(MONDAY + HOUR), **due), MONDAY + HOUR)
    clinic.put(plain("c", authoredOn=instant(MONDAY + HOUR)), MONDAY + HOUR)
    assert found(clinic, "duplicate") == ["Task/b"]
    assert repaired(clinic, "duplicate") == [("done", "cancelled: Queue hygiene: it doubles Task/a")]
    assert [clinic.item(ref).open for ref in ("Task/a", "Task/b", "Task/c")] == [True, False, True]


def test_what_was_repaired_meanwhile_is_left(clinic: Clinic) -> None:
    clinic.put(plain("t"), MONDAY)
    finding = Finding(kind="endless-hold", ref="Task/t", program="", role="", other="", repair="")
    assert repair.repair(clinic.database, finding, author(LATER)).state == "skipped"
    with clinic.acting(LATER) as (tx, by):
        records.remove(tx, "Task", "t", by)
    assert repair.repair(clinic.database, finding, author(LATER)).state == "failed"


def test_a_finding_that_there_is_not_is_named(clinic: Clinic) -> None:
    with pytest.raises(NotFound, match="there are no-owner, no-due"):
        found(clinic, "no-such")
