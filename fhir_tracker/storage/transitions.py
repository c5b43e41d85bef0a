"""Transition rows: every change of stage, status, owner, role or due time, kept for ever."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import Transition
from fhir_tracker.storage.bulks import TRANSITION
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.keyed import Keyed
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.types import microseconds
from fhir_tracker.storage.work_items import in_step
from fhir_tracker.storage.work_tables import transition

_ROWS = Keyed(Transition, transition, order="recorded_at, k")


def add(tx: Tx, made: Transition, patient: str | None) -> None:
    """Write down one transition of an item of `patient`."""
    moments = microseconds(made.recorded_at), microseconds(made.effective_at)
    told = (made.who, made.reason, made.note, made.rule, made.cycle)
    tx.added.add(
        TRANSITION,
        (tx.keys.take(), made.item, made.what, made.before, made.after, *moments, *told, patient, made.reason_code),
    )


def of_items(tx: Tx, viewer: Viewer, items: Sequence[str]) -> dict[str, tuple[Transition, ...]]:
    """Item -> its transitions, oldest first; an empty tuple for an item without any."""
    in_step(tx, items)
    found: dict[str, list[Transition]] = {item: [] for item in items}
    for made in _ROWS.read(tx, viewer, "item", items):
        found[made.item].append(made)
    return {item: tuple(made) for item, made in found.items()}


def of_patient(tx: Tx, viewer: Viewer, patient: str, limit: int = 500) -> list[Transition]:
    """The latest transitions of all items of a patient, newest first."""
    in_step(tx)
    chosen = select(transition).where(transition.c.patient == patient, row_scope(viewer, transition))
    newest = chosen.order_by(transition.c.recorded_at.desc(), transition.c.k.desc()).limit(limit)
    return [from_row(Transition, row) for row in tx.rows(newest)]
