"""Building and changing Task resources: what a template, a move or an escalation writes.

https://hl7.org/fhir/R4/task.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import moment_at, objects_at
from fhir_tracker.model.activity import Activity
from fhir_tracker.model.author import Author
from fhir_tracker.model.effects import Escalate
from fhir_tracker.model.program import CANONICAL, Program, Status, TaskTemplate
from fhir_tracker.model.vocabulary import (
    ACTIVITY_SYSTEM,
    ESCALATION,
    HOLD_EVENT,
    HOLD_UNTIL,
    INPUT_SYSTEM,
    ROLE_SYSTEM,
    SUSPENDED,
    WORK_SYSTEM,
    activity_canonical,
)
from fhir_tracker.model.work import WorkItem
from fhir_tracker.program_resources import task_code


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """What a template does not know: for whom, in which plan, because of what, due when."""

    id: str
    patient: str | None
    plan: str | None
    due_at: datetime | None
    reason: str | None = None
    about: str | None = None
    priority: str | None = None
    starts_at: datetime | None = None
    goal: str | None = None
    part_of: str | None = None
    owner: str | None = None


def from_template(program: Program, template: TaskTemplate, new: NewTask, now: datetime) -> Resource:
    """The Task of one piece of a program's work."""
    status = program.status(template.initial) or program.statuses[0]
    resource: Resource = {
        "resourceType": "Task",
        "id": new.id,
        "meta": {"source": CANONICAL},
        "instantiatesCanonical": activity_canonical(program.code, template.code, program.version),
        **({"basedOn": [{"reference": new.plan}]} if new.plan else {}),
        "status": status.fhir,
        "businessStatus": business_status(program, status),
        "intent": "order",
        "priority": new.priority or template.priority,
        "code": task_code(program, template),
        **({"description": template.what} if template.what else {}),
        **({"focus": {"reference": new.about}} if new.about else {}),
        **({"for": {"reference": f"Patient/{new.patient}"}} if new.patient else {}),
        "authoredOn": instant(now),
        "lastModified": instant(now),
        "performerType": [role_concept(template.role)],
        **({"owner": {"reference": new.owner}} if new.owner else {}),
        **({"reasonCode": {"text": new.reason}} if new.reason else {}),
        **({"reasonReference": {"reference": new.goal}} if new.goal else {}),
        **({"partOf": [{"reference": new.part_of}]} if new.part_of else {}),
        **({"restriction": {"period": {"start": instant(new.starts_at)}}} if new.starts_at else {}),
    }
    return with_due(resource, new.due_at) if new.due_at else resource


def of_activity(resource: Resource, program: Program, activity: Activity, plan: str, known: bool) -> Resource:
    """The Task of an intervention that a plan lists itself; `known` says that it is one of the program's tasks."""
    key = f"{plan.partition('/')[2]}#{activity.key}"
    changed = resource | {"identifier": [{"system": ACTIVITY_SYSTEM, "value": key}]}
    if activity.what:
        changed["description"] = activity.what
    if activity.owner:
        changed["owner"] = {"reference": activity.owner}
    if not known:
        changed |= {"instantiatesCanonical": program.canonical, "code": activity.code or {"text": activity.title}}
    return changed


def business_status(program: Program, status: Status) -> Resource:
    """`Task.businessStatus` of one of the program's statuses."""
    return concept(program.status_system, status.code, status.title, text=status.title)


def role_concept(role: str) -> Resource:
    """A role queue as `Task.performerType`."""
    return concept(ROLE_SYSTEM, role)


def with_due(resource: Resource, due_at: datetime) -> Resource:
    """A copy due at that moment (`Task.restriction.period.end`)."""
    return resource | {"restriction": _until(resource, instant(due_at))}


def stamped(resource: Resource, now: datetime) -> Resource:
    """A copy modified now; never before it was authored (inv-1)."""
    authored = moment_at(resource, "authoredOn")
    return resource | {"lastModified": instant(max(now, authored) if authored else now)}


def with_status(resource: Resource, program: Program | None, to: str, now: datetime) -> Resource:
    """A copy in status `to`, the FHIR status following; the reason for the old one goes, and with a hold its end."""
    own = program.status(to) if program else None
    old = ("statusReason", "businessStatus") if program else ("statusReason",)
    changed = {name: value for name, value in stamped(resource, now).items() if name not in old}
    changed["status"] = own.fhir if own else to
    if program and own:
        changed["businessStatus"] = business_status(program, own)
    if own is None or own.clock != "paused":
        changed = _without_hold(changed)
    if own is not None and own.clock == "stopped":
        changed["executionPeriod"] = (resource.get("executionPeriod") or {}) | {"end": instant(now)}
    return changed


