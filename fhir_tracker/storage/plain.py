"""Statements in the driver's own words on the connection of an open transaction: a tenth of what the layers above cost."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import psycopg
from sqlalchemy import Connection, exc

from fhir_tracker.errors import Fault
from fhir_tracker.storage.prepared import numbered

Row = tuple[Any, ...]
_KEPT = 400
"""How many statements the driver keeps prepared on one connection; they are of few forms."""


class Plain:
    """Runs texts whose values stand as `%s`; who listens hears of them, and what goes wrong is raised, as SQLAlchemy does."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        driver = connection.connection.driver_connection
        if isinstance(driver, psycopg.Connection):
            driver.prepared_max = _KEPT
        elif not isinstance(driver, sqlite3.Connection):
            raise Fault("The database has a driver that nothing is known of.")
        self._driver: psycopg.Connection[Row] | sqlite3.Connection = driver

    def rows(self, sql: str, values: Sequence[object]) -> list[Row]:
        """The rows that a statement gives back."""
        return self._run(sql, values)[0]

    def count(self, sql: str, values: Sequence[object]) -> int:
        """How many rows a statement touched."""
        return self._run(sql, values)[1]

    def _run(self, sql: str, values: Sequence[object]) -> tuple[list[Row], int]:
        for heard in self._connection.dispatch.before_cursor_execute:
            heard(self._connection, None, sql, values, None, False)
        try:
            if isinstance(self._driver, sqlite3.Connection):
                done = self._driver.execute(sql.replace("%s", "?"), values)
                return done.fetchall(), done.rowcount
            with psycopg.RawCursor(self._driver) as cursor:
                cursor.execute(numbered(sql), values, prepare=True, binary=True)
                return cursor.fetchall() if cursor.description else [], cursor.rowcount
        except (sqlite3.Error, psycopg.Error) as error:
            raise self._told(error) from error

    def _told(self, error: sqlite3.Error | psycopg.Error) -> exc.DBAPIError | BaseException:
        lost = isinstance(self._driver, psycopg.Connection) and self._driver.broken
        if lost:
            self._connection.invalidate(error)
        dialect = self._connection.dialect
        base = dialect.loaded_dbapi.Error
        return exc.DBAPIError.instance("", None, error, base, connection_invalidated=lost, dialect=dialect)
