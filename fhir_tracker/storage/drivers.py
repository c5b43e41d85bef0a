"""Connections of the database driver itself, for the few statements that run thousands of times a second."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast

from sqlalchemy import Engine, exc

from fhir_tracker.storage.failures import translated
from fhir_tracker.storage.prepared import Prepared

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
            self._replace()
            return self._rows(sql, values)

    def run(self, sql: bytes, values: Sequence[object]) -> int:
        """How many rows a statement changed whose values stand as $1, $2; not for SQLite, whose writers take turns."""
        if self._has_news():
            self._replace()
        with self._translated():
            return self._prepared.run(sql, values)

    def run_together(self, statements: Iterable[tuple[str, Row]]) -> None:
        """Statements with their values as one transaction of SQLite, by whose turn it is to write."""
        with self._translated():
            self._connection.execute("BEGIN IMMEDIATE").close()
            try:
                for sql, values in statements:
                    self._connection.execute(sql, values).close()
                self._connection.execute("COMMIT").close()
            except BaseException:
                with suppress(self._error):
                    self._connection.execute("ROLLBACK").close()
                raise

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
        return self._prepared.rows(sql, values)

    def _replace(self) -> None:
        self._connection.close()
        self._connection = self._connect()

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
            self._prepared = Prepared(connection)
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
