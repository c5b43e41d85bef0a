"""Every sealed text of the store, found by the name of its column: `sealed`, or one that begins with `sealed_`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Table, Text, select, update

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.tables import metadata


@dataclass(frozen=True, kw_only=True)
class SealedText:
    """One sealed text: where it is (`place` is table and column) and of which row."""

    table: Table = field(repr=False)
    column: Column[Any] = field(repr=False)
    keys: tuple[Any, ...]
    sealed: str = field(repr=False)

    @property
    def place(self) -> str:
        return f"{self.table.name}.{self.column.name}"

    @property
    def row(self) -> str:
        """Its primary key."""
        return "/".join(map(str, self.keys))


def places() -> list[tuple[Table, Column[Any]]]:
    """Table and column of all that is kept sealed."""
    tables = metadata.sorted_tables
    return [(table, one) for table in tables for one in table.columns if _is_sealed(one)]


def all(tx: Tx) -> Iterator[SealedText]:  # noqa: A001 - read as sealed_texts.all
    """Every text that is there now; what is used up has left an empty one, which is none."""
    for table, column in places():
        own = list(table.primary_key.columns)
        for row in tx.rows(select(*own, column.label("is_sealed")).where(column != "")):
            keys = tuple(getattr(row, one.name) for one in own)
            yield SealedText(table=table, column=column, keys=keys, sealed=str(row.is_sealed))


def replace(tx: Tx, one: SealedText, sealed: str) -> bool:
    """Put another text in its place; False when it has changed in the meantime."""
    row = [column == key for column, key in zip(one.table.primary_key.columns, one.keys, strict=True)]
    changed = update(one.table).where(*row, one.column == one.sealed).values({one.column: sealed})
    return tx.changed(changed) == 1


def _is_sealed(column: Column[Any]) -> bool:
    return f"{column.name}_".startswith("sealed_") and isinstance(column.type, Text)
