"""Changing work: the one place where a task's status, owner or due time moves, for pages, API and rules alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fhir_tracker import merged_patients, moved, outreach, programs, provenance, reach, records, task_resources
from fhir_tracker.errors import Gone, Incorrect, NotFound, RuleBroken
from fhir_tracker.fhir.checks import require_valid
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at, text_at
from fhir_tracker.fixed_fields import fixed_of, require_typed, with_fixed
from fhir_tracker.model import task_fields
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.moves import TASK_FIELD, MoveRequest
from fhir_tracker.model.program import Move, Program, Reason
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.model.vocabulary import CLOSED_TASK
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules import answering
from fhir_tracker.rules import moves as rules_moves
from fhir_tracker.rules import parties as rules_parties
from fhir_tracker.rules import reasons as rules_reasons
from fhir_tracker.rules.occasions import kind_of
from fhir_tracker.rules.status_section import DEFAULT_MOVES, ESCALATION_MOVES, NEEDS_REASON
from fhir_tracker.storage import firings, resources, staff, work_items
from fhir_tracker.storage import transitions as rows
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

ENTERED_IN_ERROR = "entered-in-error"
_SYSTEM = worker_viewer("escalation")


@dataclass(frozen=True, kw_only=True)
class OpenTask:
    """A task about to change: what is stored, its parsed body, its work item and the program it is under.

    `about` is the program of the work that an escalation is about and `answering` the roles that may answer it, `previous`
    the status a hold was entered from; `owner` and `requester` are the people behind those that the Task names.
    """

    stored: Stored
    resource: Resource
    item: WorkItem
    program: Program | None
    about: Program | None = None
    previous: str | None = None
    owner: str | None = None
    requester: str | None = None
    answering: tuple[str, ...] = ()

    def parties(self, viewer: Viewer) -> frozenset[str]:
        """Whether the viewer is, or acts for, the owner and the requester."""
        return rules_parties.parties_of(self.item, self.owner, self.requester, viewer)

    def reasons(self, to: str) -> tuple[Reason, ...]:
        """The coded reasons to choose from on the way to a status."""
        if self.item.kind == "escalation":
            kind = "send-back" if to == "rejected" else kind_of({self.item.fhir_status}, to)
            return rules_reasons.offered(self.about, kind)
        return rules_moves.reasons_for(self.program, self.item, to)


def find_task(tx: Tx, viewer: Viewer, ref: str) -> OpenTask:
    """The task behind `Task/<id>`; raises NotFound or Gone, the same for hidden and absent.

    Its item is read first, so that who names a version is told of a later one and not refused for what that one says.
    """
    type_, _, id_ = ref.partition("/")
    item = work_items.find(tx, viewer, ref)
    stored = resources.find(tx, viewer, type_, id_) if type_ == "Task" else None
    if stored is None:
        raise NotFound(f"There is no {ref}.")
    if stored.deleted:
        raise Gone(f"{ref} was deleted.")
    if item is None:
        raise NotFound(f"There is no work item for {ref}.")
    resource = records.resource_of(stored)
    asked = text_at(resource, "requester", "reference")
    about = _program(tx, work_items.find(tx, _SYSTEM, item.focus)) if _is_about(item) and item.focus else None
    return OpenTask(
        stored=stored,
        resource=resource,
        item=item,
        program=_program(tx, item),
        about=about,
        previous=_before_hold(tx, item) if item.program is None and item.fhir_status == "on-hold" else None,
        owner=staff.person_behind(tx, item.owner) if item.owner else None,
        requester=staff.person_behind(tx, asked) if asked else None,
        answering=_answering(tx, item, about) if _is_about(item) else (),
    )


def _task_to_change(tx: Tx, ref: str, author: Author) -> OpenTask:
    """As `find_task`, where the author may change it."""
    task = find_task(tx, author.viewer, ref)
    reach.require(tx, author, "u", task.item.ref)
    return task


def _program(tx: Tx, item: WorkItem | None) -> Program | None:
    return programs.load(tx, item.program, item.program_version) if item and item.program else None


def _is_about(item: WorkItem) -> bool:
    return item.kind == "escalation"


def _answering(tx: Tx, item: WorkItem, about: Program | None) -> tuple[str, ...]:
    fired = firings.of_task(tx, _SYSTEM, item.ref)
    return answering.roles_to_answer(about, fired.key if fired else None, item)


def _before_hold(tx: Tx, item: WorkItem) -> str | None:
    log = rows.of_items(tx, _SYSTEM, [item.ref])[item.ref]
    return next((row.before for row in reversed(log) if row.what == "status" and row.after == "on-hold"), None)


def options(tx: Tx, viewer: Viewer, ref: str) -> tuple[Move, ...]:
    """The moves this viewer may make now, each with the fields it requires."""
    return options_of(find_task(tx, viewer, ref), viewer)


def options_of(task: OpenTask, viewer: Viewer) -> tuple[Move, ...]:
    """As `options`, of a task that was found already."""
    if task.item.kind == "outside":
        return ()
    parties = task.parties(viewer)
    if task.item.kind == "escalation":
        mine = answering.may_answer(task.answering, task.owner, viewer)
        return rules_moves.default_moves(task.item.fhir_status, table=ESCALATION_MOVES) if mine else ()
    if task.program is None:
        return rules_moves.default_moves(task.item.fhir_status, parties, task.previous)
    return rules_moves.allowed_moves(task.program, task.item, viewer.roles, parties)


def move(tx: Tx, ref: str, request: MoveRequest, author: Author, *, if_match: int | None = None) -> Stored:
    """Change the status; raises RuleBroken naming the allowed next states or each missing field."""
    task = _task_to_change(tx, ref, author)
    request = _meant(task, request)
    refuse_outside(task.item)
    check(tx, task, request, author, task.resource)
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
    changed = _filled(task, changed, request.fields, author)
    return store(tx, changed, author, why_of(request.fields), if_match=if_match)


def why_of(fields: Mapping[str, str]) -> Why:
    """The reason behind a move, as its fields say it."""
    return Why(reason=fields.get("reason"), note=fields.get("note"), code=fields.get(rules_reasons.CODE))


def _filled(task: OpenTask, resource: Resource, fields: Mapping[str, str], author: Author) -> Resource:
    """The body with what the move brought; raises Incorrect where it is then no Task of FHIR any more."""
    changed = task_resources.with_fields(resource, fields, author)
    if code := fields.get(rules_reasons.CODE):
        program = task.program or task.about
        changed["statusReason"] = task_resources.status_reason(program, code, fields.get("reason"))
    typed = {name.removeprefix(TASK_FIELD): text for name, text in fields.items() if name.startswith(TASK_FIELD)}
    for path, text in typed.items():
        require_typed(path)
        changed = task_fields.with_text(changed, path, text)
    if typed:
        changed = with_fixed(task.resource, changed, fixed_of(task.item, task.resource, author))
        require_valid(changed)
    return changed


def _meant(task: OpenTask, request: MoveRequest) -> MoveRequest:
    """The request without blank fields and the end of a hold where no hold begins, and with the words of a coded reason."""
    own = task.program.status(request.to) if task.program else None
    holds = own.clock == "paused" if own else request.to == "on-hold"
    left_out = () if holds else ("hold.until", "hold.event")
    given = {name: text for name, text in request.fields.items() if text.strip() and name not in left_out}
    return replace(request, fields=rules_reasons.with_words(task.program or task.about, given))


def check(tx: Tx, task: OpenTask, request: MoveRequest, author: Author, resource: Resource) -> None:
    """Raise RuleBroken unless the program (or, outside programs, the default table) allows the move as asked.

    `resource` is the body it is made with, whose fields count. Any work, closed or not, may be entered in error, with a
    reason, also where its program has no such status.
    """
    program, item = task.program, task.item
    require_answering(task, author)
    fields = rules_reasons.with_words(program or task.about, request.fields)
    is_mistake = program is not None and request.to == ENTERED_IN_ERROR and program.status(request.to) is None
    if program is None or item.kind == "escalation" or is_mistake:
        is_plain = program is None and item.kind != "escalation"
        parties = task.parties(author.viewer) if is_plain else rules_parties.BOTH
        table = ESCALATION_MOVES if item.kind == "escalation" else DEFAULT_MOVES
        rules_moves.check_default_move(item.fhir_status, request.to, parties, task.previous, table)
        _require_reason(task, request, {**given(task, request, resource), **fields})
        return
    rules_moves.check_move(
        program,
        item,
        replace(request, fields=fields),
        roles=author.viewer.roles,
        given=given(task, request, resource),
        parties=task.parties(author.viewer),
        now=author.at,
    )
    if document := fields.get("document"):
        check_document(tx, item, document, author)


def require_answering(task: OpenTask, author: Author) -> None:
    """Raise RuleBroken, saying who may, when this is an escalation that the author may not answer nor hand on."""
    if _is_about(task.item):
        answering.check_answer(task.answering, task.owner, author.viewer)


def _require_reason(task: OpenTask, request: MoveRequest, fields: Mapping[str, str]) -> None:
    item = task.item
    needs = request.to in NEEDS_REASON or (request.to == ENTERED_IN_ERROR and item.program is not None)
    if needs and request.to != item.fhir_status:
        rules_moves.lacking_reason(request.to, task.reasons(request.to), fields)


def check_document(tx: Tx, item: WorkItem, ref: str, author: Author) -> None:
    """Raise RuleBroken unless `ref` is a DocumentReference that is here, stands, and is of the task's patient."""
    type_, _, id_ = ref.partition("/")
    stored = resources.find(tx, author.viewer, type_, id_) if type_ == "DocumentReference" else None
    is_there = stored is not None and not stored.deleted
    stands = is_there and stored is not None and text_at(records.resource_of(stored), "status") != ENTERED_IN_ERROR
    if not stands or stored is None or (item.patient is not None and stored.patient != item.patient):
        message = f"{ref} is no document of this patient that is here: name a DocumentReference/id."
        raise RuleBroken(message, expression=rules_moves.PATHS["document"])


