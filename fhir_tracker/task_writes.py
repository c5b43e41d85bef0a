"""Tasks written through the API: what a template knows is filled in, and work moves by its program's rules.

https://hl7.org/fhir/R4/task.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fhir_tracker import filed_plans, moved, provenance, records, task_resources, transitions
from fhir_tracker.errors import RuleBroken
from fhir_tracker.fhir.codeable import first_code
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import extension_value, objects_at, references_at, text_at
from fhir_tracker.filed_plans import NAMED, as_before
from fhir_tracker.fixed_fields import fixed_of, with_fixed
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.plan import plan_facts
from fhir_tracker.model.program import CANONICAL, Program
from fhir_tracker.model.task import notes_of, task_code
from fhir_tracker.model.vocabulary import HOLD_UNTIL, SUSPENDED
from fhir_tracker.program_resources import task_code as task_code_of
from fhir_tracker.rules.due import due_at
from fhir_tracker.rules.reasons import CODE
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored
from fhir_tracker.transitions import OpenTask


def create(tx: Tx, resource: Resource, author: Author, id_: str, *, fresh: bool = False) -> Stored:
    """Store a new Task; one of a program gets what its template says and it left out."""
    program = filed_plans.program_of_task(tx, resource)
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
    if program and (template := program.task(task_code(completed, program))):
        filed_plans.take_place(tx, completed, template, author)
    stored = records.save(tx, completed, author, fresh=fresh, if_match=records.ABSENT)
    provenance.record(tx, [stored], author, activity="CREATE")
    if "partOf" in completed and (item := work_items.find(tx, author.viewer, stored.ref)):
        moved.note(tx, moved.Moved(before=item, author=author, is_new=True))
    return stored


def update(tx: Tx, ref: str, resource: Resource, author: Author, if_match: int | None) -> Stored:
    """Store the next version of a Task, a move checked as on the pages; raises RuleBroken with what is wrong."""
    task = transitions.find_task(tx, author.viewer, ref)
    if NAMED in resource:
        resource = resource | {NAMED: as_before(task.resource.get(NAMED), resource[NAMED])}
    resource = with_fixed(task.resource, resource, fixed_of(task.item, task.resource, author))
    to = _wanted_status(task, resource, task.program) if task.program else _plain_status(task, resource)
    now = task.item.status if task.program else task.item.fhir_status
    if to != now:
        request = MoveRequest(to=to, fields=_fields(task, resource))
        own = task.program.status(to) if task.program else None
        if own and own.clock == "paused":
            transitions.check_moments(request.fields, author)
        _check(tx, task, request, author, resource, if_match)
    if any(resource.get(name) != task.resource.get(name) for name in ("owner", "performerType")):
        transitions.require_answering(task, author)
    _check_documents(tx, task, resource, author)
    changed = _moved(task, resource, to, author) if task.program else task_resources.stamped(resource, author.at)
    return transitions.store(tx, _kept(task, changed, to == now), author, _why(task, resource), if_match=if_match)


def _check(
    tx: Tx, task: OpenTask, request: MoveRequest, author: Author, resource: Resource, if_match: int | None
) -> None:
    """As `transitions.check`; a move refused because somebody else moved it meanwhile raises VersionConflict."""
    try:
        transitions.check(tx, task, request, author, resource)
    except RuleBroken:
        now = resources.find_many(tx, author.viewer, [task.item.ref])
        records.check_match(now.get(task.item.ref), if_match)
        raise


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


def _moved(task: OpenTask, resource: Resource, to: str, author: Author) -> Resource:
    """The body in status `to`, in program and FHIR words alike; the reason it brought stays."""
    if to != task.item.status:
        changed = task_resources.with_status(resource, task.program, to, author.at)
        return changed | {name: resource[name] for name in ("statusReason",) if name in resource}
    own = task.program.status(to) if task.program else None
    if task.program and own:
        resource = resource | {"businessStatus": task_resources.business_status(task.program, own), "status": own.fhir}
    return task_resources.stamped(resource, author.at)


def _kept(task: OpenTask, resource: Resource, stays: bool) -> Resource:
    """The body with words for a coded reason; what the tracker knows of a suspended Task cannot be written or left out."""
    changed = _worded(task, resource)
    others = [one for one in objects_at(changed, "extension") if one.get("url") != SUSPENDED]
    own = [one for one in objects_at(task.resource, "extension") if one.get("url") == SUSPENDED] if stays else []
    rest = {name: value for name, value in changed.items() if name != "extension"}
    return rest | {"extension": [*others, *own]} if others or own else rest


def _worded(task: OpenTask, resource: Resource) -> Resource:
    program, reason = task.program or task.about, resource.get("statusReason")
    if program is None or not isinstance(reason, dict) or text_at(reason, "text"):
        return resource
    code = first_code(reason, program.reason_system)
    title = next((one.title for one in program.reasons if one.code == code), None)
    return resource | {"statusReason": reason | {"text": title}} if title else resource


def _check_documents(tx: Tx, task: OpenTask, resource: Resource, author: Author) -> None:
    """Each document that the body names anew as what came out of the work is here and of its patient."""
    if task.program is None:
        return
    known = {text_at(one, "valueReference", "reference") for one in objects_at(task.resource, "output")}
    for one in objects_at(resource, "output"):
        ref = text_at(one, "valueReference", "reference") or ""
        if ref.startswith("DocumentReference/") and ref not in known:
            transitions.check_document(tx, task.item, ref, author)


def _plain_status(task: OpenTask, resource: Resource) -> str:
    return text_at(resource, "status") or "draft"


def _wanted_status(task: OpenTask, resource: Resource, program: Program) -> str:
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


def _fields(task: OpenTask, resource: Resource) -> dict[str, str]:
    new_notes = notes_of(resource)[len(notes_of(task.resource)) :]
    program = task.program or task.about
    found = {
        "note": "\n".join(new_notes),
        "reason": text_at(resource, "statusReason", "text") or _other_code(resource, program),
        CODE: first_code(resource.get("statusReason"), program.reason_system) if program else None,
        "hold.until": extension_value(resource, HOLD_UNTIL, "valueDateTime"),
    }
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


def _other_code(resource: Resource, program: Program | None) -> str | None:
    """A code of somebody else's, which says as much as words do."""
    reason = resource.get("statusReason")
    is_ours = program is not None and first_code(reason, program.reason_system) is not None
    return None if is_ours else first_code(reason)


def _why(task: OpenTask, resource: Resource) -> Why:
    fields = _fields(task, _worded(task, resource))
    return Why(reason=fields.get("reason"), note=fields.get("note"), code=fields.get(CODE))
