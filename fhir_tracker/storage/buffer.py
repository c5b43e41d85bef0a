"""Rows that a transaction adds, held back and written a table at a time: one statement for hundreds of rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any

import psycopg
from sqlalchemy import BigInteger, Boolean, Connection, Float, Integer, Table, Text, exc
from sqlalchemy.types import TypeDecorator, TypeEngine

from fhir_tracker.errors import Fault, VersionConflict
from fhir_tracker.storage.drivers import Driver
from fhir_tracker.storage.literals import Packed, boolean_array, number_array, packed, packed_texts, text_array

Row = tuple[Any, ...]
"""Values as the driver takes them: moments as microseconds, lists and mappings as JSON text."""

Premise = tuple[str, str]
"""A SELECT of one text, and the text that it has to give where anything is to be written."""
_HOLDS = " WHERE (SELECT holds FROM premise)"
_DOUBLE = "Somebody else wrote the same at the same time."
_KEY = itemgetter(0)
"""Rows of one key of an index lie side by side, in whatever order."""
_CHUNKS = (64, 8, 1)
"""How many rows one SQLite statement takes: few texts to prepare, few calls that let other threads in."""


@dataclass(frozen=True, eq=False)
class Bulk:
    """How rows are added to one table: `columns` name the values of a row in order, `sorted_` puts them in order of their first value.

    `given` are columns that PostgreSQL works out itself, with what SQLite has there instead. Those of `seldom` are not told to
    PostgreSQL while no row has a value there. Who writes rows of `is_watched` is told of them.
    """

    table: Table
    columns: tuple[str, ...]
    sorted_: bool = False
    given: tuple[tuple[str, str, int], ...] = ()
    seldom: frozenset[str] = frozenset()
    is_watched: bool = False

    def postgresql(self, first: int) -> str:
        """One INSERT of arrays, an array a column, which are the values from number `first` on."""
        names = ", ".join(f'"{name}"' for name in (*(one[0] for one in self.given), *self.columns))
        values = "".join(f"{one[1]}, " for one in self.given)
        kinds = [_POSTGRESQL[self._kind(name)] for name in self.columns]
        arrays = ", ".join(f"unnest(${number}::{kind}[])" for number, kind in enumerate(kinds, first))
        return f"INSERT INTO {self.table.name} ({names}) SELECT {values}{arrays}"

    def sqlite(self, rows: int) -> str:
        """One INSERT of `rows` rows."""
        names = ", ".join(f'"{name}"' for name in (*(one[0] for one in self.given), *self.columns))
        line = ", ".join([*(str(one[2]) for one in self.given), *["?"] * len(self.columns)])
        return f"INSERT INTO {self.table.name} ({names}) VALUES {', '.join([f'({line})'] * rows)}"  # noqa: S608

    @cached_property
    def sqlite_texts(self) -> tuple[tuple[int, str], ...]:
        """The statements for each size of chunk."""
        return tuple((size, self.sqlite(size)) for size in _CHUNKS)

    def needed(self, values: Sequence[Sequence[Any]]) -> tuple[Bulk, Sequence[Sequence[Any]]]:
        """What adds rows with these values, given by column, and the values that it takes."""
        if not self.seldom or any(values[at].count(None) != len(values[at]) for at in self._places[1]):
            return self, values
        return self._narrow, [values[at] for at in self._places[0]]

    @cached_property
    def _places(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Where in a row the usual columns are, and where the others."""
        usual = [at for at, name in enumerate(self.columns) if name not in self.seldom]
        return tuple(usual), tuple(at for at in range(len(self.columns)) if at not in usual)

    @cached_property
    def _narrow(self) -> Bulk:
        return Bulk(self.table, tuple(self.columns[at] for at in self._places[0]), self.sorted_, self.given)

    @cached_property
    def literals(self) -> tuple[Callable[[Sequence[Any]], str | Packed], ...]:
        """For each column, what makes a PostgreSQL array of its values."""
        return tuple(self._literal(name) for name in self.columns)

    def _literal(self, name: str) -> Callable[[Sequence[Any]], str | Packed]:
        kind, is_there = self._kind(name), not self.table.c[name].nullable
        if name == "body" and is_there:
            return packed_texts
        return packed if kind is Integer and is_there else _LITERALS[kind]

    def _kind(self, name: str) -> type[TypeEngine[Any]]:
        kind = self.table.c[name].type
        plain = kind.impl if isinstance(kind, TypeDecorator) else kind
        return next(one for one in (Boolean, Float, Integer, Text) if isinstance(plain, one))


@dataclass(frozen=True)
class Mark:
    """A place in what was added, to go back to."""

    total: int
    lengths: dict[Bulk, int]


