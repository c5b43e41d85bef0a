"""Moving a plan by rule: its stage, its end, and what is still open of it.

https://hl7.org/fhir/R4/careplan.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fhir_tracker import moved, programs, provenance, records, task_resources, transitions
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import at, objects_at
from fhir_tracker.fhir.summary_text import with_text_in_step
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.program import Program, Stage
from fhir_tracker.model.vocabulary import PLAN_STAGE
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules.program_file import ENDED
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

CANCELLED = "cancelled"


def with_stage(resource: Resource, stage: Stage, author: Author) -> Resource:
    """A copy of the CarePlan in a stage, its status following; one that is over gets the end of its period."""
    others = [one for one in objects_at(resource, "extension") if one.get("url") != PLAN_STAGE]
    changed = resource | {
        "extension": [{"url": PLAN_STAGE, "valueCode": stage.code}, *others],
        "status": stage.fhir,
    }
    if stage.fhir in ENDED:
        changed["period"] = (at(resource, "period") or {}) | {"end": instant(author.at)}
    return with_text_in_step(resource, changed)


def find(tx: Tx, ref: str | None, author: Author) -> tuple[Stored, Program] | str:
    """The plan behind `CarePlan/<id>` with its program, or a sentence why there is none to change."""
    stored = resources.find(tx, author.viewer, *ref.split("/")) if ref else None
    if stored is None or stored.deleted:
        return "there is no plan any more" if ref else "the work belongs to no plan"
    program = programs.of_resource(tx, records.resource_of(stored))
    return (stored, program) if program else "the plan is in no program"


def set_stage(tx: Tx, ref: str | None, stage: str, author: Author, why: Why) -> str | None:
    """Move the plan to a stage; None when it was, else why not. A plan that is over is not moved."""
    moved.one_at_a_time(tx, ref or "")
    found = find(tx, ref, author)
    if isinstance(found, str):
        return found
    stored, program = found
    wanted = next((one for one in program.stages if one.code == stage), None)
    if wanted is None:
        return f"the plan is under version {program.version}, which has no stage {stage}"
    item = work_items.find(tx, author.viewer, stored.ref)
    if item is not None and not item.open:
        return f"the plan is over: {item.status}"
    if item is not None and item.status == stage:
        return f"the plan is in {stage} already"
    saved = records.save(tx, with_stage(records.resource_of(stored), wanted, author), author, why=why)
    provenance.record(tx, [saved], author, why)
    transitions.settle_escalations(tx, saved.ref, author)
    if item is not None:
        moved.note(tx, moved.Moved(before=item, author=author, why=why))
    return None


def disenrol(tx: Tx, ref: str | None, stage: str, author: Author, why: Why) -> str | None:
    """End the plan in a stage and cancel what is open of it; None when it was done, else why not."""
    refused = set_stage(tx, ref, stage, author, why)
    if refused is None and ref is not None:
        ended = replace(
            why, reason=f"the plan ended ({stage}): {why.reason}" if why.reason else f"the plan ended ({stage})"
        )
        close_open(tx, ref, CANCELLED, author, ended, quietly=True)
    return refused


def close_open(
    tx: Tx, plan: str, status: str, author: Author, why: Why, *, tasks: Sequence[str] = (), quietly: bool = False
) -> tuple[str, ...]:
    """Close the plan's open Tasks, those of the templates `tasks` alone when any are named; their references.

    `status` is one of their program's, else a Task.status; `quietly` as in `transitions.store`. Escalations about them
    are resolved with them.
    """
    closed = []
    for item in work_items.of_plan(tx, author.viewer, plan):
        if item.open and item.kind == "task" and (not tasks or item.code in tasks):
            _close(tx, item, status, author, why, quietly)
            closed.append(item.ref)
    return tuple(closed)


def _close(tx: Tx, item: WorkItem, status: str, author: Author, why: Why, quietly: bool) -> None:
    task = transitions.find_task(tx, author.viewer, item.ref)
    own = task.program.status(status) if task.program else None
    if own is None and task.program is not None:
        own = next((one for one in task.program.statuses if one.fhir == status), None)
    changed = task_resources.with_status(task.resource, task.program, own.code if own else status, author.at)
    if why.reason:
        changed["statusReason"] = {"text": why.reason}
    transitions.store(tx, changed, author, why, quietly=quietly)
