"""Many rows of one table in one statement: added unless they are there, or changed by what they are known by."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import BigInteger, Boolean, Float, Integer, Table, Text
from sqlalchemy.types import TypeDecorator

from fhir_tracker.storage.buffer import Row
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.literals import boolean_array, number_array, text_array
from fhir_tracker.storage.slices import slices

_CHUNK = 64
"""How many rows one SQLite statement takes."""


def add_new(
    tx: Tx,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[Row],
    unique: Sequence[str],
    told: str,
    *,
    where: str = "",
) -> set[Any]:
    """Add the rows that nothing is there for by `unique`; the values of column `told` of those that were added.

    Values are as the driver takes them, in the order of `columns`; `where` is that of a partial unique index, as SQL.
    """
    index = f"({_listed(unique)}){f' WHERE {where}' if where else ''}"
    added = _insert(tx, table, columns, rows, f"ON CONFLICT {index} DO NOTHING RETURNING {told}")
    return {row[0] for row in added}


def add_missing(tx: Tx, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Add the rows that are not there already, by whatever makes them unique."""
    _insert(tx, table, columns, rows, "ON CONFLICT DO NOTHING")


def _insert(tx: Tx, table: Table, columns: Sequence[str], rows: Sequence[Row], tail: str) -> list[Sequence[Any]]:
    """Insert rows with the few statements that a database takes; what `tail` returns of them."""
    if not rows:
        return []
    into = f"INSERT INTO {table.name} ({_listed(columns)})"
    if tx.dialect == "postgresql":
        kinds = _kinds(table, tuple(columns))
        arrays = ", ".join(f"unnest(%s::{kind}[])" for kind, _ in kinds)
        return list(tx.run(f"{into} SELECT {arrays} {tail}", _arrays(kinds, rows)))
    line, returned = f"({', '.join(['%s'] * len(columns))})", list[Sequence[Any]]()
    for some in slices(rows, _CHUNK):
        lines = ", ".join([line] * len(some))
        returned += tx.run(f"{into} VALUES {lines} {tail}", tuple(chain.from_iterable(some)))
    return returned


def remove(tx: Tx, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Take away the rows whose `columns` hold the values of one of `rows`; those that are not there do not matter."""
    if not rows:
        return
    if tx.dialect == "postgresql":
        kinds = _kinds(table, tuple(columns))
        arrays = ", ".join(f"%s::{kind}[]" for kind, _ in kinds)
        given = [f"c{number}" for number in range(len(columns))]
        where = " AND ".join(f't."{name}" = d.{value}' for name, value in zip(columns, given, strict=True))
        held = f"unnest({arrays}) AS d({', '.join(given)})"
        tx.run(f"DELETE FROM {table.name} AS t USING {held} WHERE {where}", _arrays(kinds, rows))  # noqa: S608
        return
    where = " AND ".join(f'"{name}" = %s' for name in columns)
    for row in rows:
        tx.run(f"DELETE FROM {table.name} WHERE {where}", row)  # noqa: S608


def change(
    tx: Tx,
    table: Table,
    known_by: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    emptied: Sequence[str] = (),
    only: str = "",
) -> set[Any]:
    """Set `columns` (and `emptied` to nothing) in each row that is there; the first value of `known_by` of those changed.

    A row holds the values of `known_by`, then those of `columns`; `only` is a further condition on the row, as SQL.
    """
    if not rows:
        return set()
    further = f" AND {only}" if only else ""
    cleared = [f'"{name}" = NULL' for name in emptied]
    if tx.dialect == "postgresql":
        return _change_together(tx, table, (tuple(known_by), tuple(columns)), rows, cleared, further)
    sets = ", ".join([*(f'"{name}" = %s' for name in columns), *cleared])
    where = " AND ".join(f'"{name}" = %s' for name in known_by)
    sql = f"UPDATE {table.name} SET {sets} WHERE {where}{further}"  # noqa: S608
    count = len(known_by)
    return {row[0] for row in rows if tx.run_for_count(sql, (*row[count:], *row[:count]))}


def _change_together(
    tx: Tx,
    table: Table,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    rows: Sequence[Row],
    cleared: Sequence[str],
    further: str,
) -> set[Any]:
    known_by, columns = names
    given = [f"k{number}" for number in range(len(known_by))] + [f"c{number}" for number in range(len(columns))]
    kinds = _kinds(table, (*known_by, *columns))
    arrays = ", ".join(f"%s::{kind}[]" for kind, _ in kinds)
    sets = ", ".join([*(f'"{name}" = d.c{number}' for number, name in enumerate(columns)), *cleared])
    where = " AND ".join(f't."{name}" = d.k{number}' for number, name in enumerate(known_by))
    sql = (
        f"UPDATE {table.name} AS t SET {sets} FROM unnest({arrays}) AS d({', '.join(given)}) "  # noqa: S608
        f"WHERE {where}{further} RETURNING d.k0"
    )
    return {row[0] for row in tx.run(sql, _arrays(kinds, rows))}


def _arrays(kinds: Sequence[tuple[str, Any]], rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(literal(column) for (_, literal), column in zip(kinds, zip(*rows, strict=True), strict=True))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


@lru_cache(maxsize=64)
def _kinds(table: Table, names: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
    """For each column its PostgreSQL type, and what makes an array of its values."""
    return tuple(_kind(table, name) for name in names)


def _kind(table: Table, name: str) -> tuple[str, Any]:
    kind = table.c[name].type
    plain = kind.impl if isinstance(kind, TypeDecorator) else kind
    if isinstance(plain, Boolean):
        return "boolean", boolean_array
    if isinstance(plain, Float):
        return "double precision", number_array
    if isinstance(plain, BigInteger | Integer):
        return "bigint", number_array
    if isinstance(plain, Text):
        return "text", text_array
    raise TypeError(f"no array of {kind}")