def move_by_rule(tx: Tx, ref: str, to: str, author: Author, why: Why, evidence: tuple[str, ...] = ()) -> Stored | None:
    """A rule's own move: closing on evidence or ending a hold. None when the task is closed already."""
    task = find_task(tx, author.viewer, ref)
    if not task.item.open:
        return None
    changed = task_resources.with_status(task.resource, task.program, to, author.at)
    changed = task_resources.with_evidence(changed, evidence)
    if why.note:
        changed = task_resources.with_note(changed, why.note, author)
    if why.reason:
        changed["statusReason"] = {"text": why.reason}
    return store(tx, changed, author, why)


def assign(
    tx: Tx,
    ref: str,
    owner: str | None,
    author: Author,
    *,
    reason: str | None = None,
    rule: str | None = None,
    if_match: int | None = None,
) -> Stored:
    """Give the task to `owner` (`Practitioner/<id>`), or with None back to its role's queue; `rule` as in Why."""
    task = _task_to_change(tx, ref, author)
    refuse_outside(task.item)
    _refuse_closed(task.item)
    require_answering(task, author)
    if owner is None:
        changed = {name: value for name, value in task.resource.items() if name != "owner"}
    else:
        changed = task.resource | {"owner": {"reference": owner}}
    changed = task_resources.stamped(changed, author.at)
    return store(tx, changed, author, Why(reason=reason, rule=rule), if_match=if_match)


