"""Bringing patients into programs: by the program's own eligibility rule over the change log, and by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from fhir_tracker import failed_enrolments, plan_parts, projection, provenance, records, task_resources
from fhir_tracker.errors import NotFound, RuleBroken
from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.narrative import narrative
from fhir_tracker.fhir.reading import references_at
from fhir_tracker.guard import Failure, guarded
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.effects import Enrol
from fhir_tracker.model.event import EVENT_TYPES
from fhir_tracker.model.patient import PatientSummary
from fhir_tracker.model.places import site_extension, site_of
from fhir_tracker.model.plan import anchor_extension, goals_of
from fhir_tracker.model.program import CANONICAL, Program, TaskTemplate
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.model.vocabulary import KEY_SYSTEM, PLAN_STAGE, PLAN_TRIGGER
from fhir_tracker.model.work import Event
from fhir_tracker.rules.candidates import reconsidering, refusing_stages
from fhir_tracker.rules.due import due_at
from fhir_tracker.rules.eligibility import enrolments, turns_with_time, types_asked
from fhir_tracker.sites import within_site
from fhir_tracker.storage import changes, events, patients, resources, work_items
from fhir_tracker.storage import enrolments as rows
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.resources import Stored

_WORKER = worker_viewer("enrolment")
_CATEGORY_US_CORE = "http://hl7.org/fhir/us/core/CodeSystem/careplan-category"


@dataclass(frozen=True, kw_only=True)
class Consumed:
    """What one run over the change log did: changes read, plans opened, and whether more is waiting."""

    changes: int = 0
    enrolled: int = 0
    more: bool = False

    def __add__(self, other: Consumed) -> Consumed:
        return Consumed(
            changes=self.changes + other.changes,
            enrolled=self.enrolled + other.enrolled,
            more=self.more or other.more,
        )


@dataclass(frozen=True, kw_only=True)
class _Opening:
    """A plan about to be opened: its CarePlan, the Tasks it begins with, its Goals and CareTeam."""

    wanted: Enrol
    plan: Resource
    tasks: Sequence[Resource]
    parts: Sequence[Resource] = ()


@dataclass(frozen=True, kw_only=True)
class _Links:
    """What first work can refer to: the plan's id, those of the others by their code, and the plan's parts."""

    plan: str
    tasks: Mapping[str, str]
    parts: plan_parts.Parts


def consume(tx: Tx, program: Program, now: datetime, *, limit: int = 1000) -> Consumed:
    """Look at the patients behind the next changes and enrol whom the program wants; the cursor moves in the same transaction.

    A patient who cannot be judged is passed over, and a Task for the clinic admin says so.
    """
    return _consume(tx, [program], now, limit)


def consume_all(database: Database, programs: Sequence[Program], now: datetime, *, limit: int = 1000) -> Consumed:
    """As `consume` for all of these; those that have read as far share one look, and nothing new costs a read alone."""
    by_name = {_consumer(one): one for one in programs}
    with database.read() as tx:
        if not changes.side_by_side(tx, list(by_name)):
            return Consumed()
    total = Consumed()
    with database.begin() as tx:
        for names in changes.side_by_side(tx, list(by_name)):
            total += _consume(tx, [by_name[name] for name in names], now, limit)
    return total


def _consumer(program: Program) -> str:
    return f"enrolment:{program.code}|{program.version}"


def _consume(tx: Tx, programs: Sequence[Program], now: datetime, limit: int) -> Consumed:
    """For programs that stand at the same place in the log."""
    found = changes.read_since(tx, _WORKER, _consumer(programs[0]), limit)
    if not found:
        return Consumed()
    author = Author(viewer=_WORKER, origin="rules", at=now)
    enrolling = [one for one in programs if one.eligible]
    look = _look_at(tx, enrolling, found)
    enrolled = sum(_enrol_eligible(tx, program, look, author) for program in enrolling)
    first, *others = map(_consumer, programs)
    changes.advance(tx, first, found[-1], *others)
    return Consumed(changes=len(found) * len(programs), enrolled=enrolled, more=len(found) == limit)


def by_hand(
    tx: Tx,
    program: Program,
    patient: str,
    author: Author,
    *,
    reason: str = "Enrolled by hand",
    key: str | None = None,
    site: str | None = None,
) -> Stored:
    """Open a plan for a patient because a person says so; raises RuleBroken when one of this program is open already.

    `key` is the caller's own name for this plan, kept as an identifier; `site` is the place whose calendar counts, by
    default the one that the patient belongs to.
    """
    _require_patient(tx, author.viewer, patient)
    before = [one for one in rows.of_patient(tx, author.viewer, patient) if one.program == program.code]
    mine = [one for one in work_items.of_patient(tx, author.viewer, patient) if one.kind == "plan"]
    if any(one.open and one.program == program.code for one in mine):
        raise RuleBroken(f"This patient has an open plan of {program.title} already.", expression="CarePlan.subject")
    wanted = Enrol(
        program=program.code,
        version=program.version,
        patient=patient,
        trigger=f"by-hand:{len(before) + 1}",
        key=key,
        anchor="enrolment",
        anchor_at=author.at,
        reason=reason,
        site=site_of(
            program.calendar,
            within_site(tx, program.calendar, site),
            *_places_of(tx, program, patient, author.viewer),
        ),
    )
    stored = enrol(tx, program, wanted, author)
    if stored is None:
        raise RuleBroken("This patient is being enrolled already.", expression="CarePlan.subject")
    return stored


def enrol(tx: Tx, program: Program, wanted: Enrol, author: Author) -> Stored | None:
    """Write the plan's CarePlan and its first tasks; None when this trigger has opened a plan before."""
    return next(iter(_open_all(tx, [_opening(program, wanted, author)], author)), None)


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What programs that read the same changes know in common: patient -> types that changed, and what is there of them.

    `opened` are program, patient and trigger of each enrolment there was.
    """

    touched: Mapping[str, frozenset[str]]
    known: Mapping[str, PatientSummary]
    seen: Mapping[str, Sequence[Event]]
    opened: frozenset[tuple[str, str, str]]


def _look_at(tx: Tx, programs: Sequence[Program], found: Sequence[changes.Change]) -> _Look:
    touched: dict[str, set[str]] = {}
    for one in found if programs else ():
        if one.patient and one.type in EVENT_TYPES and one.op != "delete":
            touched.setdefault(one.patient, set()).add(one.type)
    whose = sorted(touched)
    types = sorted(frozenset().union(*map(types_asked, programs)))
    return _Look(
        touched={patient: frozenset(touched[patient]) for patient in whose},
        known=patients.find_many(tx, _WORKER, whose) if whose else {},
        seen=events.of_patients(tx, _WORKER, whose, types) if whose else {},
        opened=frozenset((one.program, one.patient, one.trigger) for one in rows.of_patients(tx, _WORKER, whose)),
    )


def _enrol_eligible(tx: Tx, program: Program, look: _Look, author: Author) -> int:
    judged = _to_judge(tx, program, look, author)
    refused = _turned_down(tx, program, judged)
    openings, failed = list[_Opening](), dict[str, str]()
    for patient in judged:
        if patient in look.known and look.known[patient].deceased:
            continue
        places = _places_of(tx, program, patient, _WORKER)
        where = _locations(tx, program, look.seen.get(patient, ()))
        ask = partial(_openings, program, patient, look, (where, places), author, refused.get(patient))
        found = guarded(ask, "judging who is eligible", program=program.code)
        if isinstance(found, Failure):
            failed[patient] = found.reason
        else:
            openings += found
    opened = _open_all(tx, openings, author) if openings else []
    failed_enrolments.settle(tx, program, judged, failed, author)
    return len(opened)


def _to_judge(tx: Tx, program: Program, look: _Look, author: Author) -> list[str]:
    """Whose answer can be another than before: by time, by what changed, or because there was none."""
    if turns_with_time(program):
        return list(look.touched)
    asked = types_asked(program)
    others = [patient for patient, types in look.touched.items() if not types & asked]
    failing = failed_enrolments.waiting(tx, program, others, author) if others else set()
    return [patient for patient, types in look.touched.items() if types & asked or patient in failing]


def _openings(
    program: Program,
    patient: str,
    look: _Look,
    places: tuple[Mapping[str, str | None], Sequence[str]],
    author: Author,
    turned_down: datetime | None,
) -> list[_Opening]:
    """The plans that the patient's events call for, at the place of the event, else that of the patient.

    Who was turned down is judged by what happened since alone; what was opened before is left out.
    """
    seen = look.seen.get(patient, ())
    if turned_down is not None:
        seen = [one for one in seen if one.began > turned_down]
        program = reconsidering(program)
    where, others = places
    return [
        _opening(program, replace(one, site=site_of(program.calendar, where.get(one.trigger), *others)), author)
        for one in enrolments(program, patient, seen, author.at)
        if (program.code, patient, one.trigger) not in look.opened
    ]


def _opening(program: Program, wanted: Enrol, author: Author) -> _Opening:
    plan_id = records.fresh_id(author.at)
    anchors = {"enrolment": author.at, wanted.anchor: wanted.anchor_at}
    begins = "intake" if program.intake else "enrolment"
    templates = [template for template in program.tasks if template.on == begins]
    there = program.at(wanted.site)
    parts = plan_parts.parts_of(there, {}, wanted.patient, author.at, author)
    links = _Links(plan=plan_id, tasks={one.code: records.fresh_id(author.at) for one in templates}, parts=parts)
    tasks = [_first_task(there, template, links, wanted, anchors, author) for template in templates]
    plan = _care_plan(program, plan_id, wanted, tasks, author) | parts.named
    if there is not program:
        plan["extension"].append(site_extension(there.calendar.site))
    return _Opening(wanted=wanted, plan=plan, tasks=tasks, parts=parts.made)


def _open_all(tx: Tx, openings: Sequence[_Opening], author: Author) -> list[Stored]:
    """The plans that were opened, without those whose trigger has opened one before; a few statements for all of them."""
    free = rows.reserve_many(tx, [_reservation(one, author) for one in openings])
    projection.hold_back(tx)
    opened = [_write(tx, one, author) for one in openings if f"CarePlan/{one.plan['id']}" in free]
    projection.bring_in_step(tx, author.at)
    return opened


def _reservation(opening: _Opening, author: Author) -> rows.Enrolment:
    wanted = opening.wanted
    return rows.Enrolment(
        program=wanted.program,
        patient=wanted.patient,
        trigger=wanted.trigger,
        plan=f"CarePlan/{opening.plan['id']}",
        at=author.at,
    )


def _write(tx: Tx, opening: _Opening, author: Author) -> Stored:
    wanted = opening.wanted
    why = Why(reason=wanted.reason, rule=f"{wanted.program}|{wanted.version}#eligible")
    parts = [records.save(tx, part, author, why=why, fresh=True) for part in opening.parts]
    plan = records.save(tx, opening.plan, author, why=why, fresh=True)
    tasks = [records.save(tx, task, author, why=why, fresh=True) for task in opening.tasks]
    provenance.record(tx, [plan, *tasks, *parts], author, why, activity="CREATE")
    return plan


def _turned_down(tx: Tx, program: Program, whose: Sequence[str]) -> dict[str, datetime]:
    """Patient -> when their last plan of the program ended at its intake; those with an open one are left out."""
    refused = refusing_stages(program)
    if not refused or program.intake is None or not program.intake.again:
        return {}
    found: dict[str, datetime] = {}
    for patient, plans in work_items.plans_of(tx, _WORKER, program.code, whose).items():
        last = max(plans, key=lambda one: (one.created_at, one.ref))
        if not last.open and last.status in refused:
            found[patient] = last.status_since
    return found


def _locations(tx: Tx, program: Program, seen: Sequence[Event]) -> dict[str, str | None]:
    """Event -> its place, or the site that this is part of; only asked where sites have calendars of their own."""
    found = {one.ref: one.detail.get("location") for one in seen} if program.calendar.sites else {}
    known = {place: within_site(tx, program.calendar, place) for place in set(found.values()) if place}
    return {ref: known.get(place or "") for ref, place in found.items()}


def _places_of(tx: Tx, program: Program, patient: str, viewer: Viewer) -> tuple[str, ...]:
    """The organization that keeps the patient's record; only asked where sites have calendars of their own."""
    stored = resources.find(tx, viewer, "Patient", patient) if program.calendar.sites else None
    if stored is None or stored.deleted:
        return ()
    named = references_at(records.resource_of(stored), "managingOrganization")
    return tuple(within_site(tx, program.calendar, one) or one for one in named)


