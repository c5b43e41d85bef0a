"""Changing work: the one place where a task's status, owner or due time moves, for pages, API and rules alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fhir_tracker import merged_patients, outreach, programs, provenance, records, task_resources
from fhir_tracker.errors import Gone, Incorrect, Issue, NotFound, RuleBroken
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at, text_at
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.moves import FIELDS, MoveRequest
from fhir_tracker.model.program import Move, Program
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules import moves as rules_moves
from fhir_tracker.rules.status_section import NEEDS_REASON
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

ENTERED_IN_ERROR = "entered-in-error"
_SYSTEM = worker_viewer("escalation")


@dataclass(frozen=True, kw_only=True)
class OpenTask:
    """A task about to change: what is stored, its parsed body, its work item and the program it is under."""

    stored: Stored
    resource: Resource
    item: WorkItem
    program: Program | None


def find_task(tx: Tx, viewer: Viewer, ref: str) -> OpenTask:
    """The task behind `Task/<id>`; raises NotFound or Gone, the same for hidden and absent."""
    type_, _, id_ = ref.partition("/")
    stored = resources.find(tx, viewer, type_, id_) if type_ == "Task" else None
    if stored is None:
        raise NotFound(f"There is no {ref}.")
    if stored.deleted:
        raise Gone(f"{ref} was deleted.")
    item = work_items.find(tx, viewer, ref)
    if item is None:
        raise NotFound(f"There is no work item for {ref}.")
    program = programs.load(tx, item.program, item.program_version) if item.program else None
    return OpenTask(stored=stored, resource=records.resource_of(stored), item=item, program=program)


def options(tx: Tx, viewer: Viewer, ref: str) -> tuple[Move, ...]:
    """The moves this viewer may make now, each with the fields it requires."""
    task = find_task(tx, viewer, ref)
    if task.item.kind == "outside":
        return ()
    if task.program is None:
        return rules_moves.default_moves(task.item.fhir_status)
    return rules_moves.allowed_moves(task.program, task.item, viewer.roles)


def move(tx: Tx, ref: str, request: MoveRequest, author: Author, *, if_match: int | None = None) -> Stored:
    """Change the status; raises RuleBroken naming the allowed next states or each missing field."""
    task = find_task(tx, author.viewer, ref)
    request = _meant(task.program, request)
    refuse_outside(task.item)
    check(task.program, task.item, request, author.viewer, given(task, request))
    check_moments(request.fields, author)
    if request.fields.get("outreach.outcome"):
        attempt = outreach.Attempt(
            channel=request.fields.get("outreach.channel") or "phone",
            outcome=request.fields["outreach.outcome"],
            at=author.at,
            note=request.fields.get("note", ""),
        )
        outreach.log_attempt(tx, task.item, attempt, author)
    changed = task_resources.with_status(task.resource, task.program, request.to, author.at)
    changed = task_resources.with_fields(changed, request.fields, author)
    why = Why(reason=request.fields.get("reason"), note=request.fields.get("note"))
    return store(tx, changed, author, why, if_match=if_match)


def _meant(program: Program | None, request: MoveRequest) -> MoveRequest:
    """The request without blank fields, and without the end of a hold where no hold begins."""
    own = program.status(request.to) if program else None
    holds = own.clock == "paused" if own else request.to == "on-hold"
    left_out = () if holds else ("hold.until", "hold.event")
    given = {name: text for name, text in request.fields.items() if text.strip() and name not in left_out}
    return replace(request, fields=given)


def check(
    program: Program | None, item: WorkItem, request: MoveRequest, viewer: Viewer, given: Mapping[str, str]
) -> None:
    """Raise RuleBroken unless the program (or, outside programs, the default table) allows the move as asked.

    Any work, closed or not, may be entered in error, with a reason, also where its program has no such status.
    """
    is_mistake = program is not None and request.to == ENTERED_IN_ERROR and program.status(request.to) is None
    if program is None or item.kind == "escalation" or is_mistake:
        rules_moves.check_default_move(item.fhir_status, request.to)
        _require_reason(item, request, given)
        return
    rules_moves.check_move(program, item, request, roles=viewer.roles, given=given)


def _require_reason(item: WorkItem, request: MoveRequest, given: Mapping[str, str]) -> None:
    needs = request.to in NEEDS_REASON or (request.to == ENTERED_IN_ERROR and item.program is not None)
    if needs and request.to != item.fhir_status and not {**given, **request.fields}.get("reason", "").strip():
        issue = Issue(message=f"{FIELDS['reason']} is missing.", code="required", expression="Task.statusReason")
        raise RuleBroken(f"To move this to {request.to}: {FIELDS['reason']} must be given.", issues=(issue,))


def move_by_rule(tx: Tx, ref: str, to: str, author: Author, why: Why, evidence: tuple[str, ...] = ()) -> Stored | None:
    """A rule's own move: closing on evidence or ending a hold. None when the task is closed already."""
    task = find_task(tx, author.viewer, ref)
    if not task.item.open:
        return None
    changed = task_resources.with_status(task.resource, task.program, to, author.at)
    changed = task_resources.with_evidence(changed, evidence)
    if why.reason:
        changed["statusReason"] = {"text": why.reason}
    return store(tx, changed, author, why)


