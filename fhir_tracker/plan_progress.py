"""What became of a plan's work, in its activities, and the stage it takes when all of it is closed.

https://hl7.org/fhir/R4/careplan-definitions.html#CarePlan.activity
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fhir_tracker import provenance, records
from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at, text_at
from fhir_tracker.fhir.summary_text import with_text_in_step
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.program import Program
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage.database import Tx

_SYSTEM = worker_viewer("plans")
_TASK_STATUS = "http://hl7.org/fhir/task-status"


def is_complete(program: Program, tasks: Sequence[WorkItem]) -> bool:
    """Whether the work that counts is there and closed."""
    counted = program.completes.tasks if program.completes else ()
    intake = program.intake.task if program.intake else None
    found = [one for one in tasks if (not counted and one.code != intake) or one.code in counted]
    return bool(found) and not any(one.open for one in found)


def tell(tx: Tx, plan: str, program: Program | None, author: Author, why: Why | None) -> None:
    """Write into the CarePlan what became of its closed Tasks, as far as it does not say so yet."""
    stored = resources.find(tx, _SYSTEM, *plan.split("/"))
    if stored is None or stored.deleted or stored.connection:
        return
    resource = records.resource_of(stored)
    tasks = [one for one in work_items.of_plan(tx, _SYSTEM, plan) if one.kind == "task"]
    known = {text_at(one, "reference", "reference"): one for one in objects_at(resource, "activity")}
    news = [one for one in tasks if not one.open and not _is_told(known.get(one.ref), one, program)]
    if not news:
        return
    bodies = {
        ref: records.resource_of(one) for ref, one in resources.find_many(tx, _SYSTEM, [i.ref for i in news]).items()
    }
    told = {item.ref: _told(known.get(item.ref), item, bodies.get(item.ref, {}), program, author) for item in news}
    activities = [
        told.pop(text_at(one, "reference", "reference") or "", one) for one in objects_at(resource, "activity")
    ]
    changed = with_text_in_step(resource, resource | {"activity": [*activities, *told.values()]})
    saved = records.save(tx, changed, author, if_match=stored.version, why=why)
    provenance.record(tx, [saved], author, why)


def _is_told(activity: Resource | None, item: WorkItem, program: Program | None) -> bool:
    outcomes = objects_at(activity, "outcomeCodeableConcept", "coding") if activity else ()
    return any(one.get("code") == _outcome(item, program)[1] for one in outcomes)


def _told(
    activity: Resource | None, item: WorkItem, task: Mapping[str, object], program: Program | None, author: Author
) -> Resource:
    system, code, title = _outcome(item, program)
    body = dict(task)
    evidence = [
        {"reference": ref} for one in objects_at(body, "output") if (ref := text_at(one, "valueReference", "reference"))
    ]
    reason = text_at(body, "statusReason", "text")
    progress = {"time": instant(author.at), "text": f"{item.title}: {title}{f' ({reason})' if reason else ''}"}
    before = activity or {"reference": {"reference": item.ref, "display": item.title}}
    return before | {
        "outcomeCodeableConcept": [concept(system, code, title, text=title)],
        **({"outcomeReference": evidence} if evidence else {}),
        "progress": [*(before.get("progress") or []), progress],
    }


def _outcome(item: WorkItem, program: Program | None) -> tuple[str, str, str]:
    """System, code and title of how the work ended: the program's own status, else the Task's."""
    own = program.status(item.status) if program else None
    if program and own:
        return program.status_system, own.code, own.title
    return _TASK_STATUS, item.fhir_status, item.fhir_status.replace("-", " ").capitalize()
