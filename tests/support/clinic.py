"""A small clinic for tests of the use cases: one program, a few patients, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_tracker import consequences, effects, enrolment, outreach, programs, publishing, records, sweep
from fhir_tracker import transitions as moving
from fhir_tracker.brake import Limit
from fhir_tracker.model.author import Author
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.program import Program
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import ROLES, Viewer, worker_viewer
from fhir_tracker.model.work import Firing, Transition, WorkItem
from fhir_tracker.storage import firings, notifications, resources, transitions, work_items
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.notifications import Notification
from fhir_tracker.storage.resources import Stored

MONDAY = datetime(2026, 3, 9, 14, 0, tzinfo=UTC)
"""Monday 10:00 in New York."""

NURSE = Viewer(who="Practitioner/nurse", name="The nurse", roles=frozenset({"rn"}), sight=EVERYTHING)
COORDINATOR = Viewer(
    who="Practitioner/coordinator", name="The coordinator", roles=frozenset({"care-coordinator"}), sight=EVERYTHING
)
PROVIDER = Viewer(who="Practitioner/provider", name="The provider", roles=frozenset({"provider"}), sight=EVERYTHING)
FRONT_DESK = Viewer(who="Practitioner/desk", name="The front desk", roles=frozenset({"front-desk"}), sight=EVERYTHING)
STRANGER = Viewer(who="Practitioner/stranger", name="A stranger", roles=frozenset({"visitor"}), sight=EVERYTHING)
EVERYONE = Viewer(who="Practitioner/all", name="All roles", roles=frozenset(ROLES), sight=EVERYTHING)
SYSTEM = worker_viewer("test")

RING = """
program: ring
title: Ring after discharge
calendar: {zone: America/New_York, hours: "Mon-Fri 08:00-17:00", holidays: US}
eligible: {any: [{Encounter: {status: finished, class: IMP, within: 30 days}}]}
statuses:
  - {code: to-call, is: requested, clock: running, means: "Nobody has tried the patient yet"}
  - {code: calling, is: in-progress, clock: running, means: "At least one attempt, not reached"}
  - {code: waiting, is: on-hold, clock: paused, means: "Waiting for records", hold: {until: required}}
  - {code: reached, is: completed, clock: stopped, means: "Two-way contact made and written down"}
  - {code: unreachable, is: failed, clock: stopped, means: "Attempts exhausted"}
transitions:
  - {from: [to-call], to: calling}
  - {from: [to-call, calling], to: reached, by: [care-coordinator, rn], require: [outreach.outcome, note]}
  - {from: [to-call, calling], to: waiting, require: [hold.until, reason]}
  - {from: [waiting], to: calling}
  - {from: [to-call, calling], to: unreachable, require: [reason]}
  - {from: [reached], to: calling, by: [rn], require: [reason]}
services:
  visit: ["http://example.org/service|visit"]
tasks:
  - code: first-call
    title: First call
    role: care-coordinator
    due: {after: discharge, within: 2 days}
  - code: reschedule
    title: Book the missed visit again
    role: front-desk
    on: rule
    due: {after: created, within: 1 day}
    done_by: {appointment: booked, service: visit}
rules:
  - id: late
    when: {all: [{task: first-call}, {overdue_by: 0 hours}]}
    do: {escalate: late-call}
  - id: missed
    when: {appointment_missed: {service: visit}}
    do: [{create_task: reschedule}]
ladders:
  late-call:
    stop_when: [task.closed, acknowledged]
    levels:
      - {to: role/rn}
      - {after: 4 hours, to: role/provider, notify: [in-app, email], priority: urgent}
      - {after: 1 hour, to: role/clinic-admin}