class WriteBuffer:
    """The rows of one transaction that are not in the database yet."""

    def __init__(self) -> None:
        self._rows: dict[Bulk, list[Row]] = {}
        self._total = 0
        self._written = 0
        self.watched: list[Row] = []
        self.is_broken = False

    def __bool__(self) -> bool:
        return self._total > self._written or self.is_broken

    def add(self, bulk: Bulk, row: Row) -> None:
        """Hold one row back."""
        rows = self._rows.get(bulk)
        if rows is None:
            rows = self._rows[bulk] = []
        rows.append(row)
        self._total += 1

    def add_all(self, bulk: Bulk, rows: Iterable[Row]) -> None:
        """Hold rows back."""
        held = self._rows.setdefault(bulk, [])
        before = len(held)
        held.extend(rows)
        self._total += len(held) - before

    def mark(self) -> Mark:
        """Where it stands now."""
        return Mark(total=self._total, lengths={bulk: len(rows) for bulk, rows in self._rows.items()})

    def can_go_back(self, mark: Mark) -> bool:
        """Whether nothing that was added since `mark` is in the database already."""
        return self._written <= mark.total

    def go_back(self, mark: Mark) -> None:
        """Forget what was added since `mark`; only while `can_go_back` says so."""
        kept = {} if self._written == mark.total else mark.lengths
        for bulk, rows in self._rows.items():
            del rows[kept.get(bulk, 0) :]
        self._total = mark.total

    def write(self, connection: Connection) -> None:
        """Put everything into the database; raises VersionConflict when a row with a unique value of one is there already.

        After an error the rows are lost and `is_broken` says so: nothing of the transaction may be kept.
        """
        driver = connection.connection.driver_connection
        try:
            if isinstance(driver, sqlite3.Connection):
                _to_sqlite(driver, self._taken())
            elif isinstance(driver, psycopg.Connection):
                with psycopg.RawCursor(driver) as cursor:
                    cursor.execute(*self.statement(), prepare=True)
            else:
                raise Fault("The database has a driver that nothing is known of.")
            self.is_broken = False
        except (sqlite3.Error, psycopg.Error) as error:
            if is_lost(driver):
                connection.invalidate(error)
            if is_double(error):
                raise VersionConflict(_DOUBLE) from error
            base = connection.dialect.loaded_dbapi.Error
            raise exc.DBAPIError.instance(
                "", None, error, base, connection_invalidated=is_lost(driver), dialect=connection.dialect
            ) from error

    def write_at_once(self, driver: Driver, premise: Premise | None = None) -> bool:
        """As `write`, to PostgreSQL, as a transaction of its own: one statement, one way there and back.

        False where the premise does not hold and nothing was written.
        """
        try:
            self.is_broken = not driver.run(*self.statement(premise))
            return not self.is_broken
        except Fault as fault:
            if isinstance(fault.__cause__, exc.IntegrityError) and is_double(fault.__cause__.orig):
                raise VersionConflict(_DOUBLE) from fault
            raise

    def statement(self, premise: Premise | None = None) -> tuple[bytes, list[str | Packed]]:
        """Everything as one statement of PostgreSQL, with an array for each column; it counts as written."""
        told = [bulk.needed(list(zip(*some, strict=True))) for bulk, some in self._taken().items()]
        arrays = [
            literal(column) for bulk, columns in told for literal, column in zip(bulk.literals, columns, strict=True)
        ]
        asked, expected = ("", []) if premise is None else (premise[0], [premise[1]])
        return _joined(tuple(bulk for bulk, _ in told), asked), [*expected, *arrays]

    def _taken(self) -> dict[Bulk, list[Row]]:
        if self.is_broken:
            raise Fault("Rows of this transaction could not be written before; it cannot go on.")
        self.is_broken = True
        rows = {bulk: some for bulk, some in self._rows.items() if some}
        self._rows = {}
        self._written = self._total
        for bulk, some in rows.items():
            if bulk.sorted_:
                some.sort(key=_KEY)
            if bulk.is_watched:
                self.watched += some
        return rows


@lru_cache(maxsize=256)
def _joined(bulks: tuple[Bulk, ...], asked: str) -> bytes:
    """One text for the inserts of several tables, which do nothing unless `asked`, if anything is, gives the first value."""
    firsts = accumulate((len(bulk.columns) for bulk in bulks), initial=2 if asked else 1)
    only = _HOLDS if asked else ""
    *before, last = [f"{bulk.postgresql(first)}{only}" for bulk, first in zip(bulks, firsts, strict=False)]
    named = [f"premise AS MATERIALIZED (SELECT ({asked}) = $1::text AS holds)"] if asked else []
    named += [f"i{number} AS ({text})" for number, text in enumerate(before)]
    return f"{'WITH ' if named else ''}{', '.join(named)} {last}".encode()


def is_lost(driver: object) -> bool:
    """Whether the connection to the server is gone."""
    return isinstance(driver, psycopg.Connection) and driver.broken


def is_double(error: object) -> bool:
    """Whether a row with the same unique value is there already."""
    if isinstance(error, sqlite3.IntegrityError):
        return error.sqlite_errorcode in (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
    return isinstance(error, psycopg.errors.UniqueViolation)


def _to_sqlite(driver: sqlite3.Connection, rows: Mapping[Bulk, Sequence[Row]]) -> None:
    for bulk, some in rows.items():
        for sql, values in inserts(bulk, some):
            driver.execute(sql, values).close()


def inserts(bulk: Bulk, rows: Sequence[Row]) -> Iterator[tuple[str, Row]]:
    """The statements of SQLite that add rows to one table, as many at a time as it takes, and their values."""
    start = 0
    for size, sql in bulk.sqlite_texts:
        while len(rows) - start >= size:
            yield sql, tuple(chain.from_iterable(rows[start : start + size]))
            start += size


_POSTGRESQL: dict[type[TypeEngine[Any]], str] = {
    Boolean: "boolean",
    Float: "double precision",
    Integer: "bigint",
    Text: "text",
}
_LITERALS: dict[type[TypeEngine[Any]], Callable[[Sequence[Any]], str]] = {
    Boolean: boolean_array,
    Float: number_array,
    Integer: number_array,
    BigInteger: number_array,
    Text: text_array,
}
