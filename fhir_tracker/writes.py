"""Writing through the API: the shape is checked, the owner of the type is asked, and work moves by its program's rules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fhir_tracker import (
    definition_lifecycle,
    integrity,
    outgoing,
    outreach,
    programs,
    provenance,
    records,
    task_resources,
    transitions,
)
from fhir_tracker.errors import MethodNotAllowed, RuleBroken
from fhir_tracker.fhir.checks import require_valid
from fhir_tracker.fhir.codeable import first_code
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import extension_value, objects_at, references_at, text_at
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.plan import plan_facts
from fhir_tracker.model.program import CANONICAL, Program
from fhir_tracker.model.task import notes_of, task_code
from fhir_tracker.model.vocabulary import HOLD_UNTIL
from fhir_tracker.program_resources import task_code as task_code_of
from fhir_tracker.rules.due import due_at
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

READ_ONLY = frozenset({"Provenance", "AuditEvent"})
FIXED = ("instantiatesCanonical", "code", "intent", "for", "focus", "basedOn", "requester", "authoredOn", "input")
"""What a Task of a program and an escalation keep as they were filed."""
PROVEN = frozenset(
    {
        "CarePlan",
        "CareTeam",
        "ChargeItem",
        "Communication",
        "EpisodeOfCare",
        "Flag",
        "Goal",
        "QuestionnaireResponse",
        "Task",
    }
)
"""The types that are the tracker's own: each of their writes has a Provenance."""


def create(
    tx: Tx, resource: Resource, author: Author, *, id_: str | None = None, tells_of_others: bool = False
) -> Stored:
    """Store a new resource; a Task of a program gets what its template says and it left out.

    `id_` is a fresh id that is promised to it already; without one it is given one here. `tells_of_others` is for a
    caller's Provenance of what it writes in the same transaction.
    """
    require_valid(resource)
    if not tells_of_others:
        _refuse_read_only(resource["resourceType"])
    if resource["resourceType"] == "Task":
        return _create_task(tx, resource, author, id_ or records.fresh_id(author.at), fresh=True)
    return _proven(tx, records.create(tx, _heeded(tx, resource, author), author, id_=id_), author, "CREATE")


def update(
    tx: Tx, type_: str, id_: str, resource: Resource, author: Author, *, if_match: int | None = None
) -> tuple[Stored, bool]:
    """Store the next version, or the first under a given id; True when it was created.

    What was found here is what is built on: raises VersionConflict when another writer came in between.
    """
    require_valid(resource)
    _refuse_read_only(type_)
    before = resources.find(tx, author.viewer, type_, id_)
    records.check_match(before, if_match)
    if before is not None and before.connection and not before.deleted:
        return _update_mirrored(tx, before, resource | {"id": id_}, author), False
    _refuse_mirrored(before)
    if before is None or before.deleted:
        if type_ == "Task":
            return _create_task(tx, resource, author, id_), True
        created = records.save(tx, _heeded(tx, resource | {"id": id_}, author), author, if_match=records.ABSENT)
        return _proven(tx, created, author, "CREATE"), True
    if type_ == "Task":
        return _update_task(tx, f"Task/{id_}", resource | {"id": id_}, author, before.version), False
    if type_ in definition_lifecycle.TYPES:
        definition_lifecycle.check_change(records.resource_of(before), resource | {"id": id_})
    changed = records.save(tx, resource | {"id": id_}, author, if_match=before.version)
    return _proven(tx, changed, author, "UPDATE"), False


def delete(
    tx: Tx, type_: str, id_: str, author: Author, *, if_match: int | None = None, only_unreferred: bool = False
) -> Stored | None:
    """Delete; None when there was nothing to delete. What an EHR owns is deleted there.

    `only_unreferred`: raises Conflict while current resources refer to it; see `integrity.refusals`.
    """
    _refuse_read_only(type_)
    before = resources.find(tx, author.viewer, type_, id_)
    _refuse_mirrored(before)
    records.check_match(before, if_match)
    if only_unreferred and before is not None and not before.deleted:
        integrity.refuse_referred(tx, author.viewer, before.ref)
    removed = records.remove(tx, type_, id_, author, if_match=if_match)
    if removed is None:
        return None
    if type_ == "Task":
        transitions.resolve_escalations(tx, removed.ref, "The work was deleted", author)
    return _proven(tx, removed, author, "DELETE")


def _heeded(tx: Tx, resource: Resource, author: Author) -> Resource:
    """An attempt to reach a patient heeds the outreach policy of its work, whoever writes it."""
    return outreach.heeded(tx, resource, author) if resource["resourceType"] == "Communication" else resource