"""


class Clinic:
    """One database with the ring program published; every step says at which moment it happens."""

    def __init__(self, database: Database, program: str = RING, at: datetime = MONDAY) -> None:
        self.database = database
        with database.begin() as tx:
            self.program: Program = publishing.publish(tx, program, author(at))

    @contextmanager
    def acting(self, at: datetime, viewer: Viewer = SYSTEM) -> Iterator[tuple[Tx, Author]]:
        """One transaction of one person or worker."""
        with self.database.begin() as tx:
            yield tx, author(at, viewer)

    def put(self, resource: dict[str, Any], at: datetime, viewer: Viewer = SYSTEM) -> Stored:
        """Store a resource with its own id."""
        with self.database.begin() as tx:
            return records.save(tx, resource, author(at, viewer))

    def patient(self, id_: str, at: datetime = MONDAY) -> str:
        """A synthetic patient."""
        self.put({"resourceType": "Patient", "id": id_, "name": [{"family": "Synthetic", "given": [id_]}]}, at)
        return id_

    def discharge(self, patient: str, at: datetime, *, id_: str = "") -> str:
        """An inpatient stay that ended at `at`; enrols the patient."""
        self.put(encounter(patient, at, id_=id_ or f"stay-{patient}"), at)
        self.enrol(at)
        return f"Encounter/{id_ or f'stay-{patient}'}"

    def remove(self, ref: str, at: datetime, viewer: Viewer = SYSTEM) -> Stored | None:
        """Delete a resource as the EHR would."""
        type_, _, id_ = ref.partition("/")
        with self.acting(at, viewer) as (tx, by):
            return records.remove(tx, type_, id_, by)

    def move(
        self, ref: str, to: str, at: datetime, viewer: Viewer = EVERYONE, fields: Mapping[str, str] | None = None
    ) -> Stored:
        """Move a task as a page would."""
        with self.acting(at, viewer) as (tx, by):
            stored = moving.move(tx, ref, MoveRequest(to=to, fields=fields or {}), by)
            consequences.draw(tx, effects.apply)
            return stored

    def attempt(self, ref: str, at: datetime, *, channel: str = "phone", outcome: str = "no-answer") -> Stored:
        """Write down one try to reach the patient."""
        with self.acting(at, COORDINATOR) as (tx, by):
            item = moving.find_task(tx, COORDINATOR, ref).item
            return outreach.log_attempt(tx, item, outreach.Attempt(channel=channel, outcome=outcome, at=at), by)

    def publish(self, text: str, at: datetime) -> Program:
        """Publish a program version."""
        with self.acting(at) as (tx, by):
            return publishing.publish(tx, text, by)

    def enrol(self, at: datetime) -> int:
        """Let the program look at what is new; the number of plans it opened."""
        with self.database.begin() as tx:
            return enrolment.consume(tx, self.program, at).enrolled

    def sweep(self, at: datetime, *, share: float = 0) -> sweep.SweepReport:
        """Sweep until nothing due is left."""
        return sweep.settle(self.database, at, sweep.Limits(brake=Limit(share=share, floor=2)))

    def items(self, patient: str) -> list[WorkItem]:
        """All work of a patient, oldest first."""
        with self.database.read() as tx:
            return work_items.of_patient(tx, SYSTEM, patient)

    def task(self, patient: str, code: str) -> WorkItem:
        """The one task of that template."""
        (found,) = [item for item in self.items(patient) if item.code == code and item.kind == "task"]
        return found

    def escalations(self, patient: str) -> list[WorkItem]:
        """The patient's escalation Tasks, oldest first."""
        return [item for item in self.items(patient) if item.kind == "escalation"]

    def firings(self, ref: str) -> tuple[Firing, ...]:
        """What fired for an item."""
        with self.database.read() as tx:
            return firings.of_items(tx, SYSTEM, [ref])[ref]

    def log(self, ref: str) -> tuple[Transition, ...]:
        """The transition rows of an item."""
        with self.database.read() as tx:
            return transitions.of_items(tx, SYSTEM, [ref])[ref]

    def item(self, ref: str) -> WorkItem:
        """The work item as it is now."""
        with self.database.read() as tx:
            found = work_items.find(tx, SYSTEM, ref)
        assert found is not None
        return found

    def notified(self, ref: str) -> list[Notification]:
        """What was told about a reference."""
        with self.database.read() as tx:
            return notifications.of_subject(tx, SYSTEM, ref)

    def stored(self, *types: str) -> list[dict[str, Any]]:
        """The present bodies of all resources of these types, in the order they were first written."""
        with self.database.read() as tx:
            return [records.resource_of(one) for one in resources.scan(tx, SYSTEM, types, limit=10_000)]

    def provenance(self, ref: str) -> list[dict[str, Any]]:
        """Every Provenance that has a version of `ref` among its targets."""
        found = self.stored("Provenance")
        return [one for one in found if any(t["reference"].startswith(f"{ref}/_history/") for t in one["target"])]

    def resource(self, ref: str) -> dict[str, Any]:
        """The present body of a resource."""
        with self.database.read() as tx:
            stored = resources.find(tx, SYSTEM, *ref.split("/"))
        assert stored is not None
        return records.resource_of(stored)

    def active(self) -> list[Program]:
        """The active programs."""
        with self.database.read() as tx:
            return programs.active_programs(tx)


def author(at: datetime, viewer: Viewer = SYSTEM, origin: str = "staff") -> Author:
    """Who writes in a test."""
    return Author(viewer=viewer, origin=origin, at=at)


def encounter(patient: str, end: datetime, *, id_: str, status: str = "finished") -> dict[str, Any]:
    """An inpatient Encounter of three days that ended at `end`."""
    return {
        "resourceType": "Encounter",
        "id": id_,
        "status": status,
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": {"reference": f"Patient/{patient}"},
        "period": {"start": (end - timedelta(days=3)).isoformat(), "end": end.isoformat()},
    }


def appointment(patient: str, start: datetime, *, id_: str, status: str) -> dict[str, Any]:
    """An Appointment of the visit service."""
    return {
        "resourceType": "Appointment",
        "id": id_,
        "status": status,
        "serviceType": [{"coding": [{"system": "http://example.org/service", "code": "visit"}]}],
        "start": start.isoformat(),
        "end": (start + timedelta(minutes=20)).isoformat(),
        "participant": [{"actor": {"reference": f"Patient/{patient}"}, "status": "accepted"}],
    }
