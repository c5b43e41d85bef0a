"""Rows of one table found by a list of keys, as frozen values: on PostgreSQL one prepared text whatever the list."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar

from sqlalchemy import Boolean, Table

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Dialect, Tx
from fhir_tracker.storage.literals import text_array
from fhir_tracker.storage.scope import row_scope_text
from fhir_tracker.storage.types import Mapped, Moment, Texts, moment

Value = TypeVar("Value")
Convert = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Keyed(Generic[Value]):
    """How the rows of a table become values of `make`, whose fields bear the names of columns; `order` is SQL.

    What `make` checks when it is made is not checked of what lies in the database.
    """

    make: type[Value]
    table: Table
    order: str

    def read(
        self,
        tx: Tx,
        viewer: Viewer,
        column: str,
        keys: Collection[str],
        *,
        further: str = "",
        values: Sequence[object] = (),
        lock: bool = False,
        types: Sequence[str] = (),
    ) -> list[Value]:
        """What this viewer may see of the rows whose `column` is one of `keys`, in order.

        `further` is SQL that begins with AND and holds `%s` for each of `values`; `types` are as in `row_scope`. With `lock`
        nobody else can change the rows until the end; writers of SQLite take turns anyway.
        """
        if not keys:
            return []
        scope, whose = row_scope_text(viewer, self.table.name, tx.dialect, table=self.table, types=types)
        before, after = _around(self, column, f"{scope}{further}")
        among, wanted = _among(tx.dialect, keys)
        held = " FOR UPDATE" if lock and tx.dialect == "postgresql" else ""
        return list(self.made(tx.ask(f"{before} {among}{after}{held}", (*wanted, *whose, *values))))

    def made(self, rows: Sequence[Sequence[Any]]) -> Iterator[Value]:
        """The values of rows that hold `names`, as the driver gives them."""
        names, converted, empty = self.names, self._converted, self._empty
        has_dict = not hasattr(self.make, "__slots__")
        for row in rows:
            values = dict(zip(names, row, strict=True))
            for name, convert in converted:
                value = values[name]
                values[name] = empty.get(name) if value is None else convert(value)
            if has_dict:
                one = object.__new__(self.make)
                one.__dict__.update(values)
                yield one
            else:
                yield self.make(**values)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns that are read, in order."""
        return tuple(one.name for one in fields(self.make))  # type: ignore[arg-type]

    @cached_property
    def _converted(self) -> tuple[tuple[str, Convert], ...]:
        """The columns whose values are not as the driver gives them."""
        found = ((name, _converter(self.table.c[name].type)) for name in self.names)
        return tuple((name, convert) for name, convert in found if convert)

    @cached_property
    def _empty(self) -> dict[str, Any]:
        """What stands for nothing in columns that hold lists and mappings."""
        found = ((name, self.table.c[name].type) for name in self.names)
        return {name: () if isinstance(kind, Texts) else {} for name, kind in found if isinstance(kind, Texts | Mapped)}


def _converter(kind: object) -> Convert | None:
    if isinstance(kind, Moment):
        return moment
    if isinstance(kind, Texts):
        return _texts
    if isinstance(kind, Mapped):
        return json.loads
    return bool if isinstance(kind, Boolean) else None


@lru_cache(maxsize=4096)
def _texts(value: str) -> tuple[str, ...]:
    return tuple(json.loads(value)) if value else ()


@lru_cache(maxsize=256)
def _around(keyed: Keyed[Any], column: str, further: str) -> tuple[str, str]:
    """What stands before and after the list of keys."""
    columns = ", ".join(f'"{one}"' for one in keyed.names)
    before = f'SELECT {columns} FROM {keyed.table.name} WHERE "{column}"'  # noqa: S608
    return before, f"{further} ORDER BY {keyed.order}"


def _among(dialect: Dialect, keys: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """The list of keys as SQL, and its values."""
    if dialect == "postgresql":
        return "= ANY(%s::text[])", (text_array(list(keys)),)
    return f"IN ({', '.join(['%s'] * len(keys))})", tuple(keys)
