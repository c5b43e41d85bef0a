"""Pages found by walking the index in their own order and trying each entry, given up where too few of them are matches.

Only a way that is often quicker: what it gives up, the statements of the plan answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Select, and_, or_, select, type_coerce
from sqlalchemy.engine import RowMapping

from fhir_tracker.fhir.query import Query
from fhir_tracker.fhir.search_unions import parts_of
from fhir_tracker.fhir.search_values import gives_one_row
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.conditions import Condition, usual_key
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.hashes import COMBINED, parameter_key, together
from fhir_tracker.storage.page_cursor import PageCursor
from fhir_tracker.storage.search_plan import Plan
from fhir_tracker.storage.search_sorting import Sorting, absent
from fhir_tracker.storage.tables import ix, ixd, resource

MET_IN = 2000
"""Up to so many entries of one key are tried, where much of several keys can be read in step instead."""
SORTED_IN = (1000, 20_000)
"""How many entries in the order of a sort are tried at first, and then."""


@dataclass(frozen=True, kw_only=True)
class _Way:
    """Entries in the order (`value`, `k`) that `prefix` selects; `conditions` are still to be tried.

    Where not `every` resource has an entry, those without come after all that have.
    """

    value: ColumnElement[Any]
    k: Column[int]
    prefix: ColumnElement[bool]
    conditions: tuple[Condition, ...]
    every: bool = True


def walked(
    tx: Tx, viewer: Viewer, query: Query, found: Plan, sorting: Sorting, page: PageCursor | None
) -> Sequence[RowMapping] | None:
    """The rows of a page and one more if there is, from its start on as it is read; None where they are to be found otherwise.

    `found` is the plan for `viewer`. One who sees little of what is there goes the first short way only.
    """
    if found.few:
        return None
    if not query.sort:
        return _in_step(tx, query, found, sorting, page) if found.meeting and tx.dialect == "postgresql" else None
    way = _way(query, found) if len(query.sort) == 1 and len(found.types) == 1 else None
    if way is None or (page is not None and page.values == (absent(query.sort[0]),)):
        return None
    for most in SORTED_IN if viewer.sees_all else SORTED_IN[:1]:
        rows, is_end = _along(tx, query, found, way, page, most)
        if len(rows) > query.count or (is_end and (way.every or (page is not None and page.back))):
            return rows
        if is_end:
            return None
    return None


def _in_step(
    tx: Tx, query: Query, found: Plan, sorting: Sorting, page: PageCursor | None
) -> Sequence[RowMapping] | None:
    """Newest first along one key while matches come often."""
    back = page is not None and page.back
    entries = select(ix.c.k).where(ix.c.h == found.key).order_by(ix.c.k.asc() if back else ix.c.k.desc())
    chosen = found.of(select(resource))
    if page is not None:
        entries = entries.where(ix.c.k > page.k if back else ix.c.k < page.k)
        chosen = chosen.where(sorting.beyond(page, found.k))
    last = tx.value(entries.offset(MET_IN).limit(1))
    if last is not None:
        chosen = chosen.where(found.k <= last if back else found.k >= last)
    rows = tx.rows(chosen.order_by(*sorting.order(found.k, back=back)).limit(query.count + 1))
    return rows if last is None or len(rows) > query.count else None


def _way(query: Query, found: Plan) -> _Way | None:
    (key,) = query.sort
    (type_,) = found.types
    if key.type == "instant":
        moment = type_coerce(resource.c.updated_at, BigInteger)
        return _Way(value=moment, k=resource.c.k, prefix=resource.c.type == type_, conditions=found.all_conditions)
    if key.type == "id":
        one = resource.c.type == type_
        return _Way(value=resource.c.id, k=resource.c.k, prefix=one, conditions=found.all_conditions)
    if key.type != "date" or parts_of(type_, key.param) != (key.param,) or not gives_one_row(type_, key.param):
        return None
    return _dates(query, found, type_, key.param)


def _dates(query: Query, found: Plan, type_: str, param: str) -> _Way:
    """Along the dates of a parameter; those that are kept for each usual code save the look for it."""
    h, left = parameter_key(type_, param), found.all_conditions
    usual = usual_key((type_,), query.filters) if COMBINED.get(type_, ("", (), ""))[2] == param else None
    if usual is not None:
        h = together(usual, h)
        left = tuple(one for one in left if one.keys != (usual,))
    inside = [one.span[1] for one in left if one.span is not None and one.span[0] == h]
    left = tuple(one for one in left if one.span is None or one.span[0] != h)
    return _Way(value=ixd.c.lo, k=ixd.c.k, prefix=and_(ixd.c.h == h, *inside), conditions=left, every=False)


def _along(
    tx: Tx, query: Query, found: Plan, way: _Way, page: PageCursor | None, most: int
) -> tuple[Sequence[RowMapping], bool]:
    """The matches among the next `most` entries, as many as are needed; and whether there are no more entries."""
    (key,) = query.sort
    rises = key.descending == (page is not None and page.back)
    order = [way.value.asc(), way.k.asc()] if rises else [way.value.desc(), way.k.desc()]
    start = [] if page is None else _side(way, page.values[0], page.k, rises=rises)
    entries = select(way.value.label("value"), way.k.label("k")).where(way.prefix, *start)
    end = tx.first(entries.order_by(*order).offset(most).limit(1))
    within = [] if end is None else _side(way, end["value"], end["k"], rises=not rises)
    chosen = _from(way, select(resource, way.value.label("sort_0"))).where(way.prefix, *start, *within)
    chosen = chosen.where(*found.probing(way.k, way.conditions))
    return tx.rows(chosen.order_by(*order).limit(query.count + 1)), end is None


def _from(way: _Way, chosen: Select[Any]) -> Select[Any]:
    return chosen if way.every else chosen.join_from(ixd, resource, resource.c.k == ixd.c.k)


def _side(way: _Way, value: object, k: int, *, rises: bool) -> list[ColumnElement[bool]]:
    """The entries on one side of a place; the value by itself too, which is what an index is entered by."""
    if rises:
        return [way.value >= value, or_(way.value > value, way.k > k)]
    return [way.value <= value, or_(way.value < value, way.k < k)]
