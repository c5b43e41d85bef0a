"""The SQL of statements, made once for all connections of this process to the same kind and version of database.

SQLite is written and read over two engines, and a command that prepares its database opens it twice: each would make all of
it anew. https://docs.sqlalchemy.org/en/21/core/connections.html#sql-compilation-caching
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.util import LRUCache

MOST = 1000
"""Somewhat more statements than this are kept, those that were asked for last: their texts come from searches of every form."""


class Statements(LRUCache[Any, Any]):
    """What SQLAlchemy compiled, whichever engine asked for it first."""

    __slots__ = ()

    def get(self, key: Any, default: Any = None) -> Any:
        """What was compiled for this or an equal database; else `default`."""
        return super().get(_shared(key), default)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(_shared(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_shared(key), value)


def _shared(key: tuple[Dialect, *tuple[Hashable, ...]]) -> tuple[Hashable, ...]:
    """SQLAlchemy's key, the engine's own dialect replaced by what its SQL depends on."""
    dialect, *statement = key
    return (dialect.name, getattr(dialect, "server_version_info", None), *statement)


STATEMENTS = Statements(MOST)