def claim(tx: Tx, ref: str, author: Author, *, if_match: int | None = None) -> Stored:
    """Take unowned work; raises VersionConflict when it is not as it was seen any more, else RuleBroken when another has it."""
    task = find_task(tx, author.viewer, ref)
    records.check_match(task.stored, if_match)
    owner = task.owner
    if owner and owner != author.viewer.who:
        raise RuleBroken("Somebody else has taken this work already.", expression="Task.owner")
    return assign(tx, ref, author.viewer.who, author, if_match=if_match)


def give_role(
    tx: Tx,
    ref: str,
    role: str,
    author: Author,
    *,
    reason: str | None = None,
    rule: str | None = None,
    if_match: int | None = None,
) -> Stored:
    """Move the task to another role's queue, owned by nobody."""
    task = _task_to_change(tx, ref, author)
    refuse_outside(task.item)
    _refuse_closed(task.item)
    require_answering(task, author)
    changed = {name: value for name, value in task.resource.items() if name != "owner"}
    changed |= {"performerType": [task_resources.role_concept(role)]}
    why = Why(reason=reason, rule=rule)
    return store(tx, task_resources.stamped(changed, author.at), author, why, if_match=if_match)


def prioritise(tx: Tx, ref: str, priority: str, author: Author, *, reason: str | None = None) -> Stored:
    """Give open work another priority."""
    task = _task_to_change(tx, ref, author)
    refuse_outside(task.item)
    _refuse_closed(task.item)
    changed = task_resources.stamped(task.resource, author.at) | {"priority": priority}
    return store(tx, changed, author, Why(reason=reason))


