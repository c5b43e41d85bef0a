"""Reading without a transaction: what one statement can tell, many requests at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Never

from sqlalchemy import ColumnElement, Select, literal_column
from sqlalchemy.dialects import postgresql, sqlite

from fhir_tracker.model.sight import Sight
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Dialect, Tx
from fhir_tracker.storage.drivers import Driver
from fhir_tracker.storage.scope import row_scope_text
from fhir_tracker.storage.tables import resource

Row = tuple[Any, ...]
_SeenAs = tuple[Sight, str | None, frozenset[str]]
COLUMNS = tuple(resource.c.keys())
"""Of a resource, as rows here hold them."""
SELECTED = ", ".join(f"r.{name}" for name in COLUMNS)
_WIDTH = len(COLUMNS)
_DIALECTS = {
    "sqlite": sqlite.dialect(paramstyle="named"),
    "postgresql": postgresql.dialect(paramstyle="named"),  # type: ignore[no-untyped-call]
}
LATER_GIVEN: ColumnElement[Any] = literal_column("%s")
"""Stands in a statement that becomes a text for a number that each asking brings."""


def text_of(statement: Select[Any], dialect: Dialect) -> str:
    """A statement as text with all its values in it; raises NeedsTransaction when one would be taken for a later value."""
    if "%s" in str(statement.compile(dialect=_DIALECTS[dialect]).params):
        raise NeedsTransaction("%s")
    return str(statement.compile(dialect=_DIALECTS[dialect], compile_kwargs={"literal_binds": True}))


class NeedsTransaction(Exception):
    """Raised where a glance cannot answer; the caller asks again in a transaction."""


class Glance(Tx):
    """Stands for a transaction where single statements do; anything else asked of it raises NeedsTransaction."""

    def __init__(self, driver: Driver, dialect: Dialect) -> None:
        self.dialect = dialect
        self._driver = driver
        self._held: dict[tuple[_SeenAs, str, str], Row | None] = {}

    def __getattr__(self, name: str) -> Never:
        raise NeedsTransaction(name)

    def select(self, sql: str, values: Sequence[object]) -> Sequence[Row]:
        """The rows of one statement; the values stand as `%s` in it."""
        return self._driver.rows(sql, values)

    def number(self, value: int) -> object:
        """A number as the driver takes it."""
        return value if self.dialect == "sqlite" else str(value)

    def fetch(self, wanted: Iterable[tuple[Viewer, str, str]], beside: str = "") -> object:
        """Hold the present versions of these (viewer, type, id), read by one statement a type.

        `beside` is a SELECT of one value, which comes along with them and is returned; None where no row came to bring it.
        """
        told: object = None
        columns = f"{SELECTED}, ({beside})" if beside else SELECTED
        groups: dict[tuple[_SeenAs, str], tuple[Viewer, set[str]]] = {}
        for viewer, type_, id_ in wanted:
            groups.setdefault((viewer.seen_as, type_), (viewer, set()))[1].add(id_)
        for (seen_as, type_), (viewer, ids) in groups.items():
            self._held |= dict.fromkeys([(seen_as, type_, id_) for id_ in ids])
            scope, scoped = row_scope_text(viewer, "r", self.dialect, types=(type_,))
            some, listed = self.any_of("r.id", sorted(ids))
            sql = f"SELECT {columns} FROM resource r WHERE r.type = %s AND {some}{scope}"  # noqa: S608
            rows = self.select(sql, [type_, *listed, *scoped])
            self._held |= {(seen_as, type_, row[2]): row[:_WIDTH] for row in rows}
            told = rows[-1][_WIDTH] if beside and rows else told
        return told

    def held(self, viewer: Viewer, type_: str, id_: str) -> Row | None:
        """The row of a resource that was fetched, None when there is none for this viewer; else NeedsTransaction."""
        place = (viewer.seen_as, type_, id_)
        if place not in self._held:
            raise NeedsTransaction("find")
        return self._held[place]

    def any_of(self, column: str, values: Sequence[str]) -> tuple[str, list[object]]:
        """A condition that `column` is one of some texts, and its values."""
        if self.dialect == "postgresql":
            return f"{column} = ANY(%s)", [list(values)]
        return f"{column} IN ({', '.join(['%s'] * len(values))})", list(values)


class OneStatement(Glance):
    """A glance of one statement, which sees one moment: the second raises NeedsTransaction."""

    _asked = False

    def select(self, sql: str, values: Sequence[object]) -> Sequence[Row]:
        """The rows of the statement."""
        if self._asked:
            raise NeedsTransaction("select")
        self._asked = True
        return super().select(sql, values)
