"""Events: the read model of appointments, encounters, documents and the like that rules see."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select

from fhir_tracker.fhir.body import write_json
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.model.work import Event
from fhir_tracker.storage.bulks import EVENT
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.keyed import Keyed
from fhir_tracker.storage.records import to_row
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.slices import slices
from fhir_tracker.storage.types import microseconds
from fhir_tracker.storage.work_tables import event

_ANYBODY = worker_viewer("foresight")
_ROWS = Keyed(Event, event, order="ref")


def foresee(tx: Tx, patients: Sequence[str], types: Sequence[str]) -> None:
    """Read the events of these types for all that is to come in the transaction's foresight."""
    if tx.foresight is not None:
        found: dict[str, tuple[Event, ...]] = {}
        for some in slices(patients):
            found |= of_patients(tx, _ANYBODY, some, types)
        tx.foresight.events, tx.foresight.event_types = found, frozenset(types)


def _forget(tx: Tx, patient: str | None) -> None:
    if tx.foresight is not None and patient is not None:
        tx.foresight.events.pop(patient, None)
    elif tx.foresight is not None:
        tx.foresight.events.clear()


def add(tx: Tx, seen: Event) -> None:
    """Write an event that was never there."""
    _forget(tx, seen.patient)
    start, end = (None if one is None else microseconds(one) for one in (seen.start, seen.end))
    codes, about, detail = write_json(seen.codes), write_json(seen.about), write_json(seen.detail)
    whose = (seen.ref, seen.type, seen.status, seen.patient)
    tx.added.add(EVENT, (*whose, codes, start, end, microseconds(seen.seen_at), about, detail))


def save(tx: Tx, seen: Event) -> None:
    """Write the event as it is now, in place of what was there."""
    _forget(tx, None)
    row = to_row(seen)
    tx.execute(tx.insert(event).values(row).on_conflict_do_update(index_elements=["ref"], set_=row))


def drop(tx: Tx, ref: str) -> None:
    """Take the event away; nothing happens when there is none."""
    _forget(tx, None)
    tx.execute(delete(event).where(event.c.ref == ref))


def find(tx: Tx, viewer: Viewer, ref: str) -> Event | None:
    """The event of one resource, or None."""
    return next(iter(_ROWS.read(tx, viewer, "ref", [ref])), None)


def owners(tx: Tx, viewer: Viewer, refs: Sequence[str]) -> dict[str, str]:
    """Reference -> whose it is, for the events there are."""
    found: dict[str, str] = {}
    for some in slices(refs):
        rows = tx.rows(select(event.c.ref, event.c.patient).where(event.c.ref.in_(some), row_scope(viewer, event)))
        found |= {row["ref"]: row["patient"] for row in rows}
    return found


def of_patients(
    tx: Tx, viewer: Viewer, patients: Sequence[str], types: Sequence[str] | None = None
) -> dict[str, tuple[Event, ...]]:
    """Patient -> their events by start, then when they were seen; an empty tuple for a patient without any. One query."""
    ahead = tx.foresight
    if ahead is not None and viewer.sees_all and types is not None and ahead.knows(patients, types):
        return {one: tuple(seen for seen in ahead.events[one] if seen.type in types) for one in patients}
    found: dict[str, list[Event]] = {patient: [] for patient in patients}
    if types is None or types:
        some = f" AND type IN ({', '.join(['%s'] * len(types))})" if types else ""
        for seen in _ROWS.read(tx, viewer, "patient", patients, further=some, values=types or ()):
            found[seen.patient].append(seen)
    return {patient: tuple(sorted(seen, key=lambda one: one.order)) for patient, seen in found.items()}
