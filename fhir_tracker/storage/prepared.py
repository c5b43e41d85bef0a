"""Statements that one connection to PostgreSQL has prepared, run by libpq itself: less in between than a cursor has.

https://www.postgresql.org/docs/current/libpq-exec.html
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from fhir_tracker.errors import Fault
from fhir_tracker.storage.literals import Packed, text_array

MOST = 250
"""With more statements than this on one connection all are forgotten: their texts come from searches of every form."""

_DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class Prepared:
    """Runs statements on one connection outside a transaction, each prepared when it is first met.

    The server works out the type of each value from where it stands; lists of texts become arrays.
    Everything that goes wrong is a psycopg.Error.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._pg = connection.pgconn
        self._loader = Transformer(connection)
        self._names: dict[bytes, bytes] = {}
        self._numbers = count()

    def rows(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """The rows of a SELECT whose values stand as `%s`."""
        result = self._result(numbered(sql), [_sent(value) for value in values], Format.BINARY)
        self._loader.set_pgresult(result, set_loaders=True, format=Format.BINARY)
        found = self._loader.load_rows(0, result.ntuples, tuple)
        self._loader.set_pgresult(None)
        return found

    def run(self, sql: bytes, values: Sequence[object]) -> int:
        """How many rows a statement touched whose values stand as $1, $2."""
        return self._result(sql, [_sent(value) for value in values], Format.TEXT).command_tuples or 0

    def _result(self, sql: bytes, values: Sequence[bytes], form: Format) -> PGresult:
        name = self._names.get(sql) or self._prepare(sql)
        forms = [Format.BINARY if isinstance(value, Packed) else Format.TEXT for value in values]
        return _checked(self._pg.exec_prepared(name, values, forms, result_format=form))

    def _prepare(self, sql: bytes) -> bytes:
        if len(self._names) >= MOST:
            _checked(self._pg.exec_(b"DEALLOCATE ALL"))
            self._names.clear()
        name = f"own{next(self._numbers)}".encode()
        _checked(self._pg.prepare(name, sql))
        self._names[sql] = name
        return name


@lru_cache(maxsize=512)
def numbered(sql: str) -> bytes:
    """A text with `%s` for each value as PostgreSQL takes it, with $1, $2."""
    first, *rest = sql.split("%s")
    return "".join([first, *(f"${number}{part}" for number, part in enumerate(rest, 1))]).encode()


def _sent(value: object) -> bytes:
    if isinstance(value, Packed):
        return value
    if type(value) is not str and type(value) is not list:
        raise Fault(f"A statement was given {type(value).__name__}, which it cannot take.")
    sent = (value if type(value) is str else text_array(value)).encode()
    if b"\0" in sent:
        raise psycopg.DataError("PostgreSQL holds no text with the character U+0000.")
    return sent


def _checked(result: PGresult) -> PGresult:
    if result.status not in _DONE:
        raise error_from_result(result, encoding="utf-8")
    return result
