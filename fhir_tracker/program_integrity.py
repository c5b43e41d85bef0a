"""Program texts that were changed in the database behind the product's back: refused everywhere, and told as admin work."""

from __future__ import annotations

from datetime import datetime, timedelta

from fhir_tracker import provenance, records, task_resources
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.programs import USED
from fhir_tracker.storage import programs as rows
from fhir_tracker.storage import resources, settings, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.programs import ProgramVersion

CODE = "program-tampered"
EVERY = timedelta(minutes=5)
_LOOKED = "programs-looked-at"
_WORKER = worker_viewer("change-control")


def changed(tx: Tx) -> list[ProgramVersion]:
    """The versions whose text has not the hash it was published with."""
    return [row for row in rows.versions(tx) if not row.intact]


def is_due(tx: Tx, now: datetime) -> bool:
    """Whether it is time to look again; a clock that was turned back does not put it off."""
    told = settings.get(tx, _LOOKED)
    return told is None or abs(now - datetime.fromisoformat(told)) >= EVERY


def watch(tx: Tx, now: datetime) -> list[ProgramVersion]:
    """Look at every text; open a Task for the clinic admin for each that was changed, once, and close it when it is right."""
    settings.put(tx, _LOOKED, now.isoformat())
    author = Author(viewer=_WORKER, origin="rules", at=now)
    found = [row for row in rows.versions(tx) if row.status in USED]
    items = work_items.find_many(tx, _WORKER, [f"Task/{task_id(row)}" for row in found])
    for row in found:
        item = items.get(f"Task/{task_id(row)}")
        if not row.intact and (item is None or not item.open):
            _open(tx, row, author)
        elif row.intact and item is not None and item.open:
            _complete(tx, row, author)
    return [row for row in found if not row.intact]


def task_id(row: ProgramVersion) -> str:
    """The id of the one Task that says that a version was changed."""
    return local_id(CODE, f"{row.code}.{row.version}", "Task")


def _open(tx: Tx, row: ProgramVersion, author: Author) -> None:
    title = f"Program {row.code} version {row.version} was changed in the database"
    reason = (
        f"Its text does not have the hash it was published with ({row.digest[:12]}), so nothing runs by it. Find out who "
        "changed it; put the published text back from a copy, or publish the program again with `fhir-tracker program publish`."
    )
    _save(tx, task_resources.admin_task(task_id(row), CODE, title, reason, author.at), author, reason)


def _complete(tx: Tx, row: ProgramVersion, author: Author) -> None:
    stored = resources.find(tx, author.viewer, "Task", task_id(row))
    if stored is not None and not stored.deleted:
        done = task_resources.with_status(records.resource_of(stored), None, "completed", author.at)
        _save(tx, done, author, "The text is the published one again.")


def _save(tx: Tx, task: Resource, author: Author, reason: str) -> None:
    stored = records.save(tx, task, author, why=Why(reason=reason))
    provenance.record(tx, [stored], author, Why(reason=reason))
