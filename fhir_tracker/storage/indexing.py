"""The index rows of one resource, and the writes that bring the index from one version to the next."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from sqlalchemy import Table

from fhir_tracker.fhir.search_rows import (
    CompositeRow,
    DateRow,
    NumberRow,
    Part,
    QuantityRow,
    ReferenceRow,
    SearchValues,
    StringRow,
    TokenRow,
    UriRow,
)
from fhir_tracker.fhir.search_shortcuts import mostly_there, one_system
from fhir_tracker.fhir.search_unions import UNIONS, is_union
from fhir_tracker.storage import many
from fhir_tracker.storage.bulks import IX, IXD, IXN, IXS
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.hashes import (
    COMBINED,
    absence_key,
    parameter_key,
    presence_key,
    reference_key,
    together,
    token_key,
    uri_key,
)
from fhir_tracker.storage.remembering import remembered
from fhir_tracker.storage.tables import ix, ixd, ixn, ixs

LONGEST_TEXT = 256
"""Strings are indexed by their first characters up to here; a search compares no further."""

FARTHEST = 1e307
"""Stands for infinity in the index of numbers."""


class IndexRows(NamedTuple):
    """Rows without their `k`: keys, (key, low, high), (key, folded, exact) and (key, low, high)."""

    keys: frozenset[int] = frozenset()
    dates: frozenset[tuple[int, int, int]] = frozenset()
    strings: frozenset[tuple[int, str, str]] = frozenset()
    numbers: frozenset[tuple[int, float, float]] = frozenset()


def index_rows(type_: str, values: SearchValues) -> IndexRows:
    """What a resource of `type_` with these values puts into the index; unions are found under their parts."""
    unions = UNIONS.get(type_, ())
    found = _Found(type_, [], [], [], [])
    _add_keyed(found, values, unions)
    _add_ranges(found, values, unions)
    for composite in values.composites:
        if composite.param not in unions:
            _add_composite(found, composite)
    _add_combinations(found, values)
    return IndexRows(frozenset(found.keys), frozenset(found.dates), frozenset(found.strings), frozenset(found.numbers))


def _add_keyed(found: _Found, values: SearchValues, unions: Container[str]) -> None:
    type_, keys = found.type, found.keys
    there = {row.param for row in values.tokens}
    there.update([row.param for row in values.references], [row.param for row in values.uris])
    keys += _keys_of_presence(type_, frozenset(there))
    for row in values.tokens:
        if row.param not in unions:
            keys += _kept_keys(type_, row)
    for uri in values.uris:
        keys += _kept_keys(type_, uri)
    for to in values.references:
        keys += part_keys(type_, to.param, to)


@lru_cache(maxsize=4096)
def _keys_of_presence(type_: str, params: frozenset[str]) -> tuple[int, ...]:
    """Whether there is any value is told of what is seldom there, that there is none of what mostly is."""
    there = {param.partition(":")[0] for param in params if not is_union(type_, param)}
    mostly = mostly_there(type_)
    present = [presence_key(type_, param) for param in there - mostly]
    return (*present, *[absence_key(type_, param) for param in mostly - there])


def _add_ranges(found: _Found, values: SearchValues, unions: Container[str]) -> None:
    type_ = found.type
    for date in values.dates:
        found.dates.append((parameter_key(type_, date.param), date.low, date.high))
    for text in values.strings:
        key = parameter_key(type_, text.param)
        found.strings.append((key, text.folded[:LONGEST_TEXT], text.text[:LONGEST_TEXT]))
    for uri in values.uris:
        start = uri.uri[:LONGEST_TEXT]
        found.strings.append((parameter_key(type_, uri.param), start, start))
    for number in values.numbers:
        found.numbers.append((parameter_key(type_, number.param), *_finite(number)))
    for one in values.quantities:
        if one.param not in unions:
            low, high = _finite(one)
            for key in quantity_keys(type_, one.param, one.system, one.code, one.unit):
                found.numbers.append((key, low, high))


@dataclass(slots=True)
class _Found:
    """The rows of one resource as they are found, with repetitions."""

    type: str
    keys: list[int]
    dates: list[tuple[int, int, int]]
    strings: list[tuple[int, str, str]]
    numbers: list[tuple[int, float, float]]


def _finite(row: NumberRow | QuantityRow) -> tuple[float, float]:
    return max(row.low, -FARTHEST), min(row.high, FARTHEST)


def _middle(row: NumberRow) -> float:
    return max(min((row.low + row.high) / 2, FARTHEST), -FARTHEST)


@remembered(32768)
def _kept_keys(type_: str, row: TokenRow | UriRow) -> tuple[int, ...]:
    return part_keys(type_, row.param, row)


def part_keys(type_: str, param: str, row: Part) -> tuple[int, ...]:
    """The keys by which a token, reference or uri can be found; none for other kinds."""
    if isinstance(row, ReferenceRow):
        target = row.url or (f"{row.type}/{row.id}" if row.id else None)
        return (reference_key(type_, param, target),) if target else ()
    if isinstance(row, TokenRow):
        if param.endswith(":of-type"):
            return (token_key(type_, param, row.system, row.code),)
        if one_system(type_, param) is not None:
            return (token_key(type_, param, None, row.code),)
        coded = (token_key(type_, param, None, row.code), token_key(type_, param, row.system or "", row.code))
        return (*coded, token_key(type_, param, row.system, None)) if row.system else coded
    if isinstance(row, UriRow):
        return (uri_key(type_, param, row.uri),)
    return ()


@remembered(8192)
def quantity_keys(type_: str, param: str, system: str | None, code: str | None, unit: str | None) -> tuple[int, ...]:
    """The keys of a quantity: in any unit, by unit text or code, and by system and code."""
    keys = {parameter_key(type_, param)}
    keys |= {token_key(type_, param, None, text) for text in (code, unit) if text}
    if system and code:
        keys.add(token_key(type_, param, system, code))
    return tuple(keys)


def _add_composite(found: _Found, row: CompositeRow) -> None:
    """Parts with keys are joined into one key; one further part by range may follow, or two whole numbers, one a column."""
    ranged = [part for part in row.parts if isinstance(part, DateRow | StringRow | NumberRow | QuantityRow)]
    keyed = tuple([part for part in row.parts if part not in ranged]) if ranged else row.parts
    found.keys.append(presence_key(found.type, row.param))
    match ranged:
        case []:
            found.keys += _composite_keys(found.type, row.param, keyed)
        case [DateRow() as date]:
            found.dates += [(key, date.low, date.high) for key in _composite_keys(found.type, row.param, keyed)]
        case [StringRow() as text]:
            start, exact = text.folded[:LONGEST_TEXT], text.text[:LONGEST_TEXT]
            found.strings += [(key, start, exact) for key in _composite_keys(found.type, row.param, keyed)]
        case [NumberRow() as number]:
            low, high = _finite(number)
            found.numbers += [(key, low, high) for key in _composite_keys(found.type, row.param, keyed)]
        case [NumberRow() as first, NumberRow() as second]:
            middles = (_middle(first), _middle(second))
            found.numbers += [(key, *middles) for key in _composite_keys(found.type, row.param, keyed)]
        case [QuantityRow() as amount]:
            low, high = _finite(amount)
            unit = (amount.system, amount.code, amount.unit)
            found.numbers += [(key, low, high) for key in _measured_keys(found.type, row.param, keyed, unit)]


@remembered(8192)
def _composite_keys(type_: str, param: str, parts: tuple[Part, ...]) -> tuple[int, ...]:
    chosen = product(*(part_keys(type_, param, part) for part in parts))
    return tuple(joined(type_, param, keys) for keys in chosen)


@remembered(8192)
def _measured_keys(
    type_: str, param: str, parts: tuple[Part, ...], unit: tuple[str | None, str | None, str | None]
) -> tuple[int, ...]:
    keys = _composite_keys(type_, param, parts)
    return tuple(together(key, one) for key in keys for one in quantity_keys(type_, param, *unit))


def joined(type_: str, param: str, keys: Iterable[int]) -> int:
    """One key for the keyed parts of a composite, in order."""
    result = parameter_key(type_, param)
    for key in keys:
        result = together(result, key)
    return result


def _add_combinations(found: _Found, values: SearchValues) -> None:
    type_ = found.type
    if type_ not in COMBINED:
        return
    common, partners, date = COMBINED[type_]
    firsts = [token_key(type_, common, None, row.code) for row in values.tokens if row.param == common]
    seconds = _partner_keys(type_, partners, values)
    found.keys += [together(first, second) for first, second in product(firsts, seconds)]
    ranges = [row for row in values.dates if row.param == date]
    found.dates += [
        (together(first, parameter_key(type_, date)), row.low, row.high) for first, row in product(firsts, ranges)
    ]


def _partner_keys(type_: str, partners: Sequence[str], values: SearchValues) -> set[int]:
    rows: list[TokenRow | ReferenceRow] = [*values.tokens, *values.references]
    return {key for row in rows if row.param in partners for key in part_keys(type_, row.param, row)[:2]}


def add_index(tx: Tx, k: int, rows: IndexRows) -> None:
    """Add the rows of a resource that has none yet."""
    added = tx.added
    added.add_all(IX, [(h, k) for h in rows.keys])
    if rows.dates:
        added.add_all(IXD, [(h, low, k, high) for h, low, high in rows.dates])
    if rows.strings:
        added.add_all(IXS, [(h, folded, k, exact) for h, folded, exact in rows.strings])
    if rows.numbers:
        added.add_all(IXN, [(h, low, k, high) for h, low, high in rows.numbers])


def write_index(tx: Tx, k: int, before: IndexRows, after: IndexRows) -> None:
    """Take away the rows of `before` that are not in `after`, and add the new ones."""
    changes = IndexChanges()
    changes.add(k, before, after)
    changes.write(tx)


@dataclass
class IndexChanges:
    """What the index is to lose and get for many resources, by table."""

    gone: dict[Table, list[tuple[object, ...]]] = field(default_factory=dict)
    fresh: dict[Table, list[tuple[object, ...]]] = field(default_factory=dict)
    _names: dict[Table, tuple[str, ...]] = field(default_factory=dict)

    def add(self, k: int, before: IndexRows, after: IndexRows) -> None:
        """One more resource."""
        for table, names, old, new in _by_table(before, after):
            self._names[table] = names
            self.gone.setdefault(table, []).extend((*row, k) for row in old - new)
            self.fresh.setdefault(table, []).extend((*row, k) for row in sorted(new - old))

    def write(self, tx: Tx) -> None:
        """Do it all."""
        for table, names in self._names.items():
            many.remove(tx, table, (*names, "k"), self.gone[table])
            many.add_missing(tx, table, (*names, "k"), self.fresh[table])


def _by_table(
    before: IndexRows, after: IndexRows
) -> Iterator[tuple[Table, tuple[str, ...], frozenset[tuple[object, ...]], frozenset[tuple[object, ...]]]]:
    yield ix, ("h",), frozenset((h,) for h in before.keys), frozenset((h,) for h in after.keys)
    yield ixd, ("h", "lo", "hi"), before.dates, after.dates
    yield ixs, ("h", "v", "exact"), before.strings, after.strings
    yield ixn, ("h", "lo", "hi"), before.numbers, after.numbers
