"""Cursors: how far the pull of one type from one connection has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.running_tables import cursor


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """All before `watermark` is here; `window_start` and `next_url` are of a pull under way."""

    connection: str
    type: str
    watermark: datetime | None = None
    window_start: datetime | None = None
    next_url: str | None = None
    updated_at: datetime
    detail: Mapping[str, Any] = field(default_factory=dict)


def find(tx: Tx, connection: str, type_: str) -> Cursor | None:
    """Where the pull stands, or None before the first."""
    row = tx.first(select(cursor).where(cursor.c.connection == connection, cursor.c.type == type_))
    return from_row(Cursor, row) if row else None


def of_connection(tx: Tx, connection: str) -> list[Cursor]:
    """The cursors of a connection, by type."""
    rows = tx.rows(select(cursor).where(cursor.c.connection == connection).order_by(cursor.c.type))
    return [from_row(Cursor, row) for row in rows]


def save(tx: Tx, moved: Cursor) -> None:
    """Write the cursor, in the transaction that wrote the page it passed."""
    row = to_row(moved)
    tx.execute(tx.insert(cursor).values(row).on_conflict_do_update(index_elements=["connection", "type"], set_=row))