def _require_patient(tx: Tx, viewer: Viewer, patient: str) -> None:
    if patient not in patients.find_many(tx, viewer, [patient]):
        raise NotFound(f"There is no Patient/{patient}.")


def _first_task(
    program: Program,
    template: TaskTemplate,
    links: _Links,
    wanted: Enrol,
    anchors: dict[str, datetime],
    author: Author,
) -> Resource:
    new = task_resources.NewTask(
        id=links.tasks[template.code],
        patient=wanted.patient,
        plan=f"CarePlan/{links.plan}",
        due_at=due_at(program, template, anchors, author.at),
        reason=wanted.reason,
        goal=goals_of(links.parts.named).get(template.goal),
        part_of=f"Task/{links.tasks[template.part_of]}" if template.part_of in links.tasks else None,
    )
    return task_resources.from_template(program, template, new, author.at)


def _care_plan(program: Program, plan_id: str, wanted: Enrol, tasks: Sequence[Resource], author: Author) -> Resource:
    stage = program.stages[0]
    rows_ = [("Stage", stage.title), ("Because", wanted.reason), *(("Task", task["code"]["text"]) for task in tasks)]
    resource: Resource = {
        "resourceType": "CarePlan",
        "id": plan_id,
        "meta": {"source": CANONICAL},
        "text": narrative("CarePlan", program.title, rows_),
        "extension": [
            {"url": PLAN_STAGE, "valueCode": stage.code},
            anchor_extension(wanted.anchor, instant(wanted.anchor_at)),
            {"url": PLAN_TRIGGER, "valueString": wanted.trigger or "patient"},
        ],
        "instantiatesCanonical": [program.canonical],
        "status": stage.fhir,
        "intent": "plan",
        "category": [concept(_CATEGORY_US_CORE, "assess-plan")],
        "title": program.title,
        "subject": {"reference": f"Patient/{wanted.patient}"},
        "period": {"start": instant(author.at)},
        "created": instant(author.at),
    }
    if wanted.key:
        resource["identifier"] = [{"system": KEY_SYSTEM, "value": wanted.key}]
    if "/" in wanted.trigger:
        resource["supportingInfo"] = [{"reference": wanted.trigger}]
    if tasks:
        resource["activity"] = [
            {"reference": {"reference": f"Task/{task['id']}", "display": task["code"]["text"]}} for task in tasks
        ]
    return resource