def note(tx: Tx, ref: str, text: str, author: Author, *, if_match: int | None = None) -> Stored:
    """Add a note without moving anything."""
    task = _task_to_change(tx, ref, author)
    refuse_outside(task.item)
    changed = task_resources.with_note(task_resources.stamped(task.resource, author.at), text, author)
    return store(tx, changed, author, Why(note=text), if_match=if_match)


def store(
    tx: Tx,
    resource: Resource,
    author: Author,
    why: Why | None,
    *,
    if_match: int | None = None,
    quietly: bool = False,
) -> Stored:
    """Save a Task that was checked, with its Provenance; closing it resolves what was escalated because of it.

    Without `if_match` it must still be at the version that `resource` was read at, else VersionConflict. What follows
    from the change is noted for `consequences`, but for the effects of the transition when it is made `quietly`.
    """
    read_at = text_at(resource, "meta", "versionId")
    expected = if_match if if_match is not None or read_at is None else int(read_at)
    before = work_items.find(tx, _SYSTEM, f"Task/{resource['id']}")
    if before is not None and before.plan and before.open and text_at(resource, "status") in CLOSED_TASK:
        moved.one_at_a_time(tx, before.plan)
    _check_fixed(tx, resource, author)
    stored = records.save(tx, resource, author, if_match=expected, why=why)
    reach.require_still(tx, author, "u", stored.ref)
    provenance.record(tx, [stored], author, why)
    if text_at(resource, "status") in CLOSED_TASK:
        settle_escalations(tx, f"Task/{stored.id}", author)
    merged_patients.settle(tx, stored, resource, author)
    if before is not None and before.kind == "task":
        moved.note(tx, moved.Moved(before=before, author=author, why=why, quietly=quietly))
    return stored


def _check_fixed(tx: Tx, resource: Resource, author: Author) -> None:
    if author.limits.sight.fixes and (before := resources.find(tx, author.viewer, "Task", resource["id"])):
        reach.check_fixed(author.limits, records.resource_of(before), resource)


def settle_escalations(tx: Tx, ref: str, author: Author) -> None:
    """When the work is closed, complete the escalation Tasks that are still open about it."""
    if not any(one.kind == "escalation" and one.open for one in work_items.about(tx, _SYSTEM, ref)):
        return
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


def given(task: OpenTask, request: MoveRequest, resource: Resource) -> dict[str, str]:
    """What is there for the required fields: what the request brings, and what the Task has in `resource`."""
    outputs = [text_at(one, "valueReference", "reference") or "" for one in objects_at(resource, "output")]
    known = {
        "owner": text_at(resource, "owner", "reference"),
        "due": text_at(resource, "restriction", "period", "end"),
        "outreach.outcome": task.item.last_attempt_outcome,
        "output": "present" if outputs else None,
        "document": next((one for one in outputs if one.startswith("DocumentReference/")), None),
    }
    asked = {name for move in (task.program.moves if task.program else ()) for name in move.require}
    for name in asked:
        if name.startswith(TASK_FIELD) and task_fields.is_filled(resource, name.removeprefix(TASK_FIELD)):
            known[name] = "present"
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
