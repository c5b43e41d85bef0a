"""Moving a plan by a person or a client: its stage, checked as its program says, on pages and through the API alike.

https://hl7.org/fhir/R4/careplan.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fhir_tracker import moved, plan_changes, programs, provenance, reach, records, transitions
from fhir_tracker.errors import Gone, Issue, NotFound, RuleBroken
from fhir_tracker.fhir.codeable import concept, first_code
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import at, extension_value, objects_at, text_at
from fhir_tracker.fhir.summary_text import with_text_in_step
from fhir_tracker.filed_plans import NAMED, as_before
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.program import Move, Program
from fhir_tracker.model.task import notes_of
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.model.vocabulary import PLAN_ANCHOR, PLAN_REASON, PLAN_STAGE, PLAN_TRIGGER
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules.program_file import ENDED
from fhir_tracker.rules.reasons import CODE, with_words
from fhir_tracker.rules.stage_moves import allowed_stages, check_stage_move
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored
from fhir_tracker.transitions import ENTERED_IN_ERROR

FIXED = ("subject", "instantiatesCanonical")
"""What a plan of a program keeps as it was opened."""
_OWN = (PLAN_STAGE, PLAN_ANCHOR, PLAN_TRIGGER)
"""The extensions that say where a plan is and what it counts from: left out, they stay."""
_SYSTEM = worker_viewer("plans")


@dataclass(frozen=True, kw_only=True)
class OpenPlan:
    """A plan about to move: what is stored, its parsed body, its work item and its program."""

    stored: Stored
    resource: Resource
    item: WorkItem
    program: Program


def is_plan(tx: Tx, ref: str) -> bool:
    """Whether a CarePlan is a plan of a program here."""
    item = work_items.find(tx, _SYSTEM, ref)
    return item is not None and item.kind == "plan"


def find_plan(tx: Tx, viewer: Viewer, ref: str) -> OpenPlan:
    """The plan behind `CarePlan/<id>`; raises NotFound or Gone, the same for hidden and absent."""
    type_, _, id_ = ref.partition("/")
    stored = resources.find(tx, viewer, type_, id_) if type_ == "CarePlan" else None
    if stored is None:
        raise NotFound(f"There is no {ref}.")
    if stored.deleted:
        raise Gone(f"{ref} was deleted.")
    item = work_items.find(tx, viewer, ref)
    program = programs.load(tx, item.program, item.program_version) if item and item.program else None
    if item is None or program is None:
        raise NotFound(f"{ref} is a plan of no program here.")
    return OpenPlan(stored=stored, resource=records.resource_of(stored), item=item, program=program)


def options(tx: Tx, viewer: Viewer, ref: str) -> tuple[Move, ...]:
    """The moves this viewer may make with a plan now, each with the fields it requires."""
    plan = find_plan(tx, viewer, ref)
    return allowed_stages(plan.program, plan.item, viewer.roles)


def move(tx: Tx, ref: str, request: MoveRequest, author: Author, *, if_match: int | None = None) -> Stored:
    """Take the plan to another stage; raises RuleBroken naming the allowed next stages or each missing field.

    What follows is noted for `consequences`.
    """
    moved.one_at_a_time(tx, ref)
    plan = find_plan(tx, author.viewer, ref)
    reach.require(tx, author, "u", ref)
    given = {name: text for name, text in request.fields.items() if text.strip()}
    fields = with_words(plan.program, given)
    check_stage_move(plan.program, plan.item, replace(request, fields=fields), roles=author.viewer.roles, given={})
    changed = _in_stage(plan, _with_reason(plan, plan.resource, fields, author), request.to, author)
    return _store(tx, plan, changed, author, _why(fields), if_match)


def update(tx: Tx, ref: str, resource: Resource, author: Author, if_match: int | None) -> Stored:
    """Store the next version of a plan, a move of it checked as on the pages; raises RuleBroken with what is wrong."""
    moved.one_at_a_time(tx, ref)
    plan = find_plan(tx, author.viewer, ref)
    records.check_match(plan.stored, if_match)
    resource = _with_fixed(plan, resource)
    to = _wanted_stage(plan, resource)
    fields = with_words(plan.program, _fields(plan, resource))
    if to is None or to == plan.item.status:
        return _store(tx, plan, resource, author, _why(fields), if_match)
    request = MoveRequest(to=to, fields=fields)
    check_stage_move(plan.program, plan.item, request, roles=author.viewer.roles, given={})
    return _store(tx, plan, _in_stage(plan, resource, to, author), author, _why(fields), if_match)


def _store(tx: Tx, plan: OpenPlan, resource: Resource, author: Author, why: Why | None, if_match: int | None) -> Stored:
    expected = plan.stored.version if if_match is None else if_match
    reach.check_fixed(author.limits, plan.resource, resource)
    saved = records.save(tx, resource, author, if_match=expected, why=why)
    reach.require_still(tx, author, "u", saved.ref)
    provenance.record(tx, [saved], author, why)
    transitions.settle_escalations(tx, saved.ref, author)
    moved.note(tx, moved.Moved(before=plan.item, author=author, why=why))
    return saved


def _in_stage(plan: OpenPlan, resource: Resource, to: str, author: Author) -> Resource:
    stage = plan.program.stage(to)
    if stage is None:
        return resource
    changed = plan_changes.with_stage(resource, stage, author)
    if not plan.item.open and stage.fhir not in ENDED:
        period = {name: value for name, value in (at(changed, "period") or {}).items() if name != "end"}
        changed = with_text_in_step(changed, changed | {"period": period})
    return changed


def _with_reason(plan: OpenPlan, resource: Resource, fields: Mapping[str, str], author: Author) -> Resource:
    """The body with the reason of the move and its note."""
    others = [one for one in objects_at(resource, "extension") if one.get("url") != PLAN_REASON]
    words, code = fields.get("reason"), fields.get(CODE)
    reason: Resource | None = {"text": words} if words else None
    chosen = next((one for one in plan.program.reasons if one.code == code), None)
    if chosen:
        reason = concept(plan.program.reason_system, chosen.code, chosen.title, text=words or chosen.title)
    told = [{"url": PLAN_REASON, "valueCodeableConcept": reason}] if reason else []
    changed = resource | {"extension": [*others, *told]}
    if note := fields.get("note"):
        signed = {"authorString": author.viewer.name or author.viewer.who, "time": instant(author.at), "text": note}
        changed |= {"note": [*(resource.get("note") or []), signed]}
    return changed


def _with_fixed(plan: OpenPlan, resource: Resource) -> Resource:
    """The body with what a plan keeps; left out it stays, another value is refused for each by name."""
    before = plan.resource | {NAMED: as_before([plan.program.canonical], plan.resource.get(NAMED))}
    resource = resource | ({NAMED: as_before(before[NAMED], resource[NAMED])} if NAMED in resource else {})
    changed = [name for name in FIXED if name in before and resource.get(name, before[name]) != before[name]]
    if changed:
        messages = [f"{name} of a plan cannot be changed." for name in changed]
        issues = tuple(
            Issue(message=text, code="business-rule", expression=f"CarePlan.{name}")
            for name, text in zip(changed, messages, strict=True)
        )
        raise RuleBroken(" ".join(messages), issues=issues)
    given = {one.get("url") for one in objects_at(resource, "extension")}
    kept = [one for one in objects_at(before, "extension") if one.get("url") in _OWN and one.get("url") not in given]
    whole = resource | {name: before[name] for name in FIXED if name in before}
    return whole | {"extension": [*kept, *objects_at(resource, "extension")]} if kept else whole


def _wanted_stage(plan: OpenPlan, resource: Resource) -> str | None:
    """The stage a body asks for by its extension or its status; None for a plan entered in error without a stage for it."""
    program, item = plan.program, plan.item
    named = extension_value(resource, PLAN_STAGE, "valueCode")
    fhir = text_at(resource, "status")
    if isinstance(named, str) and named != item.status:
        stage = program.stage(named)
        if stage is not None and fhir not in (stage.fhir, item.fhir_status):
            raise RuleBroken(f"Stage {named} goes with status {stage.fhir}, not {fhir}.", expression="CarePlan.status")
        return named
    if fhir == item.fhir_status:
        return item.status
    fitting = [one.code for one in program.stages if one.fhir == fhir]
    reachable = {one.to for one in program.stage_moves if item.status in one.sources}
    ways = [code for code in fitting if code in reachable]
    if len(ways) > 1:
        raise RuleBroken(
            f"Status {fhir} can mean {', '.join(ways)}: say which by the stage.", expression="CarePlan.extension"
        )
    if not fitting and fhir == ENTERED_IN_ERROR:
        return None
    if not fitting:
        known = ", ".join(f"{one.code} ({one.fhir})" for one in program.stages)
        raise RuleBroken(
            f"{program.title} has no stage of status {fhir}: it has {known}.", expression="CarePlan.status"
        )
    return (ways or fitting)[0]


def _fields(plan: OpenPlan, resource: Resource) -> dict[str, str]:
    """What the body brings; words of a new note stand in for those of a reason."""
    notes = notes_of(resource)[len(notes_of(plan.resource)) :]
    reason = extension_value(resource, PLAN_REASON, "valueCodeableConcept")
    is_new = reason != extension_value(plan.resource, PLAN_REASON, "valueCodeableConcept")
    note = "\n".join(notes)
    words = (text_at(reason, "text") or first_code(reason)) if is_new else None
    found = {
        "note": note,
        "reason": words or note,
        CODE: first_code(reason, plan.program.reason_system) if is_new else None,
    }
    return {name: value for name, value in found.items() if value}


def _why(fields: Mapping[str, str]) -> Why | None:
    return Why(reason=fields.get("reason"), note=fields.get("note"), code=fields.get(CODE)) if fields else None
