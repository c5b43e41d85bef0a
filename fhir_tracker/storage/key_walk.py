"""Plain searches answered by one or two statements kept as text: a walk along one index key, the others probed.

Takes what is an AND of keys (token, reference, uri, `_id`), newest first; everything else is for the general way, which
gives the same answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import NamedTuple

from fhir_tracker.fhir.query import Filter, Query
from fhir_tracker.fhir.query_values import TokenValue
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.conditions import combined, filter_keys, is_positive
from fhir_tracker.storage.glance import Glance
from fhir_tracker.storage.page_cursor import PageCursor
from fhir_tracker.storage.scope import confined_to, led_by, row_scope_text

MOST_ROWS = 200
"""A larger page is not for those who answer many callers in turn."""
MOST_KEYS = 20
SHORT = 2000
"""Where several keys must hold, the walk goes along one with up to so many entries."""
_NEWEST = PageCursor(query="", values=(), k=1 << 62)
_SHOWN = "r.k, r.type, r.id, r.body, r.patient"
_READ = frozenset(
    {"type", "types", "own_base", "filters", "count", "applied", "ignored", "summary", "elements", "total"}
)
_READ_OF_FILTER = frozenset({"param", "type", "values", "modifier"})

Condition = tuple[str, list[object]]


class Hit(NamedTuple):
    """What a page shows of one match."""

    k: int
    type: str
    id: str
    body: str
    patient: str | None = None

    @property
    def ref(self) -> str:
        """`Type/id`."""
        return f"{self.type}/{self.id}"


class _Plan(NamedTuple):
    """Any of each of `keys` must hold, and one of `ids` where it is not None."""

    keys: tuple[tuple[int, ...], ...]
    ids: tuple[str, ...] | None


def matches(tx: Glance, viewer: Viewer, query: Query, page: PageCursor | None) -> list[Hit] | None:
    """Up to one row more than a page of `query` has, newest first; None when it takes the general way.

    Of a page read backward the first row is the one too many.
    """
    plan = _plan(query)
    if plan is None or (page is not None and page.values):
        return None
    start = page or _NEWEST
    if viewer.sight.is_bounded or led_by(viewer, "s", (query.type,)):
        return None
    if plan.ids is not None or not plan.keys or confined_to(viewer, "s", (query.type,)) is not None:
        found = _among_resources(tx, viewer, query, plan, start)
    else:
        lead = _lead(tx, plan.keys)
        if lead is None:
            return None
        found = _along(tx, viewer, query, lead, [keys for keys in plan.keys if keys is not lead], start)
    return list(map(Hit._make, found))


def _plan(query: Query) -> _Plan | None:
    if query.count > MOST_ROWS or not _is_plain(query, _QUERY_DEFAULTS) or query.total not in {None, "none"}:
        return None
    if not query.type or query.types not in {(), (query.type,)}:
        return None
    if not all(_is_plain(one, _FILTER_DEFAULTS) for one in query.filters):
        return None
    named = [one for one in query.filters if one.type == "id"]
    if len(named) > 1 or any(one.modifier for one in named):
        return None
    ids = tuple(value.code or "" for value in named[0].values if isinstance(value, TokenValue)) if named else None
    keys = _keys((query.type,), [one for one in query.filters if one.type != "id"])
    return None if keys is None else _Plan(keys=keys, ids=ids)


def _keys(types: tuple[str, ...], filters: Sequence[Filter]) -> tuple[tuple[int, ...], ...] | None:
    if not all(map(is_positive, filters)):
        return None
    key, rest = combined(types, filters)
    keys: list[tuple[int, ...]] = [(key,)] if key is not None else []
    for one in rest:
        found = filter_keys(types, one)
        if not found or len(found) > MOST_KEYS:
            return None
        keys.append(tuple(sorted(set(found))))
    return tuple(keys)


def _lead(tx: Glance, keys: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """The shortest of the lists; None when none is short enough to walk it to its end."""
    if len(keys) == len(keys[0]) == 1:
        return keys[0]
    counts: list[str] = []
    values: list[object] = []
    for some in keys:
        condition, given = _in_keys(tx, "a", some)
        counts.append(f"(SELECT count(*) FROM (SELECT 1 FROM ix a WHERE {condition} LIMIT {SHORT + 1}) counted)")  # noqa: S608
        values += given
    (row,) = tx.select(f"SELECT {', '.join(counts)}", values)
    shortest = min(range(len(keys)), key=lambda number: int(row[number]))
    return keys[shortest] if row[shortest] <= SHORT else None


def _along(
    tx: Glance,
    viewer: Viewer,
    query: Query,
    lead: tuple[int, ...],
    others: Sequence[tuple[int, ...]],
    start: PageCursor,
) -> Sequence[tuple[object, ...]]:
    """The limit is inside, over the index alone, so that no more bodies are read than are shown."""
    condition, values = _in_keys(tx, "a", lead)
    scope, scoped = row_scope_text(viewer, "s", tx.dialect, right="s", types=(query.type,))
    inside = f" AND EXISTS (SELECT 1 FROM resource s WHERE s.k = a.k{scope}{_fence(tx)})" if scope else ""  # noqa: S608
    probes, probed = _probes(tx, "a.k", others)
    distinct = "DISTINCT " if len(lead) > 1 else ""
    side, order = _direction(start)
    sql = (
        f"SELECT {_SHOWN} FROM (SELECT {distinct}a.k FROM ix a WHERE {condition} AND a.k {side} {_number(tx)}{inside}{probes}"  # noqa: S608
        f" ORDER BY a.k {order} LIMIT {query.count + 1}) w JOIN resource r ON r.k = w.k AND NOT r.deleted ORDER BY r.k DESC"
    )
    return tx.select(sql, [*values, _said(tx, start.k), *scoped, *probed])


def _among_resources(
    tx: Glance, viewer: Viewer, query: Query, plan: _Plan, start: PageCursor
) -> Sequence[tuple[object, ...]]:
    conditions, values = "", list[object]()
    if plan.ids is not None:
        some, values = tx.any_of("r.id", plan.ids)
        conditions = f" AND {some}"
    scope, scoped = row_scope_text(viewer, "r", tx.dialect, right="s", types=(query.type,))
    probes, probed = _probes(tx, "r.k", plan.keys)
    side, order = _direction(start)
    sql = (
        f"SELECT {_SHOWN} FROM resource r WHERE r.type = %s AND NOT r.deleted{conditions} AND r.k {side} {_number(tx)}"  # noqa: S608
        f"{scope}{probes} ORDER BY r.k {order} LIMIT {query.count + 1}"
    )
    rows = tx.select(sql, [query.type, *values, _said(tx, start.k), *scoped, *probed])
    return rows[::-1] if start.back else rows


def _direction(start: PageCursor) -> tuple[str, str]:
    """Where the rows of a page lie, and how they are read from its start on."""
    return (">", "ASC") if start.back else ("<", "DESC")


def _probes(tx: Glance, k: str, keys: Sequence[tuple[int, ...]]) -> Condition:
    text, values = "", list[object]()
    for some in keys:
        condition, given = _in_keys(tx, "p", some)
        text += f" AND EXISTS (SELECT 1 FROM ix p WHERE {condition} AND p.k = {k}{_fence(tx)})"  # noqa: S608
        values += given
    return text, values


def _in_keys(tx: Glance, alias: str, keys: Sequence[int]) -> Condition:
    return f"{alias}.h IN ({', '.join([_number(tx)] * len(keys))})", [_said(tx, key) for key in keys]


def _fence(tx: Glance) -> str:
    """Keeps PostgreSQL from making the probe a join."""
    return " OFFSET 0" if tx.dialect == "postgresql" else ""


def _number(tx: Glance) -> str:
    """The place of a number, always of one type: psycopg's own choice by size would prepare a statement for each."""
    return "%s::bigint" if tx.dialect == "postgresql" else "%s"


def _said(tx: Glance, number: int) -> object:
    return str(number) if tx.dialect == "postgresql" else number


def _defaults(kind: type[Query | Filter], read: frozenset[str]) -> tuple[tuple[str, object], ...]:
    """What every field not read here must hold: one that is added to searches later takes the general way."""
    return tuple(
        (one.name, one.default if one.default is not MISSING else None) for one in fields(kind) if one.name not in read
    )


def _is_plain(value: Query | Filter, defaults: Sequence[tuple[str, object]]) -> bool:
    return all(getattr(value, name) == default for name, default in defaults)


_QUERY_DEFAULTS = _defaults(Query, _READ)
_FILTER_DEFAULTS = _defaults(Filter, _READ_OF_FILTER)
