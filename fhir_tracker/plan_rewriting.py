"""Writing a plan and its open work as those of another version of their program, each with the row that tells it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from fhir_tracker import provenance, records, task_resources
from fhir_tracker.errors import Conflict
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at
from fhir_tracker.fhir.summary_text import with_text_in_step
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.plan_map import PlanMap
from fhir_tracker.model.program import Program, Status
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.vocabulary import CLOSED_TASK, PLAN_STAGE, activity_canonical, program_named
from fhir_tracker.model.work import Transition, WorkItem
from fhir_tracker.program_resources import task_code
from fhir_tracker.storage import resources, transitions, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

_VIEWER = worker_viewer("change-control")
WHAT: Final = "program"
"""What a transition row is of that says that an item went to another version."""
Resolve = Callable[[Tx, WorkItem], tuple[str, str]]
"""The status (of a plan: the stage) and kind of work that an item gets; raises Unmapped."""


class Unmapped(Exception):
    """Raised when an item has no place in the wanted version; the text says why."""


def forward(wanted: Program, item: WorkItem, by: PlanMap) -> tuple[str, str]:
    """Where the map puts an item."""
    found = (by.stage(item.status) if item.kind == "plan" else by.status(item.status)), by.task(item.code)
    return _possible(wanted, item, *found)


def backward(tx: Tx, wanted: Program, item: WorkItem, inverse: PlanMap) -> tuple[str, str]:
    """Where an item stood before it was moved, if it stands where it was put; else by the inverse of the map."""
    log = transitions.of_items(tx, _VIEWER, [item.ref])[item.ref]
    moved = next((row for row in reversed(log) if row.what == WHAT and row.after == _version(item)), None)
    of = "stage" if item.kind == "plan" else "status"
    since = [row for row in log if row.what == of and moved and row.recorded_at >= moved.recorded_at]
    template = moved.note or item.code if moved else inverse.task(item.code)
    if moved and all(row.recorded_at == moved.recorded_at for row in since):
        was = since[0].before if since else item.status
        return _possible(wanted, item, was or item.status, template)
    back = inverse.stage(item.status) if item.kind == "plan" else inverse.status(item.status)
    own = {one.code for one in (wanted.stages if item.kind == "plan" else wanted.statuses)}
    return _possible(wanted, item, item.status if item.status in own else back, template)


def rewrite(tx: Tx, wanted: Program, items: Sequence[WorkItem], resolve: Resolve, author: Author, reason: str) -> int:
    """Write these items, all or none, as those of `wanted`; how many were.

    Raises Unmapped, and Conflict when somebody has changed one since `items` were read.
    """
    todo = [item for item in items if item.program_version != wanted.version]
    held = {item.ref: resources.find(tx, author.viewer, *item.ref.split("/")) for item in todo}
    present = work_items.find_many(tx, author.viewer, held)
    for item in todo:
        if present.get(item.ref) != item:
            raise Conflict(f"{item.ref} was changed meanwhile.")
    written = [_rewritten(tx, wanted, item, held[item.ref], *resolve(tx, item), author, reason) for item in todo]
    if written:
        provenance.record(tx, written, author, Why(reason=reason))
    return len(written)


def _possible(wanted: Program, item: WorkItem, to: str, template: str) -> tuple[str, str]:
    if item.kind == "plan":
        if not any(one.code == to for one in wanted.stages):
            raise Unmapped(f"version {wanted.version} has no stage for {item.status}")
        return to, template
    status = wanted.status(to)
    if status is None:
        raise Unmapped(f"version {wanted.version} has no status for {item.status}")
    if status.fhir in CLOSED_TASK or (status.clock == "paused" and item.clock != "paused"):
        raise Unmapped(f"{item.status} cannot become {to}")
    return to, template


def _rewritten(
    tx: Tx,
    wanted: Program,
    item: WorkItem,
    stored: Stored | None,
    to: str,
    template: str,
    author: Author,
    reason: str,
) -> Stored:
    if stored is None or stored.deleted:
        raise Unmapped(f"{item.ref} is gone")
    resource = records.resource_of(stored)
    change = _plan(wanted, resource, to) if item.kind == "plan" else _task(wanted, resource, to, template, author)
    row = Transition(
        item=item.ref,
        what=WHAT,
        before=_version(item),
        after=f"{wanted.code}|{wanted.version}",
        recorded_at=author.at,
        effective_at=author.at,
        who=author.viewer.who,
        reason=reason,
        note=item.code if template != item.code else None,
        cycle=item.cycle,
    )
    transitions.add(tx, row, item.patient)
    why = Why(reason=reason, effective_at=item.status_since)
    return records.save(tx, change, author, why=why, if_match=stored.version)


def _plan(wanted: Program, resource: Resource, to: str) -> Resource:
    stage = next(one for one in wanted.stages if one.code == to)
    others = [one for one in objects_at(resource, "extension") if one.get("url") != PLAN_STAGE]
    named = resource.get("instantiatesCanonical")
    canonicals = [
        wanted.canonical if (program_named(one) or ("",))[0] == wanted.code else one
        for one in (named if isinstance(named, list) else [])
    ]
    changed = resource | {
        "extension": [{"url": PLAN_STAGE, "valueCode": to}, *others],
        "instantiatesCanonical": canonicals,
        "status": stage.fhir,
    }
    return with_text_in_step(resource, changed)


def _task(wanted: Program, resource: Resource, to: str, template: str, author: Author) -> Resource:
    status, kind = wanted.status(to), wanted.task(template)
    if status is None:
        raise Unmapped(f"version {wanted.version} has no status {to}")
    changed = _in_status(wanted, resource, status, author)
    own = activity_canonical(wanted.code, template, wanted.version) if kind else wanted.canonical
    return changed | {"instantiatesCanonical": own} | ({"code": task_code(wanted, kind)} if kind else {})


def _in_status(wanted: Program, resource: Resource, status: Status, author: Author) -> Resource:
    """The Task in a status of the wanted version; the reason for its status stays said."""
    changed = task_resources.with_status(resource, wanted, status.code, author.at)
    return changed | ({"statusReason": resource["statusReason"]} if "statusReason" in resource else {})


def _version(item: WorkItem) -> str:
    return f"{item.program}|{item.program_version}"
