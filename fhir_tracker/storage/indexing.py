"""The index rows of one resource, and the writes that bring the index from one version to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from sqlalchemy import Delete, Table, bindparam, delete

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
from fhir_tracker.storage.bulks import IX, IXD, IXN, IXS
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.hashes import (
    COMBINED,
    parameter_key,
    presence_key,
    reference_key,
    together,
    token_key,
    uri_key,
)
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
    """What a resource of `type_` with these values puts into the index."""
    keyed: list[TokenRow | ReferenceRow | UriRow] = [*values.tokens, *values.references, *values.uris]
    params = {row.param.partition(":")[0] for row in keyed} | {row.param for row in values.composites}
    keys = {key for row in keyed for key in part_keys(type_, row.param, row)}
    keys |= {presence_key(type_, param) for param in params}
    dates = {(parameter_key(type_, row.param), row.low, row.high) for row in values.dates}
    strings = {
        (parameter_key(type_, row.param), row.folded[:LONGEST_TEXT], row.text[:LONGEST_TEXT]) for row in values.strings
    }
    strings |= {
        (parameter_key(type_, row.param), row.uri[:LONGEST_TEXT], row.uri[:LONGEST_TEXT]) for row in values.uris
    }
    numbers = {(parameter_key(type_, row.param), row.low, row.high) for row in values.numbers}
    numbers |= {(key, row.low, row.high) for row in values.quantities for key in quantity_keys(type_, row.param, row)}
    for row in values.composites:
        _add_composite(type_, row, keys, dates, strings, numbers)
    _add_combinations(type_, values, keys, dates)
    finite = frozenset((key, max(low, -FARTHEST), min(high, FARTHEST)) for key, low, high in numbers)
    return IndexRows(frozenset(keys), frozenset(dates), frozenset(strings), finite)


@lru_cache(maxsize=32768)
def part_keys(type_: str, param: str, row: Part) -> tuple[int, ...]:
    """The keys by which a token, reference or uri can be found; none for other kinds."""
    if isinstance(row, TokenRow) and param.endswith(":of-type"):
        return (token_key(type_, param, row.system, row.code),)
    if isinstance(row, TokenRow):
        coded = (token_key(type_, param, None, row.code), token_key(type_, param, row.system or "", row.code))
        return (*coded, token_key(type_, param, row.system, None)) if row.system else coded
    if isinstance(row, ReferenceRow):
        target = row.url or (f"{row.type}/{row.id}" if row.id else None)
        return (reference_key(type_, param, target),) if target else ()
    if isinstance(row, UriRow):
        return (uri_key(type_, param, row.uri),)
    return ()


def quantity_keys(type_: str, param: str, row: QuantityRow) -> tuple[int, ...]:
    """The keys of a quantity: in any unit, by unit text or code, and by system and code."""
    keys = {parameter_key(type_, param)}
    keys |= {token_key(type_, param, None, unit) for unit in (row.code, row.unit) if unit}
    if row.system and row.code:
        keys.add(token_key(type_, param, row.system, row.code))
    return tuple(keys)


def _add_composite(
    type_: str,
    row: CompositeRow,
    keys: set[int],
    dates: set[tuple[int, int, int]],
    strings: set[tuple[int, str, str]],
    numbers: set[tuple[int, float, float]],
) -> None:
    """Parts with keys are joined into one key; one further part by range may follow, or two whole numbers, one a column."""
    ranged = [part for part in row.parts if isinstance(part, DateRow | StringRow | NumberRow | QuantityRow)]
    keyed = [part_keys(type_, row.param, part) for part in row.parts if part not in ranged]
    for chosen in product(*keyed):
        key = joined(type_, row.param, chosen)
        match ranged:
            case []:
                keys.add(key)
            case [DateRow() as date]:
                dates.add((key, date.low, date.high))
            case [StringRow() as text]:
                strings.add((key, text.folded[:LONGEST_TEXT], text.text[:LONGEST_TEXT]))
            case [NumberRow() as number]:
                numbers.add((key, number.low, number.high))
            case [NumberRow() as first, NumberRow() as second]:
                numbers.add((key, (first.low + first.high) / 2, (second.low + second.high) / 2))
            case [QuantityRow() as quantity]:
                units = quantity_keys(type_, row.param, quantity)
                numbers |= {(together(key, unit), quantity.low, quantity.high) for unit in units}


def joined(type_: str, param: str, keys: Iterable[int]) -> int:
    """One key for the keyed parts of a composite, in order."""
    result = parameter_key(type_, param)
    for key in keys:
        result = together(result, key)
    return result


def _add_combinations(type_: str, values: SearchValues, keys: set[int], dates: set[tuple[int, int, int]]) -> None:
    if type_ not in COMBINED:
        return
    common, partners, date = COMBINED[type_]
    firsts = [token_key(type_, common, None, row.code) for row in values.tokens if row.param == common]
    seconds = _partner_keys(type_, partners, values)
    keys |= {together(first, second) for first, second in product(firsts, seconds)}
    ranges = [row for row in values.dates if row.param == date]
    dates |= {
        (together(first, parameter_key(type_, date)), row.low, row.high) for first, row in product(firsts, ranges)
    }


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
    for table, names, old, new in _by_table(before, after):
        gone, fresh = old - new, new - old
        if gone:
            tx.execute(_deletion(table, names), [_named(names, row) | {"at_k": k} for row in gone])
        if fresh:
            rows = [dict(zip(names, row, strict=True)) | {"k": k} for row in sorted(fresh)]
            tx.execute(tx.insert(table).on_conflict_do_nothing(), rows)


def _by_table(
    before: IndexRows, after: IndexRows
) -> Iterator[tuple[Table, tuple[str, ...], frozenset[tuple[object, ...]], frozenset[tuple[object, ...]]]]:
    yield ix, ("h",), frozenset((h,) for h in before.keys), frozenset((h,) for h in after.keys)
    yield ixd, ("h", "lo", "hi"), before.dates, after.dates
    yield ixs, ("h", "v", "exact"), before.strings, after.strings
    yield ixn, ("h", "lo", "hi"), before.numbers, after.numbers


def _named(names: tuple[str, ...], row: tuple[object, ...]) -> dict[str, object]:
    return {f"at_{name}": value for name, value in zip(names, row, strict=True)}


def _deletion(table: Table, names: tuple[str, ...]) -> Delete:
    return delete(table).where(*(table.c[name] == bindparam(f"at_{name}") for name in (*names, "k")))