def _proven(tx: Tx, stored: Stored, author: Author, activity: str) -> Stored:
    if stored.type in PROVEN:
        provenance.record(tx, [stored], author, activity=activity)
    return stored


def _refuse_read_only(type_: str) -> None:
    if type_ in READ_ONLY:
        raise MethodNotAllowed(f"{type_} is written by the tracker itself and by nobody else.")


def _refuse_mirrored(before: Stored | None) -> None:
    if before is not None and before.connection:
        raise RuleBroken(f"{before.type}/{before.id} is the copy of an EHR's: change it there.")


def _update_mirrored(tx: Tx, before: Stored, resource: Resource, author: Author) -> Stored:
    """A change to an EHR's resource, which is written back to it."""
    outgoing.check_mirrored(tx, before, resource, records.resource_of(before), author.at)
    kept = resource | {"meta": records.resource_of(before).get("meta", {})}
    return _proven(tx, records.save(tx, kept, author, if_match=before.version), author, "UPDATE")


def _create_task(tx: Tx, resource: Resource, author: Author, id_: str, *, fresh: bool = False) -> Stored:
    program = programs.of_resource(tx, resource)
    named = text_at(resource, "instantiatesCanonical") or ""
    if program is None and named.startswith(CANONICAL):
        raise RuleBroken(f"No program is published as {named}.", expression="Task.instantiatesCanonical")
    if program and "/ActivityDefinition/" in named and program.task(_template_named(named)) is None:
        known = ", ".join(one.code for one in program.tasks)
        raise RuleBroken(
            f"{program.title} has no work {_template_named(named)!r}: it has {known}.",
            expression="Task.instantiatesCanonical",
        )
    completed = _completed(tx, resource | {"id": id_}, program, author) if program else resource | {"id": id_}
    stored = records.save(tx, completed, author, fresh=fresh, if_match=records.ABSENT)
    provenance.record(tx, [stored], author, activity="CREATE")
    return stored


def _template_named(canonical: str) -> str:
    return canonical.partition("|")[0].rpartition("/")[2].partition(".")[2]


def _completed(tx: Tx, resource: Resource, program: Program, author: Author) -> Resource:
    template = program.task(task_code(resource, program))
    code = _asked_status(resource, program)
    status = program.status(code)
    changed = resource | {"instantiatesCanonical": _pinned(resource, program)}
    if status:
        changed |= {"status": status.fhir, "businessStatus": task_resources.business_status(program, status)}
    changed.setdefault("authoredOn", instant(author.at))
    changed.setdefault("lastModified", instant(author.at))
    if template is None:
        return changed
    changed.setdefault("performerType", [task_resources.role_concept(template.role)])
    changed.setdefault("priority", template.priority)
    changed.setdefault("code", task_code_of(program, template))
    if text_at(changed, "restriction", "period", "end") is None:
        due = due_at(program, template, _anchors(tx, resource, author), author.at)
        changed = task_resources.with_due(changed, due) if due else changed
    return changed


def _pinned(resource: Resource, program: Program) -> str:
    """The canonical with the version that is active now: work stays on its version when a new one is published."""
    return f"{str(resource['instantiatesCanonical']).partition('|')[0]}|{program.version}"


def _anchors(tx: Tx, resource: Resource, author: Author) -> Mapping[str, datetime]:
    """The moments of the plan that the Task says it is part of, else now."""
    plan = next((ref for ref in references_at(resource, "basedOn") if ref.startswith("CarePlan/")), "")
    item = work_items.find(tx, author.viewer, plan)
    stored = resources.find(tx, author.viewer, *item.ref.split("/")) if item else None
    if item is None or stored is None or stored.deleted:
        return {"enrolment": author.at}
    return plan_facts(records.resource_of(stored), item).anchors


def _asked_status(resource: Resource, program: Program) -> str:
    """The program status a body asks for; raises RuleBroken when status and businessStatus do not fit together."""
    asked = first_code(resource.get("businessStatus"), program.status_system) or first_code(
        resource.get("businessStatus")
    )
    fhir = text_at(resource, "status")
    fitting = [one.code for one in program.statuses if one.fhir == fhir]
    if asked is None and fitting:
        return fitting[0]
    own = program.status(asked or "")
    if own is None:
        known = ", ".join(f"{one.code} ({one.fhir})" for one in program.statuses)
        raise RuleBroken(
            f"{program.title} has no status {asked or fhir!r}: it has {known}.", expression="Task.businessStatus"
        )
    if own.fhir != fhir:
        raise RuleBroken(
            f"businessStatus {own.code} goes with status {own.fhir}, not {fhir}.", expression="Task.status"
        )
    return own.code


