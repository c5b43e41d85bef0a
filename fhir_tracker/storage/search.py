"""Searches answered from the index, page by page: each resource there throughout a walk comes exactly once.

Without `_sort` the order is by `k`, newest first, which no later write changes. With `_sort` a resource whose sort value
is changed during a walk moves with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, and_, func, or_, select, type_coerce

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.query import Filter, Include, Query, SortKey
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.conditions import combined, filter_keys, found_by, holds, is_positive
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.hashes import parameter_key, reference_key
from fhir_tracker.storage.page_cursor import PageCursor
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.resources import Stored
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.tables import ix, ixd, ixn, ixs, resource

FEW = 2000
"""Up to so many index rows are fetched and sorted; a walk in order is cheaper beyond."""
MOST_INCLUDED = 1000
_FAR = 1 << 62


@dataclass(frozen=True, kw_only=True)
class SearchPage:
    """`total` is given where it was asked for or is known anyway; `next` None on the last page."""

    matches: tuple[Stored, ...]
    included: tuple[Stored, ...] = ()
    total: int | None = None
    next: PageCursor | None = None


def search(tx: Tx, viewer: Viewer, query: Query, *, page: PageCursor | None = None) -> SearchPage:
    """One page of what `query` finds for `viewer`; raises Incorrect for a cursor of another query."""
    if page is not None and page.query != query.fingerprint:
        raise Incorrect("The page link belongs to another search.")
    total = _total(tx, viewer, query) if query.only_count or query.total in {"accurate", "estimate"} else None
    if query.only_count:
        return SearchPage(matches=(), total=total)
    rows = tx.rows(_page(tx, viewer, query, page))
    matches = tuple(from_row(Stored, row) for row in rows[: query.count])
    following = None
    if len(rows) > query.count:
        last = rows[query.count - 1]
        values = tuple(last[f"sort_{number}"] for number in range(len(query.sort)))
        following = PageCursor(query=query.fingerprint, values=values, k=last["k"])
    elif page is None and total is None:
        total = len(matches)
    return SearchPage(matches=matches, included=_included(tx, viewer, query, matches), total=total, next=following)


def _page(tx: Tx, viewer: Viewer, query: Query, page: PageCursor | None) -> Select[Any]:
    keys = [_sort_value(query.type, key) for key in query.sort]
    columns = [key.label(f"sort_{number}") for number, key in enumerate(keys)]
    chosen, k = _matching(tx, viewer, query, select(resource, *columns))
    if page is not None:
        kinds = [str if one.type in {"id", "string"} else int | float for one in query.sort]
        fits = [isinstance(value, kind) for value, kind in zip(page.values, kinds, strict=False)]
        if len(page.values) != len(kinds) or not all(fits):
            raise Incorrect("The page link belongs to another search.")
        chosen = chosen.where(_beyond(query.sort, keys, page, k))
    order = [key.desc() if one.descending else key.asc() for one, key in zip(query.sort, keys, strict=True)]
    last = k.asc() if _is_rising(query.sort) else k.desc()
    return chosen.order_by(*order, last).limit(query.count + 1)


def _total(tx: Tx, viewer: Viewer, query: Query) -> int:
    chosen, _ = _matching(tx, viewer, query, select(func.count()).select_from(resource))
    return int(tx.value(chosen))


def _matching(tx: Tx, viewer: Viewer, query: Query, chosen: Select[Any]) -> tuple[Select[Any], ColumnElement[int]]:
    """All conditions, led by the filter that leaves the least to look at; with them the `k` to order by."""
    fenced = tx.dialect == "postgresql"
    key, filters = combined(query.type, query.filters)
    k: ColumnElement[int] = resource.c.k
    chosen = chosen.where(~resource.c.deleted, row_scope(viewer, resource))
    lead = None if key is not None else _lead(tx, query.type, filters)
    if lead is not None and lead.few is not None:
        chosen = chosen.where(resource.c.k.in_(lead.few))
        filters = tuple(one for one in filters if one is not lead.filter)
    elif lead is not None:
        key = lead.key
        filters = tuple(one for one in filters if one is not lead.filter)
    if key is not None:
        chosen = chosen.join_from(resource, ix, ix.c.k == resource.c.k).where(ix.c.h == key)
        k = ix.c.k
    elif lead is None:
        chosen = chosen.where(resource.c.type == query.type)
    conditions = [holds(query.type, one, resource.c.k, fenced=fenced) for one in filters]
    return chosen.where(*conditions), k


@dataclass(frozen=True, kw_only=True)
class _Lead:
    """The filter to start from: `few` the keys it finds, or its one index `key` to walk along."""

    filter: Filter
    few: list[int] | None = None
    key: int | None = None


def _lead(tx: Tx, type_: str, filters: Sequence[Filter]) -> _Lead | None:
    """Each positive filter is counted up to FEW; the smallest leads. When all are large, one with a single key does."""
    best: _Lead | None = None
    walkable: _Lead | None = None
    for one in filter(is_positive, filters):
        keys = filter_keys(type_, one)
        if keys is not None and len(keys) == 1 and walkable is None:
            walkable = _Lead(filter=one, key=keys[0])
            if len(filters) == 1:
                return walkable
        found = [row["k"] for row in tx.rows(found_by(type_, one).limit(FEW + 1))]
        if len(found) <= FEW and (best is None or best.few is None or len(found) < len(best.few)):
            best = _Lead(filter=one, few=sorted(set(found)))
    return best or walkable


def _sort_value(type_: str, key: SortKey) -> ColumnElement[object]:
    """What to sort by, never NULL: resources without a value come last in either direction."""
    if key.param == "_id":
        return resource.c.id
    if key.param == "_lastUpdated":
        return type_coerce(resource.c.updated_at, BigInteger)
    tables = {"date": ixd.c.lo, "string": ixs.c.v, "number": ixn.c.lo, "quantity": ixn.c.lo}
    column: ColumnElement[object] = tables[key.type]
    table = column.table
    extreme = func.max(column) if key.descending else func.min(column)
    own = select(extreme).where(table.c.h == parameter_key(type_, key.param), table.c.k == resource.c.k)
    if key.type == "string":
        absent: object = "" if key.descending else "\U0010ffff"
    elif key.type == "date":
        absent = -_FAR - 1 if key.descending else _FAR + 1
    else:
        absent = -1e308 if key.descending else 1e308
    return func.coalesce(own.correlate(resource).scalar_subquery(), absent)


def _beyond(
    sort: Sequence[SortKey], keys: Sequence[ColumnElement[object]], page: PageCursor, k: ColumnElement[int]
) -> ColumnElement[bool]:
    ways: list[ColumnElement[bool]] = []
    same: list[ColumnElement[bool]] = []
    for one, key, value in zip(sort, keys, page.values, strict=True):
        ways.append(and_(*same, key < value if one.descending else key > value))
        same.append(key == value)
    return or_(*ways, and_(*same, k > page.k if _is_rising(sort) else k < page.k))


def _is_rising(sort: Sequence[SortKey]) -> bool:
    """Whether resources with equal sort values come oldest first: as the last criterion runs, so that one index gives both."""
    return bool(sort) and not sort[-1].descending


def _included(tx: Tx, viewer: Viewer, query: Query, matches: Sequence[Stored]) -> tuple[Stored, ...]:
    found: dict[str, Stored] = {}
    for include in query.includes:
        more = _reverse(tx, viewer, include, matches) if include.reverse else _forward(tx, viewer, include, matches)
        found |= {one.ref: one for one in more if not one.deleted}
    own = {one.ref for one in matches}
    return tuple(one for ref, one in found.items() if ref not in own)[:MOST_INCLUDED]


def _forward(tx: Tx, viewer: Viewer, include: Include, matches: Sequence[Stored]) -> Iterable[Stored]:
    values = [extract(read_json(match.body.encode())) for match in matches]
    targets = {
        f"{row.type}/{row.id}"
        for one in values
        for row in one.references
        if row.param == include.param and row.id and not row.url and include.target in {None, row.type}
    }
    return resources.find_many(tx, viewer, sorted(targets)[:MOST_INCLUDED]).values()


def _reverse(tx: Tx, viewer: Viewer, include: Include, matches: Sequence[Stored]) -> Iterable[Stored]:
    wanted = [one.ref for one in matches if include.target in {None, one.type}]
    keys = [reference_key(include.source, include.param, ref) for ref in wanted]
    referring = select(ix.c.k).where(ix.c.h.in_(keys)).order_by(ix.c.k.desc()).limit(MOST_INCLUDED)
    chosen = select(resource).where(resource.c.k.in_(referring), ~resource.c.deleted, row_scope(viewer, resource))
    return [from_row(Stored, row) for row in tx.rows(chosen.order_by(resource.c.k.desc()))]
