"""Applying what rules asked for: each effect once, under its firing key, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from fhir_tracker import escalation, provenance, records, task_resources, transitions
from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import at
from fhir_tracker.fhir.summary_text import with_text_in_step
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.effects import (
    ClearFlag,
    CreateTask,
    Effect,
    Escalate,
    Notify,
    RaiseFlag,
    ReturnToQueue,
    SetPriority,
    SetStatus,
)
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import CANONICAL, Program
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.model.vocabulary import FLAG_SYSTEM
from fhir_tracker.model.work import Firing
from fhir_tracker.rules.due import due_at
from fhir_tracker.storage import events, firings, notifications, resources
from fhir_tracker.storage.database import Tx

_KINDS: Mapping[type[Effect], str] = {
    Escalate: "escalate",
    CreateTask: "create-task",
    RaiseFlag: "raise-flag",
    ClearFlag: "clear-flag",
    SetStatus: "set-status",
    SetPriority: "set-priority",
    Notify: "notify",
    ReturnToQueue: "return-to-queue",
}


def apply(tx: Tx, program: Program, facts: Facts, effect: Effect, now: datetime) -> bool:
    """Do what the effect says unless it has been done before; True when it was done now."""
    author = Author(viewer=RULE_WORKER, origin="rules", at=now)
    rule = f"{program.code}|{program.version}#{effect.key.rule}"
    firing = Firing(
        key=effect.key,
        fired_at=now,
        kind=_KINDS[type(effect)],
        to_role=getattr(effect, "to_role", None),
        program=program.code,
        program_version=program.version,
        reason=effect.reason,
    )
    if not firings.fire(tx, firing, facts.item.patient):
        return False
    _APPLY[type(effect)](tx, program, facts, effect, author, Why(reason=effect.reason, rule=rule))
    return True


def _escalate(tx: Tx, program: Program, facts: Facts, effect: Escalate, author: Author, why: Why) -> None:
    escalation.fire(tx, facts.item, effect, author, why.rule or "")


def _create_task(tx: Tx, program: Program, facts: Facts, effect: CreateTask, author: Author, why: Why) -> None:
    template = program.task(effect.template)
    if template is None:
        return
    anchors = dict(facts.plan.anchors) if facts.plan else {}
    about = next((event for event in facts.events if event.ref == effect.about), None)
    if about is not None:
        anchors[f"{about.type.lower()}.{about.status}"] = anchors["event"] = about.at
    new = task_resources.NewTask(
        id=records.fresh_id(author.at),
        patient=facts.item.patient,
        plan=facts.item.plan,
        due_at=effect.due_at or due_at(program, template, anchors, author.at),
        reason=effect.reason,
        about=effect.about,
    )
    task = records.save(tx, task_resources.from_template(program, template, new, author.at), author, why=why)
    written = [task]
    if facts.item.plan and (plan := resources.find(tx, author.viewer, "CarePlan", facts.item.plan.split("/")[1])):
        resource = records.resource_of(plan)
        work = {"reference": {"reference": f"Task/{task.id}", "display": template.title}}
        changed = resource | {"activity": [*(resource.get("activity") or []), work]}
        written.append(records.save(tx, with_text_in_step(resource, changed), author, why=why))
    provenance.record(tx, written, author, why, activity="CREATE")
    firings.link_task(tx, effect.key, f"Task/{task.id}")


def _raise_flag(tx: Tx, program: Program, facts: Facts, effect: RaiseFlag, author: Author, why: Why) -> None:
    if facts.item.patient is None or _active_flag(tx, facts, effect.code):
        return
    resource: Resource = {
        "resourceType": "Flag",
        "meta": {"source": CANONICAL},
        "status": "active",
        "code": concept(FLAG_SYSTEM, effect.code, text=effect.code.replace("-", " ")),
        "subject": {"reference": f"Patient/{facts.item.patient}"},
        "period": {"start": instant(author.at)},
    }
    stored = records.create(tx, resource, author, why=why)
    provenance.record(tx, [stored], author, why, activity="CREATE")


def _clear_flag(tx: Tx, program: Program, facts: Facts, effect: ClearFlag, author: Author, why: Why) -> None:
    ref = _active_flag(tx, facts, effect.code)
    stored = resources.find(tx, author.viewer, "Flag", ref.split("/")[1]) if ref else None
    if stored is None or stored.deleted or stored.connection:
        return
    resource = records.resource_of(stored)
    period = (at(resource, "period") or {}) | {"end": instant(author.at)}
    cleared = records.save(tx, resource | {"status": "inactive", "period": period}, author, why=why)
    provenance.record(tx, [cleared], author, why)


def _active_flag(tx: Tx, facts: Facts, code: str) -> str | None:
    """Asked of the store, not of the facts: another item of the same batch may just have raised or cleared it."""
    patient, wanted = facts.item.patient or "", f"{FLAG_SYSTEM}|{code}"
    flags = events.of_patients(tx, RULE_WORKER, [patient], ["Flag"])[patient]
    return next((one.ref for one in flags if one.status == "active" and wanted in one.codes), None)


def _set_status(tx: Tx, program: Program, facts: Facts, effect: SetStatus, author: Author, why: Why) -> None:
    transitions.move_by_rule(tx, facts.item.ref, effect.status, author, why, effect.evidence)


def _set_priority(tx: Tx, program: Program, facts: Facts, effect: SetPriority, author: Author, why: Why) -> None:
    task = transitions.find_task(tx, author.viewer, facts.item.ref)
    changed = task_resources.stamped(task.resource, author.at) | {"priority": effect.priority}
    transitions.store(tx, changed, author, why)


def _notify(tx: Tx, program: Program, facts: Facts, effect: Notify, author: Author, why: Why) -> None:
    for channel in effect.channels:
        notifications.add(
            tx,
            to_role=effect.to_role,
            to_person=None,
            channel=channel,
            subject=facts.item.ref,
            patient=facts.item.patient,
            text=effect.reason,
            at=author.at,
        )


def _return_to_queue(tx: Tx, program: Program, facts: Facts, effect: ReturnToQueue, author: Author, why: Why) -> None:
    if facts.item.owner:
        transitions.assign(tx, facts.item.ref, None, author, reason=effect.reason)


_APPLY: Mapping[type[Effect], Callable[..., None]] = {
    Escalate: _escalate,
    CreateTask: _create_task,
    RaiseFlag: _raise_flag,
    ClearFlag: _clear_flag,
    SetStatus: _set_status,
    SetPriority: _set_priority,
    Notify: _notify,
    ReturnToQueue: _return_to_queue,
}
