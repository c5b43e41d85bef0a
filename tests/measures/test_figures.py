"""What each measure says of a few days whose every happening is known, on both databases."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fhir_tracker import transitions
from fhir_tracker.errors import NotFound, UsageError
from fhir_tracker.fhir.dates import instant
from fhir_tracker.measures import figures
from fhir_tracker.measures.definitions import MEASURES
from fhir_tracker.measures.report import Asked, Number, Report
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import figures as operations
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.rollups import Zones
from tests.support.clinic import COORDINATOR, EVERYONE, MONDAY, NURSE, RING, SYSTEM, Clinic

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
END = MONDAY + 3 * DAY
RECORDS = """documents:
  - {code: summary, title: Discharge summary, after: discharge, within: 1 day, satisfied_by: {DocumentReference: {type: "http://loinc.org|18842-5"}}}
"""
MISSING = """  - id: no-summary
    when: {document_missing: summary}
    do: {escalate: late-call}
"""
PROGRAM = RING.replace("rules:\n", f"{RECORDS}rules:\n{MISSING}")


def told(clinic: Clinic, name: str, **asked: object) -> Report:
    usual: dict[str, object] = {
        "viewer": SYSTEM,
        "now": END,
        "start": MONDAY,
        "end": END,
        "zones": Zones(usual="America/New_York"),
    }
    with clinic.database.read() as tx:
        return figures.report(tx, name, Asked(**(usual | asked)))  # type: ignore[arg-type]


def rows(report: Report, *names: str) -> dict[tuple[str, ...], tuple[Number, ...]]:
    return {row.keys: tuple(row.values[name] for name in names) for row in report.rows}


@pytest.fixture
def week(database: Database) -> Clinic:
    """Three patients: ann is reached late and called again, bob waits for records, cid is given back and forth."""
    clinic = Clinic(database, PROGRAM)
    for name in ("ann", "bob", "cid"):
        clinic.patient(name)
        clinic.discharge(name, MONDAY)
    calls = {name: clinic.task(name, "first-call").ref for name in ("ann", "bob", "cid")}
    clinic.attempt(calls["ann"], MONDAY + 3 * HOUR, channel="phone")
    clinic.attempt(calls["ann"], MONDAY + 4 * HOUR, channel="sms", outcome="left-message")
    held = {"hold.until": instant(MONDAY + DAY), "reason": "Records"}
    clinic.move(calls["bob"], "waiting", MONDAY + HOUR, NURSE, held)
    give(clinic, calls["cid"], "Practitioner/nurse", MONDAY + HOUR)
    give(clinic, calls["cid"], "Practitioner/coordinator", MONDAY + 2 * HOUR)
    give(clinic, calls["cid"], None, MONDAY + 3 * HOUR)
    clinic.sweep(MONDAY + 2 * DAY + HOUR)
    reached = {"outreach.outcome": "reached", "outreach.channel": "phone", "note": "n"}
    clinic.move(calls["ann"], "reached", MONDAY + 2 * DAY + 2 * HOUR, NURSE, reached)
    clinic.move(calls["ann"], "calling", MONDAY + 2 * DAY + 3 * HOUR, NURSE, {"reason": "Wrong person"})
    return clinic


def give(clinic: Clinic, ref: str, owner: str | None, at: datetime) -> None:
    with clinic.acting(at, COORDINATOR) as (tx, by):
        transitions.assign(tx, ref, owner, by)


def test_open_work_by_the_time_in_its_status(week: Clinic) -> None:
    found = rows(told(week, "aging"), "count", "longest_hours")
    assert found["plan", "ring", "enrolled"] == (3, 72.0)
    assert found["task", "ring", "to-call"] == (2, 72.0)
    assert found["task", "ring", "calling"] == (1, 21.0)
    assert told(week, "aging", program="other").rows == ()


def test_work_past_its_due_time_by_owner_and_program(week: Clinic) -> None:
    found = rows(told(week, "overdue"), "count", "longest_hours")
    assert found["", "care-coordinator", "ring"] == (3, 24.0)
    assert told(week, "overdue").total("count") == sum(int(n or 0) for n, _ in found.values())


def test_holds_that_stand_and_holds_that_ended(week: Clinic) -> None:
    then = told(week, "holds", as_of=MONDAY + 12 * HOUR)
    assert rows(then, "count", "without_end", "past_end", "longest_hours") == {("ring", "waiting"): (1, 0, 0, 11.0)}
    assert told(week, "holds").rows == ()
    ended = rows(told(week, "holds-ended"), "count", "median_hours", "mean_hours")
    assert ended == {("ring", "waiting"): (1, 48.0, 48.0)}


def test_escalations_by_reason_and_hour_and_the_clinical_ones(week: Clinic) -> None:
    by_reason = rows(told(week, "escalations"), "count")
    assert by_reason["ring", "late", "1", "rn"] == (2,)
    hours = rows(told(week, "escalations-by-hour"), "count")
    assert sum(int(n or 0) for (n,) in hours.values()) == told(week, "escalations").total("count")
    assert {keys[1] for keys in hours} == {"11"}
    assert rows(told(week, "clinical-interrupts"), "count")["ring", "late", "rn"] == (2,)


def test_outreach_by_channel_and_hour_and_the_first_contact(week: Clinic) -> None:
    found = rows(told(week, "outreach"), "attempts", "contacts", "contact_rate")
    assert found == {("ring", "phone"): (2, 1, 50.0), ("ring", "sms"): (1, 0, 0.0)}
    assert told(week, "outreach").total("contact_rate") == 33.3
    by_hour = rows(told(week, "outreach-by-hour"), "attempts", "contacts")
    assert by_hour == {("ring", "12"): (1, 1), ("ring", "13"): (1, 0), ("ring", "14"): (1, 0)}
    assert rows(told(week, "first-contact"), "count", "median_hours") == {("ring",): (1, 50.0)}
    assert rows(told(week, "waiting-for-contact"), "count") == {("ring",): (2,)}


def test_throughput_closed_work_on_time_rate_reopening_and_handoffs(week: Clinic) -> None:
    plan = next(item for item in week.items("cid") if item.kind == "plan")
    week.put(week.resource(plan.ref) | {"status": "completed"}, END - HOUR)
    assert rows(told(week, "throughput"), "count") == {
        ("ring", "enrolled", "", ""): (3,),
        ("ring", "completed", "completed", ""): (1,),
    }
    assert rows(told(week, "closed-work"), "count") == {("ring", "first-call", "reached", ""): (1,)}
    values = ("completed", "on_time", "on_time_rate", "without_due")
    assert rows(told(week, "on-time"), *values) == {("ring", "first-call"): (1, 0, 0.0, 0)}
    assert rows(told(week, "reopened"), "closed", "reopened", "reopen_rate") == {("ring", "first-call"): (1, 1, 100.0)}
    assert rows(told(week, "handoffs"), "count") == {
        ("ring", "first-call", "owner"): (1,),
        ("ring", "first-call", "returned"): (1,),
    }


def test_documents_that_are_missing(week: Clinic) -> None:
    found = rows(told(week, "missing-documents"), "found", "open")
    (keys,) = found
    assert keys == ("ring", "summary", "no-summary")
    assert found[keys][0] == found[keys][1] != 0
    before = told(week, "missing-documents", start=MONDAY - DAY, end=MONDAY)
    assert before.rows == ()


def test_a_view_locked_to_a_patient_counts_that_patient_alone(week: Clinic) -> None:
    ann = Viewer(who="Patient/ann", name="", patient="ann", sight=EVERYTHING)
    assert rows(told(week, "throughput", viewer=ann), "count") == {("ring", "enrolled", "", ""): (1,)}
    assert rows(told(week, "outreach", viewer=ann), "attempts") == {("ring", "phone"): (2,), ("ring", "sms"): (1,)}
    nobody = Viewer(who="Patient/none", name="", patient="none", sight=EVERYTHING)
    assert all(told(week, name, viewer=nobody).rows == () for name in MEASURES)


def test_what_cannot_be_asked_is_refused(week: Clinic) -> None:
    with pytest.raises(NotFound, match="There is no measure 'agging'"):
        told(week, "agging")
    with pytest.raises(UsageError, match="ends before it begins"):
        told(week, "outreach", start=END, end=MONDAY)
    with pytest.raises(UsageError, match="still to come"):
        told(week, "aging", as_of=END + DAY)


def test_the_late_and_the_owned_are_kept_apart(week: Clinic) -> None:
    with week.acting(END - HOUR, EVERYONE) as (tx, by):
        transitions.assign(tx, week.task("ann", "first-call").ref, "Practitioner/nurse", by)
    found = rows(told(week, "overdue"), "count")
    assert found["Practitioner/nurse", "care-coordinator", "ring"] == (1,)


def test_the_page_of_operations_counts_as_the_measures_do(week: Clinic) -> None:
    outside = {"resourceType": "Task", "id": "plain", "status": "requested", "intent": "order"}
    week.put(outside | {"restriction": {"period": {"end": instant(MONDAY)}}}, MONDAY)
    with week.database.read() as tx:
        late = operations.overdue(tx, SYSTEM, END, "owner")
        ages = operations.aging(tx, SYSTEM, END)
    by_owner: dict[tuple[str, str], int] = {}
    for (owner, _, program), (n,) in rows(told(week, "overdue"), "count").items():
        by_owner[owner, program] = by_owner.get((owner, program), 0) + int(n or 0)
    assert {(one.row, one.column): one.count for one in late} == by_owner
    measured = [(key, n) for (kind, *key), (n,) in rows(told(week, "aging"), "count").items() if kind != "plan"]
    assert sum(one.count for one in ages) == sum(int(n or 0) for _, n in measured)
