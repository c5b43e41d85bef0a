"""Taking back work that is not wanted any more, and moving due times that were counted anew: never what somebody has begun."""

from __future__ import annotations

from datetime import datetime

from fhir_tracker import task_resources, transitions
from fhir_tracker.fhir.reading import objects_at
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.storage import transitions as rows
from fhir_tracker.storage import work_items
from fhir_tracker.storage.database import Tx

CANCELLED = "cancelled"
_WORKERS = "Device/"


def begun(tx: Tx, ref: str) -> str | None:
    """What somebody has done about a Task since it was made, in words; None when nobody has.

    Who made it has not begun it yet, whoever that is, nor who brought it to another version of its program.
    """
    task = transitions.find_task(tx, RULE_WORKER, ref)
    log = rows.of_items(tx, RULE_WORKER, [ref])[ref]
    made_at = min((one.recorded_at for one in log), default=None)
    if task.item.attempts:
        return "the patient was tried"
    if list(objects_at(task.resource, "note")) or list(objects_at(task.resource, "output")):
        return "somebody wrote to it"
    brought = {made_at, *(one.recorded_at for one in log if one.what == "program")}
    by_people = [one for one in log if one.recorded_at not in brought and not one.who.startswith(_WORKERS)]
    return f"{by_people[0].who} changed its {by_people[0].what}" if by_people else None


def withdraw(tx: Tx, ref: str, author: Author, why: Why, *, quietly: bool = False) -> str | None:
    """Cancel a Task that nobody has begun; None when that was done, else why not. `quietly` as in `transitions.store`."""
    item = work_items.find(tx, author.viewer, ref)
    if item is None or not item.open:
        return f"the work is closed: {item.status}" if item else "the work is gone"
    if what := begun(tx, ref):
        return f"somebody has begun it: {what}"
    task = transitions.find_task(tx, author.viewer, ref)
    own = next((one for one in task.program.statuses if one.fhir == CANCELLED), None) if task.program else None
    changed = task_resources.with_status(task.resource, task.program, own.code if own else CANCELLED, author.at)
    if why.reason:
        changed["statusReason"] = {"text": why.reason}
    transitions.store(tx, changed, author, why, quietly=quietly)
    return None


def set_due(tx: Tx, ref: str, due_at: datetime, author: Author, why: Why) -> str | None:
    """Let open work be due at another time; None when it is now, else why not."""
    item = work_items.find(tx, author.viewer, ref)
    if item is None or not item.open:
        return f"the work is closed: {item.status}" if item else "the work is gone"
    task = transitions.find_task(tx, author.viewer, ref)
    changed = task_resources.with_due(task_resources.stamped(task.resource, author.at), due_at)
    transitions.store(tx, changed, author, why)
    return None
