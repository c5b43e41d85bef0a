"""One database, SQLite or PostgreSQL, and the transactions that everything else in storage runs in."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime
from hashlib import blake2b
from itertools import chain
from typing import Any, Literal, Self, cast

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import (
    Connection,
    CursorResult,
    Engine,
    Executable,
    Table,
    TextClause,
    create_engine,
    event,
    exc,
    make_url,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, RowMapping
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from fhir_tracker.errors import Fault, UsageError
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.audit_rows import NO_SIGNER, SIGNER, Signer
from fhir_tracker.storage.buffer import Premise, WriteBuffer
from fhir_tracker.storage.drivers import Driver, Drivers
from fhir_tracker.storage.failures import translated
from fhir_tracker.storage.foresight import Foresight
from fhir_tracker.storage.keys import KeyPool, Keys
from fhir_tracker.storage.plain import Plain
from fhir_tracker.storage.statements import STATEMENTS
from fhir_tracker.storage.turns import Turns
from fhir_tracker.storage.witnessing import SEEN, Seen

Dialect = Literal["sqlite", "postgresql"]
LOCK_SECONDS = 10
STILL_SECONDS = 120
"""How long a transaction of PostgreSQL may stand still before the server ends it: its process hangs, and holds locks."""
POOL_SIZE = 8

_PRAGMAS = ("busy_timeout = 10000", "foreign_keys = ON", "synchronous = FULL", "cache_size = -65536")
_WAIT = text("SELECT pg_advisory_xact_lock(:key)")
_turns: dict[str, Turns] = {}
_turns_guard = threading.Lock()


class Tx:
    """One open transaction. Callers outside storage only pass it on.

    Rows that are only added wait in `added` and reach the database at the end, or before the next statement that could see
    them; `wrote` counts the statements that may have changed something.
    What was `late` is run then, too. `endings` run once before the commit; None where a transaction is shared.
    `conditions` are asked last of all, each for one of those who share it, and raise where there must be no commit. Those under
    a premise hold where the premise does, so that a statement that writes everything by itself can look at it on its way.
    `kept` is for what never changes once committed, shared by all transactions; `here` for what this one knows.
    """

    def __init__(
        self, connect: Callable[[], Connection], dialect: Dialect, pool: KeyPool, kept: dict[Hashable, Any]
    ) -> None:
        self.dialect = dialect
        self.kept = kept
        self.here: dict[Hashable, Any] = {}
        self.added = WriteBuffer()
        self.wrote = 0
        self.keys = Keys(pool, self._draw)
        self.let_go: dict[str, str] = {}
        self.types: set[str] = set()
        self.woken: dict[str, datetime] = {}
        self.foreseen: dict[tuple[str, str], tuple[Viewer, Any]] = {}
        self.foresight: Foresight | None = None
        self.late: Callable[[], None] | None = None
        self.endings: list[Callable[[], None]] | None = None
        self.conditions: list[Callable[[], None]] = []
        self.premises: dict[Premise, list[Callable[[], None]]] = {}
        self._connect = connect
        self._connection: Connection | None = None
        self._plain: Plain | None = None

    @property
    def connection(self) -> Connection:
        """The connection, in its transaction, which begins now if it has not."""
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    @property
    def has_begun(self) -> bool:
        """Whether any statement was run."""
        return self._connection is not None

    def flush(self) -> None:
        """Write what was only added; raises VersionConflict when somebody else has written the same."""
        if self.added:
            self.added.write(self.connection)
        if self.late is not None:
            late, self.late = self.late, None
            late()

    def end(self) -> None:
        """Write what was only added, and what is told of the whole of it."""
        self.flush()
        for one in self.endings or ():
            one()
        self.flush()
        self.ask_conditions()

    def ask_conditions(self) -> None:
        """Raise what one of the conditions raises."""
        for one in chain(self.conditions, *self.premises.values()):
            one()

    def execute(
        self, statement: Executable, parameters: Sequence[Mapping[str, object]] | None = None
    ) -> CursorResult[Any]:
        """Run a statement, once for each of `parameters` when given."""
        connection = self._ready(statement)
        if parameters is None:
            return cast(CursorResult[Any], connection.execute(statement))
        return cast(CursorResult[Any], connection.execute(statement, cast(Any, parameters)))

    def rows(self, statement: Executable) -> Sequence[RowMapping]:
        """All rows, by column name."""
        return self._ready(statement).execute(statement).mappings().all()

    def first(self, statement: Executable) -> RowMapping | None:
        """The first row or None."""
        return self._ready(statement).execute(statement).mappings().first()

    def peek(self, statement: Executable) -> RowMapping | None:
        """As `first`, of tables for which no rows are held back."""
        return self.connection.execute(statement).mappings().first()

    def value(self, statement: Executable) -> Any:
        """The first column of the first row, or None."""
        return self._ready(statement).execute(statement).scalar()

    def changed(self, statement: Executable) -> int:
        """Run a write; how many rows it touched."""
        return self._ready(statement).execute(statement, execution_options={"preserve_rowcount": True}).rowcount

    def ask(self, sql: str, values: Sequence[object]) -> Sequence[Sequence[Any]]:
        """The rows of a SELECT whose values stand as `%s`, as the driver gives them."""
        self.flush()
        return self._plainly().rows(sql, values)

    def run(self, sql: str, values: Sequence[object]) -> Sequence[Sequence[Any]]:
        """The rows that a write gives back whose values stand as `%s`."""
        self.flush()
        self.wrote += 1
        return self._plainly().rows(sql, values)

    def run_for_count(self, sql: str, values: Sequence[object]) -> int:
        """How many rows such a write touched."""
        self.flush()
        self.wrote += 1
        return self._plainly().count(sql, values)

    def _plainly(self) -> Plain:
        if self._plain is None:
            self._plain = Plain(self.connection)
        return self._plain

    def _ready(self, statement: Executable) -> Connection:
        self.flush()
        if not statement.is_select:
            self.wrote += 1
        return self.connection

    def _draw(self, statements: Mapping[str, TextClause]) -> int:
        return cast(int, self.connection.execute(statements[self.dialect]).scalar_one())

    def insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """An INSERT that can say what to do on a conflict."""
        return postgresql.insert(table) if self.dialect == "postgresql" else sqlite.insert(table)

    def wait_for_others(self, name: str) -> None:
        """Go on when no other open transaction has asked for `name`; writers of SQLite take turns anyway."""
        if self.dialect == "postgresql":
            key = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
            self.connection.execute(_WAIT, {"key": key})


class LateWrite:
    """A write transaction that begins with its first statement and is ended by hand, on whichever thread."""

    def __init__(
        self,
        engine: Engine,
        turns: Turns | None,
        pool: KeyPool,
        kept: dict[Hashable, Any],
        direct: Drivers | None,
        before: Callable[[], None],
    ) -> None:
        self.tx = Tx(self._connect, cast(Dialect, engine.dialect.name), pool, kept)
        self._engine = engine
        self._turns = turns
        self._direct = direct
        self._before = before
        self._held = ExitStack()

    def commit(self) -> None:
        """Write what was only added, and commit; after an error `roll_back`. Unavailable leaves open whether it was committed."""
        self._before = _no_wait
        if self._direct is not None and self.tx.added and not self.tx.has_begun:
            self._write_at_once(self._direct)
        else:
            self.tx.ask_conditions()
            self._write()
        self.tx.keys.release()
        _tell_seen(self.tx)

    def _write_at_once(self, direct: Drivers) -> None:
        """Where there is one premise it goes along; who relies on it is asked only when it does not hold, and raises then."""
        premise, *others = self.tx.premises or [None]
        if premise is None or others or self.tx.conditions:
            self.tx.ask_conditions()
        with direct.take() as driver:
            is_written = self.tx.added.write_at_once(driver, None if others else premise)
        if not is_written:
            self.tx.ask_conditions()
            raise Fault("Nothing was written, and nobody says why.")

    def _write(self) -> None:
        with translated():
            self.tx.flush()
            if self.tx.has_begun:
                _refuse_aborted(self.tx.connection)
                self.tx.connection.commit()
                self._held.close()

    def roll_back(self) -> None:
        """Undo everything."""
        with suppress(exc.DBAPIError):
            self._held.close()

    def _connect(self) -> Connection:
        self._before()
        if self._turns:
            self._held.enter_context(self._turns.take(LOCK_SECONDS))
        connection = self._held.enter_context(self._engine.connect())
        connection.begin()
        return connection


def _refuse_aborted(connection: Connection) -> None:
    """PostgreSQL answers a commit after an error that nobody minded with a rollback, and no word of it."""
    driver = connection.connection.driver_connection
    if isinstance(driver, psycopg.Connection) and driver.info.transaction_status == TransactionStatus.INERROR:
        raise Fault("A statement failed before; the transaction cannot be committed.")


def _tell_seen(tx: Tx) -> None:
    """Of a transaction that is committed."""
    if tx.added.watched:
        tx.kept[SEEN].add(tx.added.watched)


def _no_wait() -> None:
    return None


class Database:
    """A pool of connections to one database; safe to share between threads, not between processes."""

    def __init__(self, writer: Engine, reader: Engine, turns: Turns | None) -> None:
        self._writer = writer
        self._reader = reader
        self._turns = turns
        self._keys = KeyPool()
        self._kept: dict[Hashable, Any] = {SIGNER: NO_SIGNER, SEEN: Seen()}
        self.drivers = Drivers(reader)
        self._adding = Drivers(writer)

    @classmethod
    def open(cls, url: str) -> Self:
        """Connect to `sqlite:///path` or `postgresql://...`; raises UsageError for other URLs, Unavailable when not reached."""
        parsed = _parse(url)
        database = cls(*(_sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed)))
        try:
            with translated(), database._writer.connect():
                return database
        except BaseException:
            database.close()
            raise

    @property
    def dialect(self) -> Dialect:
        return cast(Dialect, self._writer.dialect.name)

    @property
    def signer(self) -> Signer:
        """What seals the rows of the trail that are written here."""
        return cast(Signer, self._kept[SIGNER])

    @property
    def seen(self) -> Seen:
        """The rows of the trail that were committed here."""
        return cast(Seen, self._kept[SEEN])

    def seal_rows(self, key: Callable[[], bytes]) -> None:
        """From now on seal the rows of the trail with this key, which is asked for when the first is written."""
        self._kept[SIGNER] = Signer(key)

    @contextmanager
    def begin(self) -> Iterator[Tx]:
        """A write transaction: commits at the end, rolls back on any exception; Busy when its turn does not come."""
        with self._turns.take(LOCK_SECONDS) if self._turns else nullcontext():
            with translated(), self._writer.begin() as connection:
                tx = Tx(lambda: connection, self.dialect, self._keys, self._kept)
                tx.endings = []
                yield tx
                tx.end()
                _refuse_aborted(connection)
            tx.keys.release()
        _tell_seen(tx)

    @contextmanager
    def writing(self) -> Iterator[Driver]:
        """A connection for rows that are only added, in its turn; Busy when that does not come."""
        if self._turns is None:
            with self.drivers.take() as driver:
                yield driver
        else:
            with self._turns.take(LOCK_SECONDS), self._adding.take() as driver:
                yield driver

    def begin_late(self, before: Callable[[], None] = _no_wait) -> LateWrite:
        """A write transaction that begins with its first statement, after calling `before`; its maker ends it."""
        direct = self.drivers if self.dialect == "postgresql" else None
        return LateWrite(self._writer, self._turns, self._keys, self._kept, direct, before)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A read-only transaction that sees one moment of the database throughout."""
        with translated(), self._reader.begin() as connection:
            yield Tx(lambda: connection, self.dialect, self._keys, self._kept)

    def close(self) -> None:
        """Let go of every connection."""
        self.drivers.close()
        self._adding.close()
        self._reader.dispose()
        self._writer.dispose()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise UsageError(
            "The database URL cannot be read; use sqlite:///path or postgresql://user@host/name."
        ) from None
    if parsed.drivername == "sqlite":
        if not parsed.database or parsed.database == ":memory:" or parsed.host or parsed.query:
            raise UsageError("SQLite needs a file: sqlite:///path.")
        return parsed
    if parsed.drivername in {"postgresql", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    raise UsageError(
        f"A {parsed.drivername} database is not supported; use sqlite:///path or postgresql://user@host/name."
    )


def _sqlite(url: URL) -> tuple[Engine, Engine, Turns]:
    path = os.path.realpath(url.database or "")
    _made_private(path)
    with _turns_guard:
        turns = _turns.setdefault(path, Turns())
    writer = _engine(url, {"check_same_thread": False}, pool_size=1, max_overflow=0)
    reader = _engine(url, {"check_same_thread": False}, pool_size=POOL_SIZE, max_overflow=56)
    _prepare_sqlite(writer, "BEGIN IMMEDIATE", ("journal_mode = WAL", "wal_autocheckpoint = 10000"))
    _prepare_sqlite(reader, "BEGIN", ("query_only = ON",))
    return writer, reader, turns


def _made_private(path: str) -> None:
    """A new file is for its owner alone; SQLite gives those it makes beside it the same rights."""
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _prepare_sqlite(engine: Engine, begin: str, pragmas: tuple[str, ...]) -> None:
    def connected(connection: Any, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        for pragma in (*_PRAGMAS, *pragmas):
            connection.execute(f"PRAGMA {pragma}").close()

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)


def _postgresql(url: URL) -> tuple[Engine, Engine, None]:
    query = dict(url.query)
    limits = f"-c lock_timeout={LOCK_SECONDS}s -c idle_in_transaction_session_timeout={STILL_SECONDS}s"
    options = f"{limits} -c timezone=UTC -c client_min_messages=warning -c jit=off {query.pop('options', '')}"
    arguments = {"connect_timeout": query.pop("connect_timeout", LOCK_SECONDS), "options": options}
    engine = _engine(url, arguments, pool_size=POOL_SIZE, max_overflow=0, pool_pre_ping=True)
    return engine, engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True), None


def _engine(url: URL, arguments: Mapping[str, Any], **pool: Any) -> Engine:
    return create_engine(
        url,
        connect_args=dict(arguments),
        pool_timeout=LOCK_SECONDS,
        execution_options={"compiled_cache": STATEMENTS},
        **pool,
    )