def _update_task(tx: Tx, ref: str, resource: Resource, author: Author, if_match: int | None) -> Stored:
    task = transitions.find_task(tx, author.viewer, ref)
    if task.program or task.item.kind == "escalation":
        resource = _with_fixed(task, resource)
    if task.program is None:
        _check_plain_move(task, resource, author)
        return transitions.store(tx, resource, author, _why(task, resource), if_match=if_match)
    to = _wanted_status(task, resource, task.program)
    if to != task.item.status:
        request = MoveRequest(to=to, fields=_fields(task, resource))
        own = task.program.status(to)
        if own and own.clock == "paused":
            transitions.check_moments(request.fields, author)
        transitions.check(task.program, task.item, request, author.viewer, transitions.given(task, request))
    return transitions.store(tx, _moved(task, resource, to, author), author, _why(task, resource), if_match=if_match)


def _moved(task: transitions.OpenTask, resource: Resource, to: str, author: Author) -> Resource:
    """The body in status `to`, in program and FHIR words alike; the reason it brought stays."""
    if to != task.item.status:
        moved = task_resources.with_status(resource, task.program, to, author.at)
        return moved | {name: resource[name] for name in ("statusReason",) if name in resource}
    own = task.program.status(to) if task.program else None
    if task.program and own:
        resource = resource | {"businessStatus": task_resources.business_status(task.program, own), "status": own.fhir}
    return task_resources.stamped(resource, author.at)


def _with_fixed(task: transitions.OpenTask, resource: Resource) -> Resource:
    """The body with what work cannot change about itself; left out it stays, another value is refused."""
    for name in FIXED:
        kept = task.resource.get(name)
        if kept is not None and resource.get(name, kept) != kept:
            raise RuleBroken(f"{name} of work under way cannot be changed.", expression=f"Task.{name}")
    return resource | {name: task.resource[name] for name in FIXED if name in task.resource}


def _check_plain_move(task: transitions.OpenTask, resource: Resource, author: Author) -> None:
    to = text_at(resource, "status") or "draft"
    if to != task.item.fhir_status:
        request = MoveRequest(to=to, fields=_fields(task, resource))
        transitions.check(None, task.item, request, author.viewer, {})


def _wanted_status(task: transitions.OpenTask, resource: Resource, program: Program) -> str:
    """What the body asks for when only one of status and businessStatus was changed, or both alike."""
    asked = first_code(resource.get("businessStatus"))
    fhir = text_at(resource, "status")
    if asked in (None, task.item.status) and fhir != task.item.fhir_status:
        reachable = {one.to for one in program.moves if task.item.status in one.sources}
        fitting = [one.code for one in program.statuses if one.fhir == fhir and one.code in reachable]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise RuleBroken(
                f"Status {fhir} can mean {', '.join(fitting)}: say which in businessStatus.",
                expression="Task.businessStatus",
            )
        return next((one.code for one in program.statuses if one.fhir == fhir), fhir or "")
    if asked is None or asked == task.item.status:
        return task.item.status
    own = program.status(asked)
    if own is not None and fhir not in (own.fhir, task.item.fhir_status):
        raise RuleBroken(f"businessStatus {asked} goes with status {own.fhir}, not {fhir}.", expression="Task.status")
    return asked


def _fields(task: transitions.OpenTask, resource: Resource) -> dict[str, str]:
    new_notes = notes_of(resource)[len(notes_of(task.resource)) :]
    outputs = list(objects_at(resource, "output"))
    found = {
        "note": "\n".join(new_notes),
        "reason": text_at(resource, "statusReason", "text") or first_code(resource.get("statusReason")),
        "owner": text_at(resource, "owner", "reference"),
        "due": text_at(resource, "restriction", "period", "end"),
        "hold.until": extension_value(resource, HOLD_UNTIL, "valueDateTime"),
        "document": next((ref for one in outputs if (ref := text_at(one, "valueReference", "reference"))), None),
        "output": "present" if outputs else None,
    }
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


def _why(task: transitions.OpenTask, resource: Resource) -> Why:
    new_notes = notes_of(resource)[len(notes_of(task.resource)) :]
    return Why(reason=text_at(resource, "statusReason", "text"), note="\n".join(new_notes) or None)