def assign(
    tx: Tx, ref: str, owner: str | None, author: Author, *, reason: str | None = None, if_match: int | None = None
) -> Stored:
    """Give the task to `owner` (`Practitioner/<id>`), or with None back to its role's queue."""
    task = find_task(tx, author.viewer, ref)
    refuse_outside(task.item)
    _refuse_closed(task.item)
    if owner is None:
        changed = {name: value for name, value in task.resource.items() if name != "owner"}
    else:
        changed = task.resource | {"owner": {"reference": owner}}
    changed = task_resources.stamped(changed, author.at)
    return store(tx, changed, author, Why(reason=reason), if_match=if_match)


def claim(tx: Tx, ref: str, author: Author, *, if_match: int | None = None) -> Stored:
    """Take unowned work; raises RuleBroken when somebody else has it."""
    owner = find_task(tx, author.viewer, ref).item.owner
    if owner and owner != author.viewer.who:
        raise RuleBroken("Somebody else has taken this work already.", expression="Task.owner")
    return assign(tx, ref, author.viewer.who, author, if_match=if_match)


def give_role(
    tx: Tx, ref: str, role: str, author: Author, *, reason: str | None = None, if_match: int | None = None
) -> Stored:
    """Move the task to another role's queue, owned by nobody."""
    task = find_task(tx, author.viewer, ref)
    refuse_outside(task.item)
    _refuse_closed(task.item)
    changed = {name: value for name, value in task.resource.items() if name != "owner"}
    changed |= {"performerType": [task_resources.role_concept(role)]}
    return store(tx, task_resources.stamped(changed, author.at), author, Why(reason=reason), if_match=if_match)


def note(tx: Tx, ref: str, text: str, author: Author, *, if_match: int | None = None) -> Stored:
    """Add a note without moving anything."""
    task = find_task(tx, author.viewer, ref)
    refuse_outside(task.item)
    changed = task_resources.with_note(task_resources.stamped(task.resource, author.at), text, author)
    return store(tx, changed, author, Why(note=text), if_match=if_match)


def store(tx: Tx, resource: Resource, author: Author, why: Why | None, *, if_match: int | None = None) -> Stored:
    """Save a Task that was checked, with its Provenance; closing it resolves what was escalated because of it.

    Without `if_match` it must still be at the version that `resource` was read at, else VersionConflict.
    """
    read_at = text_at(resource, "meta", "versionId")
    expected = if_match if if_match is not None or read_at is None else int(read_at)
    stored = records.save(tx, resource, author, if_match=expected, why=why)
    provenance.record(tx, [stored], author, why)
    settle_escalations(tx, f"Task/{stored.id}", author)
    merged_patients.settle(tx, stored, resource, author)
    return stored


def settle_escalations(tx: Tx, ref: str, author: Author) -> None:
    """When the work is closed, complete the escalation Tasks that are still open about it."""
    item = work_items.find(tx, _SYSTEM, ref)
    if item is not None and not item.open and item.kind != "escalation":
        resolve_escalations(tx, ref, f"{item.title} is closed: {item.status}", author)


def resolve_escalations(tx: Tx, ref: str, reason: str, author: Author) -> None:
    """Complete the escalation Tasks that are still open about `ref`, each with its Provenance."""
    acting = replace(author, viewer=replace(author.viewer, patient=None))
    for item in work_items.about(tx, _SYSTEM, ref):
        if item.kind == "escalation" and item.open:
            task, why = find_task(tx, acting.viewer, item.ref), Why(reason=reason)
            changed = task_resources.with_status(task.resource, None, "completed", author.at)
            provenance.record(tx, [records.save(tx, changed, acting, why=why)], acting, why)


def given(task: OpenTask, request: MoveRequest) -> dict[str, str]:
    """What is there for the required fields: what the request brings, and what the task has already."""
    known = {
        "owner": task.item.owner,
        "due": task.item.due_at and task.item.due_at.isoformat(),
        "outreach.outcome": task.item.last_attempt_outcome,
        "output": "present" if list(objects_at(task.resource, "output")) else None,
    }
    present = {name: value for name, value in known.items() if value}
    return present | {name: value for name, value in request.fields.items() if value.strip()}


def check_moments(fields: Mapping[str, str], author: Author) -> None:
    """Raise RuleBroken for a due time or end of a hold that is no moment, and for a hold that would end in the past."""
    for name in ("due", "hold.until"):
        if not fields.get(name):
            continue
        try:
            moment = parse_datetime(fields[name])
        except Incorrect as error:
            raise RuleBroken(f"{name}: {error.message}", expression=rules_moves.PATHS[name]) from None
        if name == "hold.until" and moment <= author.at:
            raise RuleBroken("A hold must end in the future.", expression=rules_moves.PATHS[name])


def refuse_outside(item: WorkItem) -> None:
    """Raise RuleBroken for a Task of the EHR."""
    if item.kind == "outside":
        raise RuleBroken("This Task belongs to the EHR: change it there.", expression="Task")


def _refuse_closed(item: WorkItem) -> None:
    if not item.open:
        raise RuleBroken(f"This work is closed ({item.status}): reopen it first.", expression="Task.status")
