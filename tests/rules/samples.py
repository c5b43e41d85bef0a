"""Short makers of programs, items, events and facts for the rule tests; nothing here is a real patient."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from fhir_tracker.model.facts import Facts, PlanFacts, Verdict
from fhir_tracker.model.program import Program
from fhir_tracker.model.work import Event, Firing, FiringKey, Transition, WorkItem
from fhir_tracker.rules.conditions import judge
from fhir_tracker.rules.program_file import read_program

NEW_YORK: Final = ZoneInfo("America/New_York")
PATIENT: Final = "synthetic-1"
BASE: Final = """
program: demo
title: Demo
calendar: {zone: America/New_York, hours: "Mon-Fri 08:00-17:00", holidays: US}
eligible: {anchor: discharge, any: [{Encounter: {status: finished, class: IMP, within: 30 days}}]}
services: {visit: ["urn:x|visit", check]}
statuses:
  - {code: to-call, is: requested, means: Not tried}
  - {code: calling, is: in-progress, means: Tried}
  - {code: waiting, is: on-hold, means: Waiting, hold: {until: required, or: document.arrived}}
  - {code: reached, is: completed, means: Reached}
  - {code: failed, is: failed, means: Given up}
transitions:
  - {from: [to-call, calling], to: reached, by: [rn, care-coordinator], require: [outreach.outcome, note]}
  - {from: [to-call, calling], to: waiting, require: [hold.until, reason]}
  - {from: to-call, to: calling}
  - {from: [to-call, calling], to: failed, by: [rn]}
tasks:
  - {code: first-call, role: care-coordinator, due: {after: discharge, within: 2 business days}}
  - {code: visit, role: front-desk, due: {after: discharge, within: 14 days}, done_by: {appointment: fulfilled, service: visit}}
  - {code: rebook, role: front-desk, on: rule, due: {after: created, within: 1 day}, done_by: {appointment: booked, service: visit}}
  - {code: touch, role: rn, every: 1 month}
documents:
  - {code: note, after: appointment.fulfilled, service: visit, within: 48 hours, satisfied_by: {DocumentReference: {type: "urn:l|note"}}}
  - {code: summary, after: discharge, within: 2 business days, satisfied_by: {DocumentReference: {type: "urn:l|summary"}}}
"""
LADDERS: Final = """
ladders:
  late:
    levels:
      - {to: role/rn}
      - {after: 4 business hours, to: role/provider, notify: [in-app, email], priority: urgent}
      - {after: 1 business day, to: role/clinic-admin}
"""


def program(rules: str = "", ladders: str = LADDERS) -> Program:
    """The demo program with these rules (the lines under `rules:`)."""
    text = f"{BASE}\nrules:\n{rules}\n" if rules else BASE
    return read_program(text + ladders)


def with_rule(when: str, do: str = "{raise_flag: found}", *, subject: str = "task") -> Program:
    """The demo program with one rule `r`."""
    return program(f"  - {{id: r, subject: {subject}, when: {when}, do: {do}}}")


def judged(when: str, known: Facts, now: datetime, subject: str = "task") -> tuple[Verdict, ...]:
    """Every answer of one condition."""
    demo = with_rule(when, subject=subject)
    return judge(demo, known, demo.rules[0].when, now)


def verdict(when: str, known: Facts, now: datetime, subject: str = "task") -> Verdict:
    """The one answer of a condition."""
    (found,) = judged(when, known, now, subject)
    return found


def ny(text: str) -> datetime:
    """A wall-clock time of New York such as `2026-03-09 17:00`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


MONDAY: Final = ny("2026-03-09 09:00")


def item(**changes: object) -> WorkItem:
    """An open first call, made on Monday 9 March 2026 at 9."""
    base = WorkItem(
        ref="Task/t1",
        kind="task",
        title="First call",
        patient=PATIENT,
        plan="CarePlan/p1",
        program="demo",
        code="first-call",
        status="to-call",
        fhir_status="requested",
        role="care-coordinator",
        created_at=MONDAY,
        status_since=MONDAY,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def plan_item(**changes: object) -> WorkItem:
    """The plan's own item."""
    return item(**{"ref": "CarePlan/p1", "kind": "plan", "code": "", "status": "enrolled", **changes})


def plan(started: datetime = MONDAY, **anchors: datetime) -> PlanFacts:
    """The plan, with its anchors."""
    known = {"enrolment": started, "discharge": started, **anchors}
    return PlanFacts(ref="CarePlan/p1", stage="enrolled", status="active", started=started, anchors=known)


def facts(work: WorkItem | None = None, **changes: object) -> Facts:
    """Facts of one item in the plan."""
    return replace(Facts(item=work or item(), plan=plan()), **changes)  # type: ignore[arg-type]


def event(ref: str, status: str, start: datetime | None, **changes: object) -> Event:
    """One event of the patient; the type is the reference's."""
    base = Event(
        ref=ref,
        type=ref.partition("/")[0],
        status=status,
        patient=PATIENT,
        start=start,
        seen_at=start or MONDAY,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def visit(name: str, status: str, start: datetime, **changes: object) -> Event:
    """An appointment of the service `visit`."""
    return event(f"Appointment/{name}", status, start, **{"codes": ("urn:x|visit",), **changes})


def attempt(
    name: str, at: datetime, outcome: str = "no-answer", channel: str = "phone", about: str = "Task/t1"
) -> Event:
    """One outreach attempt."""
    status = "completed" if outcome == "reached" else "not-done"
    detail = {"outcome": outcome, "channel": channel}
    return event(f"Communication/{name}", status, at, about=(about,), detail=detail)


def moved(before: str | None, after: str | None, at: datetime, what: str = "status") -> Transition:
    """A row of the log."""
    row = Transition(
        item="Task/t1", what="status", before=before, after=after, recorded_at=at, effective_at=at, who="Device/test"
    )
    return replace(row, what=what)  # type: ignore[arg-type]


def fired(
    level: int, at: datetime, rule: str = "r", cycle: str = "0", item_ref: str = "Task/t1", **changes: object
) -> Firing:
    """A level that fired."""
    key = FiringKey(item=item_ref, rule=rule, cycle=cycle, level=level)
    return replace(Firing(key=key, fired_at=at, kind="escalate"), **changes)  # type: ignore[arg-type]


def hours(number: float) -> timedelta:
    return timedelta(hours=number)
