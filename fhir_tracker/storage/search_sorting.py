"""What search results are sorted by, and where in that order a page begins.

Of few matches the values are read from their bodies. Of many, dates, texts, numbers and codes of a closed list are sorted by the
index; other tokens and references keep no sortable text there and are read from up to MOST_READ matches.

https://hl7.org/fhir/R4/search.html#sort
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, ColumnElement, Select, Subquery, and_, case, func, or_, select, type_coerce
from sqlalchemy.engine import RowMapping

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.definitions.registry import value_set
from fhir_tracker.fhir.expressions import compile_expression
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.query import SortKey
from fhir_tracker.fhir.search_rows import (
    DateRow,
    NumberRow,
    Part,
    QuantityRow,
    ReferenceRow,
    StringRow,
    TokenRow,
    UriRow,
)
from fhir_tracker.fhir.search_unions import parts_of
from fhir_tracker.fhir.search_values import extract_some
from fhir_tracker.storage.conditions import Types
from fhir_tracker.storage.hashes import parameter_key, token_key
from fhir_tracker.storage.indexing import FARTHEST, LONGEST_TEXT
from fhir_tracker.storage.page_cursor import PageCursor, SortValue
from fhir_tracker.storage.tables import ix, ixd, ixn, ixs, resource

MOST_READ = 20_000
"""How many matches are sorted by what stands in their text."""
MOST_CODES = 40
_FAR = 1 << 62
_COLUMNS: dict[str, Column[Any]] = {
    "date": ixd.c.lo,
    "string": ixs.c.v,
    "uri": ixs.c.v,
    "number": ixn.c.lo,
    "quantity": ixn.c.lo,
}
_TEXTS = frozenset({"id", "string", "uri", "token", "reference"})
_LAST = "\U0010ffff"


class Sorting:
    """The criteria of one search over `types`; with `few` their values are read from the bodies of the matches."""

    def __init__(self, types: Types, keys: tuple[SortKey, ...], *, few: bool = False) -> None:
        self.types = types
        self.keys = keys
        self._read = [not _is_column(one) and (few or _has_no_index(types, one)) for one in keys]
        self._joined = {
            number: _extremes(types, one, number)
            for number, one in enumerate(keys)
            if not _is_column(one) and not self._read[number]
        }
        self._values = [None if read else self._value(number) for number, read in enumerate(self._read)]

    @property
    def is_rising(self) -> bool:
        """Whether resources with equal sort values come oldest first: as the last criterion runs, so that one index gives both."""
        return bool(self.keys) and not self.keys[-1].descending

    @property
    def reads_bodies(self) -> bool:
        """Whether some criterion is read from bodies."""
        return any(self._read)

    def on(self, chosen: Select[Any]) -> Select[Any]:
        """`chosen` (from `resource`) with `sort_0`, `sort_1`, ... for the criteria that are not read from bodies."""
        columns = [value.label(f"sort_{number}") for number, value in enumerate(self._values) if value is not None]
        chosen = chosen.add_columns(*columns)
        for joined in self._joined.values():
            chosen = chosen.outerjoin(joined, joined.c.k == resource.c.k)
        return chosen

    def order(self, k: ColumnElement[int], *, back: bool = False) -> list[ColumnElement[Any]]:
        """What to order a statement by, the other way round with `back`; only without `reads_bodies`."""
        pairs = [(one, value) for one, value in zip(self.keys, self._values, strict=True) if value is not None]
        order = [value.desc() if one.descending != back else value.asc() for one, value in pairs]
        return [*order, k.asc() if self.is_rising != back else k.desc()]

    def beyond(self, page: PageCursor, k: ColumnElement[int]) -> ColumnElement[bool]:
        """The condition of coming after the place of `page`, or before it as it says; raises Incorrect for other values."""
        self.check(page)
        ways: list[ColumnElement[bool]] = []
        same: list[ColumnElement[bool]] = []
        for one, key, value in zip(self.keys, self._values, page.values, strict=True):
            if key is not None:
                ways.append(and_(*same, key < value if one.descending != page.back else key > value))
                same.append(key == value)
        return or_(*ways, and_(*same, k > page.k if self.is_rising != page.back else k < page.k))

    def values(self, row: RowMapping) -> tuple[SortValue, ...]:
        """The sort values of a row of `on`, with `body` where bodies are read."""
        wanted = [one for one, read in zip(self.keys, self._read, strict=True) if read]
        found = _read_values(self.types, row["body"], wanted) if wanted else {}
        return tuple(
            _chosen(found.get(one.param, ()), one) if self._read[number] else row[f"sort_{number}"]
            for number, one in enumerate(self.keys)
        )

    def arranged(self, found: Sequence[tuple[tuple[SortValue, ...], int]]) -> list[tuple[tuple[SortValue, ...], int]]:
        """Pairs of sort values and `k` in their order."""
        pairs = sorted(found, key=lambda pair: pair[1], reverse=not self.is_rising)
        for number in reversed(range(len(self.keys))):
            pairs.sort(key=lambda pair: pair[0][number], reverse=self.keys[number].descending)
        return pairs

    def after(self, page: PageCursor, values: tuple[SortValue, ...], k: int) -> bool:
        """Whether a row with these values comes after the place of `page`, or before it as it says."""
        self.check(page)
        for one, value, last in zip(self.keys, values, page.values, strict=True):
            if value != last:
                return bool(value < last if one.descending != page.back else value > last)  # type: ignore[operator]
        return k > page.k if self.is_rising != page.back else k < page.k

    def check(self, page: PageCursor) -> None:
        """Raise Incorrect where the values of `page` are not of this sort."""
        kinds = [str if one.type in _TEXTS else int | float for one in self.keys]
        fits = [isinstance(value, kind) for value, kind in zip(page.values, kinds, strict=False)]
        if len(page.values) != len(kinds) or not all(fits):
            raise Incorrect("The page link belongs to another search.")

    def _value(self, number: int) -> ColumnElement[Any]:
        """What to sort by, never NULL: resources without a value come last in either direction."""
        key = self.keys[number]
        if key.type == "id":
            return resource.c.id
        if key.type == "instant":
            return type_coerce(resource.c.updated_at, BigInteger)
        return func.coalesce(self._joined[number].c.extreme, absent(key))


def _is_column(key: SortKey) -> bool:
    return key.type in {"id", "instant"}


def _has_no_index(types: Types, key: SortKey) -> bool:
    return key.type == "reference" or (key.type == "token" and not _codes(types, key.param))


def _extremes(types: Types, key: SortKey, number: int) -> Subquery:
    """Each resource with its smallest or largest value, found by one pass over the index."""
    if key.type == "token":
        codes = {token_key(types[0], key.param, None, code): code for code in _codes(types, key.param)}
        table = ix
        column: ColumnElement[Any] = case(codes, value=ix.c.h)
        keys = list(codes)
    else:
        table, column = _COLUMNS[key.type].table, _COLUMNS[key.type]
        keys = [parameter_key(type_, part) for type_ in types for part in parts_of(type_, key.param)]
    extreme = func.max(column) if key.descending else func.min(column)
    under = table.c.h == keys[0] if len(keys) == 1 else table.c.h.in_(keys)
    return select(table.c.k, extreme.label("extreme")).where(under).group_by(table.c.k).subquery(f"sorted_{number}")


@cache
def _codes(types: Types, param: str) -> tuple[str, ...]:
    """The codes, in order, of a parameter that has one of a closed list; none for any other, and for several types."""
    if len(types) != 1:
        return ()
    paths = compile_expression(parameters_of(types[0])[param].expression, types[0])
    if len(paths) != 1 or len(paths[0].hops) != 1 or paths[0].type != "code" or not paths[0].codes:
        return ()
    codes = sorted({code for listed in value_set(paths[0].codes).values() for code in listed})
    return tuple(codes) if len(codes) <= MOST_CODES else ()


def absent(key: SortKey) -> SortValue:
    """What stands for the value of a resource that has none: it comes last."""
    if key.type in _TEXTS:
        return "" if key.descending else _LAST
    if key.type == "date":
        return -_FAR - 1 if key.descending else _FAR + 1
    return -1e308 if key.descending else 1e308


def _read_values(types: Types, body: str, keys: Sequence[SortKey]) -> dict[str, list[SortValue]]:
    """Parameter -> its values in a resource, each as the index has it."""
    exact = any(one.type in {"number", "quantity"} for one in keys)
    parsed = read_json(body.encode()) if exact else msgspec.json.decode(body)
    closed = {one.param: _codes(types, one.param) for one in keys if one.type == "token"}
    found: dict[str, list[SortValue]] = {}
    for row in extract_some(parsed, frozenset(one.param for one in keys)):
        value = _indexed(row)
        if not closed.get(row.param) or value in closed[row.param]:
            found.setdefault(row.param, []).append(value)
    return found


def _indexed(row: Part) -> SortValue:
    match row:
        case TokenRow():
            return row.code
        case ReferenceRow():
            return row.url or f"{row.type}/{row.id}"
        case UriRow():
            return row.uri[:LONGEST_TEXT]
        case StringRow():
            return row.folded[:LONGEST_TEXT]
        case DateRow():
            return row.low
        case NumberRow() | QuantityRow():
            return max(row.low, -FARTHEST)


def _chosen(values: Sequence[SortValue], key: SortKey) -> SortValue:
    if not values:
        return absent(key)
    return max(values) if key.descending else min(values)
