"""Connections of the database driver itself, for the few statements that run thousands of times a second."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from sqlalchemy import Engine, exc

from fhir_tracker.storage.failures import translated

Row = tuple[Any, ...]


class Driver:
    """One connection on which each statement is a transaction of its own; not for two threads at once.

    What the driver raises comes out as the product's own errors.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_postgresql = engine.dialect.name == "postgresql"
        self._error = engine.dialect.loaded_dbapi.Error
        self._connection = self._connect()

    def rows(self, sql: str, values: Sequence[object]) -> Sequence[Row]:
        """The rows of a SELECT whose values stand as `%s`, asked again once when the server went away in between."""
        with self._translated():
            try:
                return self._rows(sql, values)
            except self._error:
                if not self.is_lost:
                    raise
            self._connection = self._connect()
            return self._rows(sql, values)

    def run(self, sql: str | bytes, values: Sequence[object]) -> None:
        """A statement that changes something; PostgreSQL only, as writers of SQLite take turns."""
        if self._has_news():
            self._connection = self._connect()
        with self._translated():
            self._cursor.execute(sql, values, prepare=True)

    def add(self, sql: bytes, values: Sequence[str]) -> None:
        """As `run`, for a long text whose values stand as $1, $2: the driver has nothing to look for in it."""
        if self._has_news():
            self._connection = self._connect()
        with self._translated(), psycopg.RawCursor(self._connection) as cursor:
            cursor.execute(sql, values, prepare=True)

    def _has_news(self) -> bool:
        """Whether the server said something since the last answer, which is mostly that it goes away."""
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        return bool(self._connection.closed or poll.poll(0))

    @property
    def is_lost(self) -> bool:
        """Whether the other end has gone."""
        return self._is_postgresql and bool(self._connection.closed)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _rows(self, sql: str, values: Sequence[object]) -> Sequence[Row]:
        if not self._is_postgresql:
            return cast(Sequence[Row], self._connection.execute(sql.replace("%s", "?"), values).fetchall())
        return cast(Sequence[Row], self._cursor.execute(sql, values, prepare=True).fetchall())

    def _connect(self) -> Any:
        with translated():
            try:
                raw = self._engine.raw_connection()
            except self._error as error:
                raise exc.DBAPIError.instance("", None, error, self._error, dialect=self._engine.dialect) from error
        connection: Any = raw.driver_connection
        raw.detach()
        if self._is_postgresql:
            connection.autocommit = True
            self._cursor = connection.cursor(binary=True)
        return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with translated():
            try:
                yield
            except self._error as error:
                raise exc.DBAPIError.instance(
                    "", None, error, self._error, connection_invalidated=self.is_lost, dialect=self._engine.dialect
                ) from error


class Drivers:
    """The idle connections of one engine; as many are made as are used at one time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._guard = threading.Lock()
        self._idle: list[Driver] = []
        self._closed = False

    @contextmanager
    def take(self) -> Iterator[Driver]:
        """A connection for a while."""
        with self._guard:
            driver = self._idle.pop() if self._idle else None
        driver = driver or Driver(self._engine)
        try:
            yield driver
        finally:
            self._give(driver)

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
        for driver in idle:
            driver.close()

    def _give(self, driver: Driver) -> None:
        with self._guard:
            if not self._closed and not driver.is_lost:
                self._idle.append(driver)
                return
        driver.close()
