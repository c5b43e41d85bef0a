"""Values that the tests of pure page code share: one program, one name list, one item, one Wednesday."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from api.staff.names import Names
from api.staff.shapes import Frame, Staff
from fhir_tracker.model.patient import PatientSummary
from fhir_tracker.model.program import (
    Calendar,
    Duration,
    Move,
    OutreachPolicy,
    Program,
    Stage,
    Status,
    TaskTemplate,
)
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import Event, Transition, WorkItem

NOW = datetime(2026, 3, 11, 15, 0, tzinfo=UTC)
"""A Wednesday, 11:00 in New York."""

CALENDAR = Calendar(zone="America/New_York", hours={day: ((time(9), time(17)),) for day in range(5)}, holidays="US")
STATUSES = (
    Status(code="to-call", fhir="requested", clock="running", title="To call", means="Nobody has tried yet"),
    Status(code="calling", fhir="in-progress", clock="running", title="Calling", means="Tried, not reached"),
    Status(code="waiting", fhir="on-hold", clock="paused", title="Waiting", means="Waiting for records", holds=True),
    Status(code="reached", fhir="completed", clock="stopped", title="Reached", means="Two-way contact made"),
    Status(code="lost", fhir="failed", clock="stopped", title="Unreachable", means="Attempts exhausted"),
)
STAGES = (
    Stage(code="intake", title="Intake", means="Getting to know the patient", fhir="active"),
    Stage(code="active", title="Active", means="The plan is worked", fhir="active"),
    Stage(code="done", title="Done", means="Its time is up", fhir="completed"),
    Stage(code="left", title="Left", means="The patient left", fhir="revoked"),
)
MOVES = (
    Move(sources=("to-call",), to="calling"),
    Move(sources=("to-call", "calling"), to="reached", by=("rn",), require=("outreach.outcome", "note")),
    Move(sources=("to-call", "calling"), to="waiting", require=("hold.until", "reason")),
    Move(sources=("to-call", "calling"), to="lost", require=("reason",)),
)
PROGRAM = Program(
    code="ring",
    title="Ring after discharge",
    calendar=CALENDAR,
    stages=STAGES,
    statuses=STATUSES,
    moves=MOVES,
    tasks=(
        TaskTemplate(
            code="first-call",
            title="First call",
            role="care-coordinator",
            outreach=OutreachPolicy(
                attempts=2, over=Duration(amount=2, unit="days"), channels=("sms", "phone", "pigeon")
            ),
        ),
        TaskTemplate(code="visit", title="Visit", role="front-desk"),
    ),
    version=3,
)
NURSE = Viewer(who="Practitioner/nurse", name="The nurse", roles=frozenset({"rn"}), sight=EVERYTHING)
DESK = Viewer(who="Practitioner/desk", name="The front desk", roles=frozenset({"front-desk"}), sight=EVERYTHING)
STAFF = {
    "Practitioner/nurse": Staff(initials="TN", name="The nurse", role="RN", me=True),
    "Practitioner/desk": Staff(initials="TD", name="The front desk", role="Front desk"),
}
NAMES = Names(programs={("ring", 3): PROGRAM}, active=(PROGRAM,), staff=STAFF, calendar=CALENDAR)
BARE = Names(programs={}, active=(), staff={}, calendar=Calendar(zone="UTC"))
ITEM = WorkItem(
    ref="Task/call-1",
    kind="task",
    title="First call",
    patient="rosa",
    plan="CarePlan/plan-1",
    program="ring",
    program_version=3,
    code="first-call",
    status="to-call",
    fhir_status="requested",
    role="care-coordinator",
    due_at=NOW - timedelta(hours=2),
    created_at=NOW - timedelta(days=2),
    status_since=NOW - timedelta(days=2),
)
ESCALATION = WorkItem(
    ref="Task/esc-1",
    kind="escalation",
    title="Escalation: First call",
    patient="rosa",
    status="requested",
    fhir_status="requested",
    role="rn",
    focus="Task/call-1",
    created_at=NOW - timedelta(hours=1),
    status_since=NOW - timedelta(hours=1),
)
ROSA = PatientSummary(
    patient="rosa",
    name="Rosa Synthetic",
    birth_date="1948-03-09",
    gender="female",
    mrn="4471",
    phone="555-0100",
    language="Spanish",
    flags=("high-risk", "unreachable"),
)
FRAME = Frame(title="Sample", mode="Open mode · no login", csrf="token", here="/?tab=team")


def item(**changes: Any) -> WorkItem:
    """The sample item, changed."""
    return replace(ITEM, **changes)


def row(what: Any, before: str | None, after: str | None, minutes: int = 0, **more: Any) -> Transition:
    """A transition of the sample item `minutes` ago by the nurse."""
    at = NOW - timedelta(minutes=minutes)
    given: dict[str, Any] = {"item": ITEM.ref, "what": what, "before": before, "after": after, "who": NURSE.who}
    return Transition(**(given | {"recorded_at": at, "effective_at": at} | more))


def attempt(minutes: int, **detail: str) -> Event:
    """An outreach attempt `minutes` ago."""
    at = NOW - timedelta(minutes=minutes)
    return Event(
        ref=f"Communication/c{minutes}",
        type="Communication",
        status="not-done",
        patient="rosa",
        start=at,
        seen_at=at,
        about=(ITEM.ref,),
        detail=detail,
    )
