"""Bringing patients into programs: by the program's own eligibility rule over the change log, and by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from fhir_tracker import failed_enrolments, provenance, records, task_resources
from fhir_tracker.errors import NotFound, RuleBroken
from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.narrative import narrative
from fhir_tracker.guard import Failure, guarded
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.effects import Enrol
from fhir_tracker.model.event import EVENT_TYPES
from fhir_tracker.model.plan import anchor_extension
from fhir_tracker.model.program import CANONICAL, Program, TaskTemplate
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.model.vocabulary import KEY_SYSTEM, PLAN_STAGE, PLAN_TRIGGER
from fhir_tracker.model.work import Event
from fhir_tracker.rules.due import due_at
from fhir_tracker.rules.eligibility import enrolments
from fhir_tracker.storage import changes, events, patients, work_items
from fhir_tracker.storage import enrolments as rows
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

_WORKER = worker_viewer("enrolment")
_CATEGORY_US_CORE = "http://hl7.org/fhir/us/core/CodeSystem/careplan-category"


@dataclass(frozen=True, kw_only=True)
class Consumed:
    """What one run over the change log did: changes read, plans opened, and whether more is waiting."""

    changes: int = 0
    enrolled: int = 0
    more: bool = False


@dataclass(frozen=True, kw_only=True)
class _Opening:
    """A plan about to be opened: its CarePlan and the Tasks it begins with."""

    wanted: Enrol
    plan: Resource
    tasks: Sequence[Resource]


def consume(tx: Tx, program: Program, now: datetime, *, limit: int = 1000) -> Consumed:
    """Look at the patients behind the next changes and enrol whom the program wants; the cursor moves in the same transaction.

    A patient who cannot be judged is passed over, and a Task for the clinic admin says so.
    """
    consumer = f"enrolment:{program.code}|{program.version}"
    found = changes.read_since(tx, _WORKER, consumer, limit)
    if not found:
        return Consumed()
    touched = {one.patient for one in found if one.patient and one.type in EVENT_TYPES and one.op != "delete"}
    enrolled = _enrol_eligible(tx, program, sorted(touched), now) if program.eligible else 0
    changes.advance(tx, consumer, found[-1])
    return Consumed(changes=len(found), enrolled=enrolled, more=len(found) == limit)


def by_hand(
    tx: Tx,
    program: Program,
    patient: str,
    author: Author,
    *,
    reason: str = "Enrolled by hand",
    key: str | None = None,
) -> Stored:
    """Open a plan for a patient because a person says so; raises RuleBroken when one of this program is open already.

    `key` is the caller's own name for this plan, kept as an identifier.
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
    )
    stored = enrol(tx, program, wanted, author)
    if stored is None:
        raise RuleBroken("This patient is being enrolled already.", expression="CarePlan.subject")
    return stored


def enrol(tx: Tx, program: Program, wanted: Enrol, author: Author) -> Stored | None:
    """Write the plan's CarePlan and its first tasks; None when this trigger has opened a plan before."""
    return _open(tx, _opening(program, wanted, author), author)


def _enrol_eligible(tx: Tx, program: Program, touched: Sequence[str], now: datetime) -> int:
    author = Author(viewer=_WORKER, origin="rules", at=now)
    known = patients.find_many(tx, _WORKER, touched)
    seen = events.of_patients(tx, _WORKER, touched, sorted(EVENT_TYPES))
    opened, failed = 0, dict[str, str]()
    for patient in touched:
        if patient in known and known[patient].deceased:
            continue
        ask = partial(_openings, program, patient, seen.get(patient, []), author)
        found = guarded(ask, "judging who is eligible", program=program.code)
        if isinstance(found, Failure):
            failed[patient] = found.reason
        else:
            opened += sum(_open(tx, one, author) is not None for one in found)
    failed_enrolments.settle(tx, program, touched, failed, author)
    return opened


def _openings(program: Program, patient: str, seen: Sequence[Event], author: Author) -> list[_Opening]:
    return [_opening(program, wanted, author) for wanted in enrolments(program, patient, seen, author.at)]


def _opening(program: Program, wanted: Enrol, author: Author) -> _Opening:
    plan_id = records.fresh_id(author.at)
    anchors = {"enrolment": author.at, wanted.anchor: wanted.anchor_at}
    templates = [template for template in program.tasks if template.on == "enrolment"]
    tasks = [_first_task(program, template, plan_id, wanted, anchors, author) for template in templates]
    return _Opening(wanted=wanted, plan=_care_plan(program, plan_id, wanted, tasks, author), tasks=tasks)


def _open(tx: Tx, opening: _Opening, author: Author) -> Stored | None:
    wanted = opening.wanted
    if not rows.reserve(tx, wanted.program, wanted.patient, wanted.trigger, author.at):
        return None
    why = Why(reason=wanted.reason, rule=f"{wanted.program}|{wanted.version}#eligible")
    plan = records.save(tx, opening.plan, author, why=why)
    tasks = [records.save(tx, task, author, why=why) for task in opening.tasks]
    provenance.record(tx, [plan, *tasks], author, why, activity="CREATE")
    rows.attach(tx, wanted.program, wanted.patient, wanted.trigger, plan.ref)
    return plan


def _require_patient(tx: Tx, viewer: Viewer, patient: str) -> None:
    if patient not in patients.find_many(tx, viewer, [patient]):
        raise NotFound(f"There is no Patient/{patient}.")


def _first_task(
    program: Program,
    template: TaskTemplate,
    plan_id: str,
    wanted: Enrol,
    anchors: dict[str, datetime],
    author: Author,
) -> Resource:
    new = task_resources.NewTask(
        id=records.fresh_id(author.at),
        patient=wanted.patient,
        plan=f"CarePlan/{plan_id}",
        due_at=due_at(program, template, anchors, author.at),
        reason=wanted.reason,
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
