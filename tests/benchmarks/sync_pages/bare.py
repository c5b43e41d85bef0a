"""The bare database: the same rows put into the same tables, page by page, by the driver alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

import psycopg
from sqlalchemy import Table, func, select

from fhir_tracker.storage.database import Database
from fhir_tracker.storage.tables import change, ix, ixd, ixn, ixs, remote_body, resource, resource_version
from fhir_tracker.storage.work_tables import event, patient_summary, transition, work_item

TABLES = (resource, resource_version, remote_body, change, ix, ixd, ixs, ixn, work_item, transition)
BY_NAME = (event, patient_summary)
Rows = dict[Table, list[tuple[Any, ...]]]


class Copied:
    """Follows a tracker's database, and gives what was added since the last time, as the driver holds it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[Table, Any] = {}

    def fresh(self) -> Rows:
        """Table -> its new rows."""
        found: Rows = {}
        with self._database.read() as tx:
            raw: Any = tx.connection.connection.driver_connection
            for table in (*TABLES, *BY_NAME):
                rows = [tuple(row) for row in raw.execute(f"SELECT * FROM {table.name}{self._since(table)}").fetchall()]
                found[table] = self._unseen(table, rows)
        return found

    def _since(self, table: Table) -> str:
        return "" if table in BY_NAME else f" WHERE {_key(table)} > {self._seen.get(table, -1)}"

    def _unseen(self, table: Table, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        if table in BY_NAME:
            known = self._seen.setdefault(table, set())
            rows = [row for row in rows if row[0] not in known]
            known |= {row[0] for row in rows}
        elif rows:
            at = list(table.c.keys()).index(_key(table))
            self._seen[table] = max(row[at] for row in rows)
            rows.sort(key=lambda row: row[at])
        return rows


class Bare(Protocol):
    """Who puts rows into a database."""

    def put(self, rows: Rows) -> None:
        """In a transaction of its own."""


class BareCopy:
    """psycopg's COPY."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url)

    def put(self, rows: Rows) -> None:
        """One COPY a table, and a commit."""
        with self._connection.cursor() as cursor:
            for table, some in rows.items():
                if some:
                    with cursor.copy(f"COPY {table.name} FROM STDIN".encode()) as copy:
                        for row in some:
                            copy.write_row(row)
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()


class BareMany:
    """sqlite3's executemany, on a connection with the tracker's own pragmas."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, rows: Rows) -> None:
        """One executemany a table, and a commit."""
        with self._database.begin() as tx:
            raw: Any = tx.connection.connection.driver_connection
            for table, some in rows.items():
                if some:
                    places = ", ".join("?" * len(some[0]))
                    raw.executemany(f"INSERT INTO {table.name} VALUES ({places})", some)


def put_in_pages(bare: Bare, rows: Rows, pages: int) -> float:
    """The seconds it takes to put `rows`, a `pages`th of each table in a transaction."""
    parts = [{table: _part(some, number, pages) for table, some in rows.items()} for number in range(pages)]
    begun = time.perf_counter()
    for part in parts:
        bare.put(part)
    return time.perf_counter() - begun


def row_counts(database: Database) -> dict[str, int]:
    """How many rows each table holds; the change log tells of every version there ever was."""
    with database.read() as tx:
        return {table.name: tx.value(select(func.count()).select_from(table)) for table in (*TABLES, *BY_NAME)}


def _part(rows: Sequence[tuple[Any, ...]], number: int, pages: int) -> list[tuple[Any, ...]]:
    size = -(-len(rows) // pages)
    return list(rows[number * size : (number + 1) * size])


def _key(table: Table) -> str:
    return "seq" if table is change else "k"
