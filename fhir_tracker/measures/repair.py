"""Repairing what is not in order in the queues, each piece by the transition that a person would make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from fhir_tracker import caseload, consequences, effects, records, task_resources, transitions
from fhir_tracker.errors import TrackerError
from fhir_tracker.fhir.dates import instant
from fhir_tracker.measures.hygiene import Finding, is_active
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.plan import plan_facts
from fhir_tracker.rules.due import due_at
from fhir_tracker.storage import resources, standing, work_items
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.standing import Moment
from fhir_tracker.transitions import OpenTask

HOLD_FOR = timedelta(days=7)
FALLBACK_ROLE = "clinic-admin"
_CANCELLED = "cancelled"


class _Left(Exception):
    """Why a person has to decide."""


class _Rehearsed(Exception):
    """Rolls a transaction back once it has shown that it could be done."""


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """What became of one finding: `what` was done or would be, or why it was skipped or failed."""

    finding: Finding
    state: Literal["done", "planned", "skipped", "failed"]
    what: str


def repair(database: Database, finding: Finding, author: Author, *, dry_run: bool = False) -> Repaired:
    """Repair one finding in a transaction of its own; a dry run says what would be done."""
    try:
        with database.begin() as tx:
            what = _repair(tx, finding, author)
            if dry_run:
                raise _Rehearsed(what)
    except _Rehearsed as rehearsed:
        return Repaired(finding=finding, state="planned", what=str(rehearsed))
    except _Left as reason:
        return Repaired(finding=finding, state="skipped", what=str(reason))
    except TrackerError as error:
        return Repaired(finding=finding, state="failed", what=error.message)
    return Repaired(finding=finding, state="done", what=what)


def _repair(tx: Tx, finding: Finding, author: Author) -> str:
    task = transitions.find_task(tx, author.viewer, finding.ref)
    if not task.item.open:
        raise _Left(f"it is closed by now: {task.item.status}")
    what = _REPAIRS[finding.kind](tx, task, finding, author)
    consequences.draw(tx, effects.apply)
    return what


def _give_owner(tx: Tx, task: OpenTask, finding: Finding, author: Author) -> str:
    item = task.item
    template = task.program.task(item.code) if task.program else None
    if item.owner:
        raise _Left(f"{item.owner} has it by now")
    if not item.role:
        role = template.role if template else FALLBACK_ROLE
        transitions.give_role(tx, item.ref, role, author, reason=_because(finding))
        return f"put into the queue of {role}"
    policy = task.program.ownership.of(item.role) if task.program else None
    if policy is None or policy.assign == "queue":
        raise _Left(f"it waits in the queue of {item.role}, as its program says: somebody has to take it")
    choice = caseload.choose(tx, item, policy, author.at)
    if choice.person is None:
        raise _Left(choice.reason)
    transitions.assign(tx, item.ref, choice.person, author, reason=f"{_because(finding)}: {choice.reason}")
    return f"given to {choice.person}: {choice.reason}"


def _give_due(tx: Tx, task: OpenTask, finding: Finding, author: Author) -> str:
    item, program = task.item, task.program
    template = program.task(item.code) if program else None
    if item.due_at is not None:
        raise _Left("it has a due time by now")
    if program is None or template is None or template.due is None:
        raise _Left("no program says when it is due: a person has to")
    plan = work_items.find(tx, author.viewer, item.plan) if item.plan else None
    stored = resources.find(tx, author.viewer, *plan.ref.split("/")) if plan else None
    anchors = plan_facts(records.resource_of(stored), plan).anchors if plan and stored and not stored.deleted else {}
    due = due_at(program, template, anchors, item.created_at)
    if due is None:
        raise _Left("no program says when it is due: a person has to")
    changed = task_resources.with_due(task_resources.stamped(task.resource, author.at), due)
    transitions.store(tx, changed, author, _why(finding))
    return f"due {instant(due)}, {template.due.within} after {template.due.anchor}"


def _end_hold(tx: Tx, task: OpenTask, finding: Finding, author: Author) -> str:
    if task.item.clock != "paused" or task.item.hold_until or task.item.hold_event:
        raise _Left("its hold has an end by now")
    until = instant(author.at + HOLD_FOR)
    told = {"hold.until": until, "note": f"{_because(finding)}; on hold until {until}"}
    changed = task_resources.with_fields(task_resources.stamped(task.resource, author.at), told, author)
    transitions.store(tx, changed, author, _why(finding))
    return f"on hold until {until}"


def _return(tx: Tx, task: OpenTask, finding: Finding, author: Author) -> str:
    if not task.item.owner:
        raise _Left("nobody has it by now")
    if is_active(tx, Moment(at=author.at, now=True), task.item.owner):
        raise _Left(f"{task.item.owner} has it by now, who is active")
    transitions.assign(tx, task.item.ref, None, author, reason=_because(finding))
    return f"back from {task.item.owner} to the queue of {task.item.role or 'nobody'}"


def _cancel_left(tx: Tx, task: OpenTask, finding: Finding, author: Author) -> str:
    plan = work_items.find(tx, author.viewer, task.item.plan) if task.item.plan else None
    if not task.item.plan or (plan is not None and plan.open):
        raise _Left("its plan is open by now" if plan else "it is of no plan by now")
    return _cancel(tx, task, finding, author)


def _cancel_double(tx: Tx, task: OpenTask, finding: Finding, author: Author) -> str:
    patient = task.item.patient
    own = replace(author.viewer, patient=patient) if patient else author.viewer
    found = standing.doubles(tx, own, Moment(at=author.at, now=True))
    if not any((one.ref, one.other) == (finding.ref, finding.other) for one in found):
        raise _Left(f"it does not double {finding.other or 'anything'} by now")
    return _cancel(tx, task, finding, author)


def _cancel(tx: Tx, task: OpenTask, finding: Finding, author: Author) -> str:
    own = [one for one in task.program.statuses if one.fhir == _CANCELLED] if task.program else []
    status = own[0].code if own else _CANCELLED
    transitions.move_by_rule(tx, task.item.ref, status, author, _why(finding))
    return f"cancelled: {_because(finding)}"


def _because(finding: Finding) -> str:
    return {
        "no-owner": "Queue hygiene: nobody had it",
        "no-due": "Queue hygiene: it had no due time",
        "endless-hold": "Queue hygiene: its hold had no end",
        "closed-plan": "Queue hygiene: its plan is closed",
        "inactive-owner": "Queue hygiene: its owner is not active any more",
        "duplicate": f"Queue hygiene: it doubles {finding.other}",
    }[finding.kind]


def _why(finding: Finding) -> Why:
    return Why(reason=_because(finding), code=finding.kind)


_REPAIRS: Mapping[str, Callable[[Tx, OpenTask, Finding, Author], str]] = {
    "no-owner": _give_owner,
    "no-due": _give_due,
    "endless-hold": _end_hold,
    "closed-plan": _cancel_left,
    "inactive-owner": _return,
    "duplicate": _cancel_double,
}
