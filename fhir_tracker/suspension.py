"""Tasks that are part of a Task on hold wait with it, and go on with it from where they were.

https://hl7.org/fhir/R4/task.html#subtasks
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fhir_tracker import transitions
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import at, objects_at, references_at, text_at
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.program import Program
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.vocabulary import HOLD_UNTIL, SUSPENDED
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import referrers, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.task_resources import with_status
from fhir_tracker.transitions import OpenTask

_SYSTEM = worker_viewer("suspension")
_ON_HOLD = "on-hold"


def suspend(tx: Tx, parent: WorkItem, author: Author) -> None:
    """Put the open parts of a Task on hold as well; those that pause already stay as they are."""
    for child in _parts(tx, parent.ref):
        _suspend(tx, child, parent, author)


def join(tx: Tx, ref: str, author: Author) -> None:
    """Suspend a Task that was just made part of one that is on hold."""
    child = transitions.find_task(tx, _SYSTEM, ref)
    for parent in work_items.find_many(tx, _SYSTEM, list(references_at(child.resource, "partOf"))).values():
        if parent.open and parent.clock == "paused":
            _suspend(tx, child, parent, author)
            return


def resume(tx: Tx, parent: WorkItem, author: Author) -> None:
    """Give the parts that were suspended with this Task back the status they had."""
    for child in _parts(tx, parent.ref):
        before = _suspended_from(child.resource, parent.ref)
        if before is None or child.item.clock != "paused":
            continue
        to = before if _knows(child.program, before) else _first_open(child.program)
        changed = with_status(child.resource, child.program, to, author.at)
        _store(tx, changed, author, f"{parent.title} goes on")


def follow_end(tx: Tx, parent: WorkItem, author: Author) -> None:
    """Let the parts that wait with this Task wait until the same moment as it does now."""
    until = parent.hold_until.isoformat() if parent.hold_until else None
    for child in _parts(tx, parent.ref):
        if _suspended_from(child.resource, parent.ref) is not None and child.item.hold_until != parent.hold_until:
            kept = [one for one in objects_at(child.resource, "extension") if one.get("url") != HOLD_UNTIL]
            ends = [{"url": HOLD_UNTIL, "valueDateTime": until}] if until else []
            _store(
                tx, child.resource | {"extension": [*kept, *ends]}, author, f"{parent.title} waits longer or shorter"
            )


def _parts(tx: Tx, ref: str) -> Iterator[OpenTask]:
    """The open Tasks of ours that say they are part of this one."""
    found = referrers.referrers(tx, _SYSTEM, [ref]).get(ref)
    names = [one for one in (found.seen if found else ()) if one.startswith("Task/")]
    for name, item in sorted(work_items.find_many(tx, _SYSTEM, names).items()):
        if item.open and item.kind == "task":
            child = transitions.find_task(tx, _SYSTEM, name)
            if ref in references_at(child.resource, "partOf"):
                yield child


def _suspend(tx: Tx, child: OpenTask, parent: WorkItem, author: Author) -> None:
    if child.item.clock == "paused" or not child.item.open or child.item.ref == parent.ref:
        return
    changed = with_status(child.resource, child.program, _hold_of(child.program), author.at)
    until = [{"url": HOLD_UNTIL, "valueDateTime": parent.hold_until.isoformat()}] if parent.hold_until else []
    others = [one for one in objects_at(changed, "extension") if one.get("url") != HOLD_UNTIL]
    changed["extension"] = [*others, *until, _mark(parent.ref, child.item.status)]
    reason = f"{parent.title} is on hold"
    changed["statusReason"] = {"text": reason}
    _store(tx, changed, author, reason)


def _store(tx: Tx, resource: Resource, author: Author, reason: str) -> None:
    acting = replace(author, viewer=replace(author.viewer, patient=None))
    transitions.store(tx, resource, acting, Why(reason=reason), quietly=True)


def _hold_of(program: Program | None) -> str:
    """Where a Task waits: the first status of its program that is a hold, else FHIR's own."""
    return next((one.code for one in program.statuses if one.fhir == _ON_HOLD), _ON_HOLD) if program else _ON_HOLD


def _first_open(program: Program | None) -> str:
    return program.statuses[0].code if program else "requested"


def _knows(program: Program | None, status: str) -> bool:
    return program is None or program.status(status) is not None


def _mark(parent: str, status: str) -> Resource:
    parts = [{"url": "by", "valueReference": {"reference": parent}}, {"url": "from", "valueString": status}]
    return {"url": SUSPENDED, "extension": parts}


def _suspended_from(resource: Resource, parent: str) -> str | None:
    """The status that a Task had when this parent took it on hold; None when it did not."""
    for one in objects_at(resource, "extension"):
        if one.get("url") != SUSPENDED:
            continue
        parts = {text_at(part, "url"): part for part in objects_at(one, "extension")}
        if text_at(parts.get("by"), "valueReference", "reference") == parent:
            status = at(parts.get("from"), "valueString")
            return status if isinstance(status, str) else None
    return None
