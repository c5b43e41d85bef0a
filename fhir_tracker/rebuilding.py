"""Dropping every read model and building it again from the store: the same rows come out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from fhir_tracker import gathering, programs, projection, records
from fhir_tracker.model.event import EVENT_TYPES, event_of
from fhir_tracker.model.patient import summary_of
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.rules.engine import look
from fhir_tracker.storage import events, patients, rebuild, resources, rollups, work_items
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.resources import Stored

_WORKER = worker_viewer("rebuild")
BATCH = 500


def rebuild_all(database: Database, now: datetime, report: Callable[[str], None] | None = None) -> dict[str, int]:
    """Rebuild search index, patients, events, work items and the sums of measures in one transaction; the number of rows of each."""
    counts = {"resources": 0, "work_items": 0}
    with database.begin() as tx:
        rebuild.clear_read_models(tx)
        after = 0
        while stored := resources.scan(tx, _WORKER, (), after_k=after, limit=BATCH):
            after = stored[-1].k
            counts["resources"] += len(stored)
            counts["work_items"] += sum(_project(tx, one) for one in stored)
            if report:
                report(f"{counts['resources']} resources read")
        _reindex(tx)
        _set_flags(tx)
        _set_next_looks(tx, now)
        counts["figures"] = rollups.rebuild(tx)
    return counts


def _project(tx: Tx, stored: Stored) -> int:
    resource = records.resource_of(stored)
    if stored.type == "Patient":
        patients.save(tx, summary_of(resource, stored.connection))
    if stored.type in EVENT_TYPES and (event := event_of(resource, seen_at=stored.updated_at)):
        events.save(tx, event)
    item = projection.item_of(tx, stored, resource)
    if item is None:
        return 0
    work_items.save(tx, item)
    return 1


def _reindex(tx: Tx) -> None:
    resources.clear_index(tx)
    after: int | None = 0
    while after is not None:
        after = resources.reindex(tx, after, BATCH)


def _set_flags(tx: Tx) -> None:
    after = 0
    while flags := resources.scan(tx, _WORKER, ("Flag",), after_k=after, limit=BATCH):
        after = flags[-1].k
        for patient in sorted({one.patient for one in flags if one.patient}):
            projection.set_flags(tx, patient)


def _set_next_looks(tx: Tx, now: datetime) -> None:
    """With all rows in place, give each item its history and the time of its next look, as the sweep would."""
    after = 0
    while batch := work_items.scan(tx, _WORKER, after_k=after, limit=BATCH):
        after = batch[-1][0]
        whole = [projection.refresh(tx, item, at=now) for _, item in batch]
        awake = [item for item in whole if item.next_action_at is not None]
        for facts in gathering.gather(tx, _WORKER, awake):
            program = programs.load(tx, facts.item.program or "", facts.item.program_version)
            if program is not None:
                found = look(program, facts, now)
                work_items.look_at(tx, facts.item.ref, now if found.effects else found.next_at)
