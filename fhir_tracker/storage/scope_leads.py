"""All that a viewer can see, listed where it is little: there reads begin that would else pass by everything that is stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, select

from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.arrays import among, among_texts
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.scope import SHARED, WORK, led_by, own
from fhir_tracker.storage.tables import ix, resource
from fhir_tracker.storage.work_tables import work_item


def few_seen(tx: Tx, viewer: Viewer, right: str, types: Sequence[str], most: int) -> tuple[int, ...] | None:
    """The `k` of all resources of `types` (none named: of any) that the viewer has by a right, and perhaps of some more.

    None where those are more than `most`, or where nothing says of which they are.
    """
    if viewer.patient is None and viewer.sight.is_whole(right):
        return None
    chosen = tuple(types) or tuple(sorted(resource_types()))
    patient = _patient_of(viewer, right, chosen)
    if patient is not None:
        return _listed(tx, _of_patients(tx, [patient], chosen, sorted(SHARED.intersection(chosen))), most)
    if viewer.sight.is_bounded:
        return _of_work(tx, viewer, chosen, most)
    keys = led_by(viewer, right, chosen)
    return _listed(tx, [select(ix.c.k).where(among(tx.dialect, ix.c.h, keys)).distinct()], most) if keys else None


def _patient_of(viewer: Viewer, right: str, types: Sequence[str]) -> str | None:
    """The one patient of whom everything is that is seen of these types, but for what is of nobody."""
    ways = {way.patient or viewer.patient for type_ in types for way in viewer.sight.ways(right, type_)}
    return ways.pop() if len(ways) == 1 else None


def _of_work(tx: Tx, viewer: Viewer, types: Sequence[str], most: int) -> tuple[int, ...] | None:
    """What is of the work of some programs and places, of its patients, of nobody, and of those for whom the glass is broken."""
    items = next((found for one in own(viewer.sight, work_item) if (found := _items(tx, one, most)) is not None), None)
    if items is None:
        return None
    plans = [row["ref"] for row in items if row["ref"].startswith("CarePlan/")]
    made = _items(tx, among_texts(tx.dialect, work_item.c.plan, plans), most) if plans else []
    if made is None:
        return None
    items = [*items, *made]
    work, others = [one for one in types if one in WORK], [one for one in types if one not in WORK]
    near = {*viewer.opened, *(row["patient"] for row in items if row["patient"] is not None)}
    refs = [row["ref"].partition("/") for row in items]
    of_work = [
        select(resource.c.k).where(
            resource.c.type == type_,
            among_texts(tx.dialect, resource.c.id, [id_ for kind, _, id_ in refs if kind == type_]),
        )
        for type_ in work
    ]
    opened = _of_patients(tx, sorted(viewer.opened), work) if viewer.opened and work else ()
    return _listed(tx, [*of_work, *opened, *_of_patients(tx, sorted(near), others, others)], most)


def _items(tx: Tx, limit: ColumnElement[bool], most: int) -> list[Any] | None:
    found = list(tx.rows(select(work_item.c.ref, work_item.c.patient).where(limit).limit(most + 1)))
    return found if len(found) <= most else None


def _of_patients(
    tx: Tx, patients: Sequence[str], types: Sequence[str], nobodys: Sequence[str] = ()
) -> Iterator[Select[Any]]:
    """Resources of these types that are of the patients, and those of `nobodys` types that are of no patient."""
    if patients and types:
        yield select(resource.c.k).where(among_texts(tx.dialect, resource.c.patient, patients), *_are(types))
    if nobodys:
        yield select(resource.c.k).where(resource.c.patient.is_(None), *_are(nobodys))


def _are(types: Sequence[str]) -> list[ColumnElement[bool]]:
    if len(types) == 1:
        return [resource.c.type == types[0]]
    return [resource.c.type.in_(types)] if len(types) < len(resource_types()) - len(WORK) else []


def _listed(tx: Tx, statements: Iterable[Select[Any]], most: int) -> tuple[int, ...] | None:
    found: set[int] = set()
    for statement in statements:
        rows = tx.rows(statement.limit(most + 1))
        found.update(row["k"] for row in rows)
        if max(len(rows), len(found)) > most:
            return None
    return tuple(sorted(found))
