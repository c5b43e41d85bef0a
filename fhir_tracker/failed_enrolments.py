"""Patients whom a program could not judge: each is an open Task for the clinic admin until judging works again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fhir_tracker import provenance, records, task_resources
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.program import Program
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage.database import Tx

CODE = "enrolment-failed"


def settle(tx: Tx, program: Program, judged: Sequence[str], failed: Mapping[str, str], author: Author) -> None:
    """Open a Task for each patient in `failed` (id -> why), once; complete those of the others in `judged`."""
    refs = {patient: f"Task/{task_id(program, patient)}" for patient in judged}
    items = work_items.find_many(tx, author.viewer, refs.values())
    for patient, ref in refs.items():
        is_open = ref in items and items[ref].open
        if patient in failed and not is_open:
            _open(tx, program, patient, failed[patient], author)
        elif is_open and patient not in failed:
            _complete(tx, ref, author)


def waiting(tx: Tx, program: Program, patients: Sequence[str], author: Author) -> set[str]:
    """Those of `patients` whose Task is open."""
    refs = {f"Task/{task_id(program, patient)}": patient for patient in patients}
    return {refs[ref] for ref, item in work_items.find_many(tx, author.viewer, refs).items() if item.open}


def task_id(program: Program, patient: str) -> str:
    """The id of the one Task that says a patient could not be judged by a program."""
    return local_id(CODE, f"{program.code}.{patient}", "Task")


def _open(tx: Tx, program: Program, patient: str, why: str, author: Author) -> None:
    title = f"Could not be enrolled in {program.title}"
    reason = f"{why.rstrip('.')}. It is tried again when anything of this patient changes; until then, enrol by hand."
    task = task_resources.admin_task(task_id(program, patient), CODE, title, reason, author.at)
    _save(tx, task | {"for": {"reference": f"Patient/{patient}"}}, author, reason)


def _complete(tx: Tx, ref: str, author: Author) -> None:
    stored = resources.find(tx, author.viewer, *ref.split("/"))
    if stored is not None and not stored.deleted:
        done = task_resources.with_status(records.resource_of(stored), None, "completed", author.at)
        _save(tx, done, author, "The patient could be judged again.")


def _save(tx: Tx, task: Resource, author: Author, reason: str) -> None:
    stored = records.save(tx, task, author, why=Why(reason=reason))
    provenance.record(tx, [stored], author, Why(reason=reason))
