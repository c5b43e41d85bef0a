"""From a stored resource to the read models that rules and queues use, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from fhir_tracker import programs
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.event import EVENT_TYPES, event_of
from fhir_tracker.model.patient import summary_of
from fhir_tracker.model.plan import plan_item
from fhir_tracker.model.task import changes_between, task_item, with_history
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.work import Event, FiringState, WorkItem
from fhir_tracker.storage import events, firings, patients, transitions, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

_PROJECTOR = worker_viewer("projection")
ATTEMPTED = frozenset({"completed", "not-done"})
_ANSWERS: Mapping[str, FiringState] = {
    "accepted": "acknowledged",
    "in-progress": "taken-over",
    "rejected": "sent-back",
    "completed": "resolved",
    "cancelled": "resolved",
    "failed": "resolved",
    "entered-in-error": "resolved",
}


def project(tx: Tx, stored: Stored, resource: Resource, author: Author, why: Why | None = None) -> None:
    """Bring every read model in step with this version of the resource, and make dependent work due for a look."""
    if stored.type == "Patient":
        patients.save(tx, summary_of(resource, stored.connection))
    if stored.type in EVENT_TYPES and (event := event_of(resource, seen_at=stored.updated_at)):
        events.save(tx, event)
        _look_again(tx, event, author.at)
    item = item_of(tx, stored, resource)
    if item is not None:
        _save_item(tx, item, author, why)


def withdraw(tx: Tx, stored: Stored, author: Author, why: Why | None = None) -> None:
    """Take a deleted resource out of the read models; its rows of history stay."""
    ref = f"{stored.type}/{stored.id}"
    if stored.type in EVENT_TYPES:
        events.drop(tx, ref)
        if stored.patient:
            work_items.due_now(tx, stored.patient, author.at)
            set_flags(tx, stored.patient)
    before = work_items.find(tx, _PROJECTOR, ref)
    if before is not None:
        after = replace(before, status="deleted", fhir_status="entered-in-error", open=False, clock="stopped")
        for row in changes_between(before, after, author, why):
            transitions.add(tx, row, before.patient)
        work_items.drop(tx, ref)


def item_of(tx: Tx, stored: Stored, resource: Resource) -> WorkItem | None:
    """The work item a Task or enrolled CarePlan gives by itself, without its history; None for everything else."""
    if stored.type == "Task":
        program = None if stored.connection else programs.of_resource(tx, resource)
        return task_item(resource, program, mirrored=stored.connection is not None, created_at=stored.updated_at)
    if stored.type == "CarePlan" and stored.connection is None:
        program = programs.of_resource(tx, resource)
        return plan_item(resource, program, created_at=stored.updated_at) if program else None
    return None


def refresh(tx: Tx, item: WorkItem, *, at: datetime | None) -> WorkItem:
    """Save the item with what its rows know; `at` is when it is next looked at (None keeps closed work asleep)."""
    log = transitions.of_items(tx, _PROJECTOR, [item.ref])[item.ref]
    fired = firings.of_items(tx, _PROJECTOR, [item.ref])[item.ref]
    whole = with_history(item, log, fired, _attempts(tx, item))
    whole = replace(whole, next_action_at=at if whole.open and whole.program else None)
    work_items.save(tx, whole)
    return whole


def refresh_ref(tx: Tx, ref: str, *, at: datetime | None) -> None:
    """As `refresh`, for the item behind a reference; nothing happens when there is none."""
    item = work_items.find(tx, _PROJECTOR, ref)
    if item is not None:
        refresh(tx, item, at=at)


def _save_item(tx: Tx, item: WorkItem, author: Author, why: Why | None) -> None:
    before = work_items.find(tx, _PROJECTOR, item.ref)
    for row in changes_between(before, item, author, why):
        transitions.add(tx, row, item.patient)
    after = refresh(tx, item, at=author.at)
    if after.kind == "escalation":
        firing = firings.of_task(tx, _PROJECTOR, after.ref)
        if firing:
            firings.set_state(tx, firing.key, _ANSWERS.get(after.fhir_status, "open"))
    for ref in (after.plan if after.kind == "task" else None, after.focus if after.kind == "escalation" else None):
        if ref:
            refresh_ref(tx, ref, at=author.at)


def _look_again(tx: Tx, event: Event, now: datetime) -> None:
    work_items.due_now(tx, event.patient, now)
    if event.type == "Flag":
        set_flags(tx, event.patient)
    if event.type != "Communication":
        return
    about = [ref for ref in event.about if ref.startswith("Task/")]
    for item in work_items.find_many(tx, _PROJECTOR, about).values():
        refresh(tx, item, at=now)


def set_flags(tx: Tx, patient: str) -> None:
    """Let the patient's summary name the flags that are active now."""
    flags = events.of_patients(tx, _PROJECTOR, [patient], ["Flag"])[patient]
    active = {one.codes[0].partition("|")[2] for one in flags if one.status == "active" and one.codes}
    patients.set_flags(tx, patient, sorted(active))


def _attempts(tx: Tx, item: WorkItem) -> list[Event]:
    if not item.patient or item.kind == "plan":
        return []
    found = events.of_patients(tx, _PROJECTOR, [item.patient], ["Communication"])[item.patient]
    return sorted((one for one in found if item.ref in one.about and one.status in ATTEMPTED), key=lambda one: one.at)
