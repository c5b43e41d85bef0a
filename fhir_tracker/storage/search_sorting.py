"""What search results are sorted by, and where in that order a page begins.

Dates, texts, numbers and codes of a closed list are sorted by the index. Other tokens and references keep no sortable
text there: they are read from the resources that match, of which there may be MOST_READ.

https://hl7.org/fhir/R4/search.html#sort
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, and_, case, exists, func, or_, select, type_coerce
from sqlalchemy.engine import RowMapping

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.definitions.registry import value_set
from fhir_tracker.fhir.expressions import compile_expression
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.query import SortKey
from fhir_tracker.fhir.search_rows import ReferenceRow, TokenRow
from fhir_tracker.fhir.search_values import extract_some
from fhir_tracker.storage.conditions import Types
from fhir_tracker.storage.hashes import parameter_key, token_key
from fhir_tracker.storage.page_cursor import PageCursor, SortValue
from fhir_tracker.storage.tables import ix, ixd, ixn, ixs, resource

MOST_READ = 20_000
"""How many matches are sorted by what stands in their text."""
MOST_CODES = 40
_FAR = 1 << 62
_TABLES = {"date": ixd.c.lo, "string": ixs.c.v, "uri": ixs.c.v, "number": ixn.c.lo, "quantity": ixn.c.lo}
_TEXTS = frozenset({"id", "string", "uri", "token", "reference"})
_LAST = "\U0010ffff"


@dataclass(frozen=True, kw_only=True)
class Sorting:
    """The criteria of one search over `types`."""

    types: Types
    keys: tuple[SortKey, ...]

    @property
    def is_rising(self) -> bool:
        """Whether resources with equal sort values come oldest first: as the last criterion runs, so that one index gives both."""
        return bool(self.keys) and not self.keys[-1].descending

    @property
    def reads_bodies(self) -> bool:
        """Whether some criterion is not in the index."""
        return any(_is_read(self.types, one) for one in self.keys)

    def columns(self) -> list[ColumnElement[Any]]:
        """`sort_0`, `sort_1`, ... for the criteria that are in the index."""
        known = [(number, one) for number, one in enumerate(self.keys) if not _is_read(self.types, one)]
        return [_value(self.types, one).label(f"sort_{number}") for number, one in known]

    def order(self, k: ColumnElement[int]) -> list[ColumnElement[Any]]:
        """What to order a statement by; only without `reads_bodies`."""
        values = [_value(self.types, one) for one in self.keys]
        order = [value.desc() if one.descending else value.asc() for one, value in zip(self.keys, values, strict=True)]
        return [*order, k.asc() if self.is_rising else k.desc()]

    def beyond(self, page: PageCursor, k: ColumnElement[int]) -> ColumnElement[bool]:
        """The condition of coming after the end of an earlier page; raises Incorrect for a cursor of other values."""
        self._check(page)
        ways: list[ColumnElement[bool]] = []
        same: list[ColumnElement[bool]] = []
        for one, value in zip(self.keys, page.values, strict=True):
            key = _value(self.types, one)
            ways.append(and_(*same, key < value if one.descending else key > value))
            same.append(key == value)
        return or_(*ways, and_(*same, k > page.k if self.is_rising else k < page.k))

    def values(self, row: RowMapping) -> tuple[SortValue, ...]:
        """The sort values of a row with `columns` and, where bodies are read, `body`."""
        read = [one.param for one in self.keys if _is_read(self.types, one)]
        texts = _texts(row["body"], frozenset(read)) if read else {}
        return tuple(
            _chosen(texts.get(one.param, ()), one) if _is_read(self.types, one) else row[f"sort_{number}"]
            for number, one in enumerate(self.keys)
        )

    def arranged(self, found: Sequence[tuple[tuple[SortValue, ...], int]]) -> list[tuple[tuple[SortValue, ...], int]]:
        """Pairs of sort values and `k` in their order."""
        pairs = sorted(found, key=lambda pair: pair[1], reverse=not self.is_rising)
        for number in reversed(range(len(self.keys))):
            pairs.sort(key=lambda pair: pair[0][number], reverse=self.keys[number].descending)
        return pairs

    def after(self, page: PageCursor, values: tuple[SortValue, ...], k: int) -> bool:
        """Whether a row with these values comes after the end of an earlier page."""
        self._check(page)
        for one, value, last in zip(self.keys, values, page.values, strict=True):
            if value != last:
                return bool(value < last if one.descending else value > last)  # type: ignore[operator]
        return k > page.k if self.is_rising else k < page.k

    def _check(self, page: PageCursor) -> None:
        kinds = [str if one.type in _TEXTS else int | float for one in self.keys]
        fits = [isinstance(value, kind) for value, kind in zip(page.values, kinds, strict=False)]
        if len(page.values) != len(kinds) or not all(fits):
            raise Incorrect("The page link belongs to another search.")


def _is_read(types: Types, key: SortKey) -> bool:
    return key.type == "reference" or (key.type == "token" and not _codes(types, key.param))


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


def _value(types: Types, key: SortKey) -> ColumnElement[Any]:
    """What to sort by, never NULL: resources without a value come last in either direction."""
    if key.type == "id":
        return resource.c.id
    if key.type == "instant":
        return type_coerce(resource.c.updated_at, BigInteger)
    if key.type == "token":
        return _code_value(types, key)
    column: ColumnElement[Any] = _TABLES[key.type]
    table = column.table
    extreme = func.max(column) if key.descending else func.min(column)
    keys = [parameter_key(type_, key.param) for type_ in types]
    under = table.c.h == keys[0] if len(keys) == 1 else table.c.h.in_(keys)
    own = select(extreme).where(under, table.c.k == resource.c.k)
    return func.coalesce(own.correlate(resource).scalar_subquery(), _absent(key))


def _code_value(types: Types, key: SortKey) -> ColumnElement[Any]:
    ways = [
        (
            exists()
            .where(ix.c.h == token_key(types[0], key.param, None, code), ix.c.k == resource.c.k)
            .correlate(resource),
            code,
        )
        for code in _codes(types, key.param)
    ]
    return case(*ways, else_=_absent(key))


def _absent(key: SortKey) -> SortValue:
    if key.type in _TEXTS:
        return "" if key.descending else _LAST
    if key.type == "date":
        return -_FAR - 1 if key.descending else _FAR + 1
    return -1e308 if key.descending else 1e308


def _texts(body: str, params: frozenset[str]) -> dict[str, list[str]]:
    """Parameter -> its codes and references in a resource."""
    found: dict[str, list[str]] = {}
    for row in extract_some(msgspec.json.decode(body), params):
        if isinstance(row, TokenRow):
            found.setdefault(row.param, []).append(row.code)
        elif isinstance(row, ReferenceRow):
            found.setdefault(row.param, []).append(row.url or f"{row.type}/{row.id}")
    return found


def _chosen(texts: Sequence[str], key: SortKey) -> SortValue:
    present = [one for one in texts if one]
    if not present:
        return _absent(key)
    return max(present) if key.descending else min(present)