def with_fields(resource: Resource, fields: Mapping[str, str], author: Author) -> Resource:
    """A copy with what a move asked for filled in; `fields` has been checked."""
    changed = dict(resource)
    if note := fields.get("note"):
        changed = with_note(changed, note, author)
    if reason := fields.get("reason"):
        changed["statusReason"] = {"text": reason}
    if owner := fields.get("owner"):
        changed["owner"] = {"reference": owner}
    if due := fields.get("due"):
        changed["restriction"] = _until(changed, due)
    if until := fields.get("hold.until"):
        changed = _without_hold(changed)
        held = [{"url": HOLD_UNTIL, "valueDateTime": until}]
        held += [{"url": HOLD_EVENT, "valueCode": fields["hold.event"]}] if fields.get("hold.event") else []
        changed["extension"] = [*(changed.get("extension") or []), *held]
    outputs = [output for name in ("document", "output") if (output := _output(name, fields.get(name)))]
    if outputs:
        changed["output"] = [*(changed.get("output") or []), *outputs]
    return changed


def status_reason(program: Program | None, code: str, words: str | None) -> Resource:
    """`Task.statusReason` of one of the program's coded reasons, in the words given or else its own title."""
    reason = next((one for one in program.reasons if one.code == code), None) if program else None
    if program is None or reason is None:
        return {"text": words or code}
    return concept(program.reason_system, reason.code, reason.title, text=words or reason.title)


def with_note(resource: Resource, text: str, author: Author) -> Resource:
    """A copy with one more note, signed and dated."""
    note = {"authorString": author.viewer.name or author.viewer.who, "time": instant(author.at), "text": text}
    return resource | {"note": [*(resource.get("note") or []), note]}


def with_evidence(resource: Resource, references: tuple[str, ...]) -> Resource:
    """A copy whose outputs name what proves the work done."""
    outputs = [{"type": concept(INPUT_SYSTEM, "evidence"), "valueReference": {"reference": ref}} for ref in references]
    return resource | {"output": [*(resource.get("output") or []), *outputs]} if outputs else resource


def escalation_task(id_: str, item: WorkItem, effect: Escalate, now: datetime) -> Resource:
    """The escalation Task of one level: focus the late work, input level, rule and cycle (DESIGN section 2)."""
    title = f"Escalation: {item.title}"
    return {
        "resourceType": "Task",
        "id": id_,
        "meta": {"source": CANONICAL},
        **({"basedOn": [{"reference": item.plan}]} if item.plan else {}),
        "status": "requested",
        "intent": "order",
        "priority": effect.priority or item.priority,
        "code": concept(WORK_SYSTEM, ESCALATION, "Escalation", text=title),
        "focus": {"reference": item.ref},
        **({"for": {"reference": f"Patient/{item.patient}"}} if item.patient else {}),
        "authoredOn": instant(now),
        "lastModified": instant(now),
        "performerType": [role_concept(effect.to_role)],
        "reasonCode": {"text": effect.reason},
        "input": [
            {"type": _input("level"), "valuePositiveInt": effect.level},
            {"type": _input("rule"), "valueString": effect.key.rule},
            {"type": _input("cycle"), "valueString": effect.key.cycle},
        ],
    }


def admin_task(id_: str, code: str, title: str, reason: str, now: datetime) -> Resource:
    """Work for the clinic admin about the tracker itself (DESIGN section 6), such as `mass-escalation`."""
    return {
        "resourceType": "Task",
        "id": id_,
        "meta": {"source": CANONICAL},
        "status": "requested",
        "intent": "order",
        "priority": "urgent",
        "code": concept(WORK_SYSTEM, code, text=title),
        "authoredOn": instant(now),
        "lastModified": instant(now),
        "performerType": [role_concept("clinic-admin")],
        "reasonCode": {"text": reason},
    }


def _until(resource: Resource, end: str) -> Resource:
    restriction: Resource = resource.get("restriction") or {}
    return restriction | {"period": (restriction.get("period") or {}) | {"end": end}}


def _input(code: str) -> Resource:
    return concept(INPUT_SYSTEM, code, text=code)


def _output(name: str, value: str | None) -> Resource | None:
    if not value:
        return None
    kind = {"type": concept(INPUT_SYSTEM, name)}
    return kind | ({"valueReference": {"reference": value}} if name == "document" else {"valueString": value})


def _without_hold(resource: Resource) -> Resource:
    kept = [
        one for one in objects_at(resource, "extension") if one.get("url") not in (HOLD_UNTIL, HOLD_EVENT, SUSPENDED)
    ]
    changed = {name: value for name, value in resource.items() if name != "extension"}
    return changed | {"extension": kept} if kept else changed
