"""Connections: the EHR FHIR servers that are followed. Secrets are not kept here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update

from fhir_tracker.errors import Conflict
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.inbox_tables import inbox, remote_subscription
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.running_tables import connection, cursor


@dataclass(frozen=True, kw_only=True)
class Connection:
    """One EHR server; `state` is `new`, `ok`, `failing` or `auth_failed`, `last_error` a sentence without patient data."""

    key: str
    base_url: str
    mapping: str = "generic"
    poll_seconds: int = 30
    types: tuple[str, ...] = ()
    subscribe: str = "none"
    options: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime
    last_attempt_at: datetime | None = None
    last_success_at: datetime | None = None
    last_error: str | None = None
    state: str = "new"


def add(tx: Tx, new: Connection) -> None:
    """Make a connection known; raises Conflict when its key is taken."""
    if tx.changed(tx.insert(connection).values(to_row(new)).on_conflict_do_nothing()) != 1:
        raise Conflict(f"There is a connection {new.key} already.")


def find(tx: Tx, key: str) -> Connection | None:
    """The connection with that key, or None."""
    row = tx.first(select(connection).where(connection.c.key == key))
    return from_row(Connection, row) if row else None


def all(tx: Tx) -> list[Connection]:  # noqa: A001 - read as connections.all
    """Every connection, by key."""
    return [from_row(Connection, row) for row in tx.rows(select(connection).order_by(connection.c.key))]


def remove(tx: Tx, key: str) -> bool:
    """Forget a connection, its cursors, hints and Subscriptions, not what came from it; False when there is none."""
    for table in (cursor, inbox, remote_subscription):
        tx.execute(delete(table).where(table.c.connection == key))
    return tx.changed(delete(connection).where(connection.c.key == key)) == 1


def set_terms(tx: Tx, changed: Connection) -> None:
    """Keep how `changed` is followed in place of what is kept; how it does stays as it is."""
    terms = {name: to_row(changed)[name] for name in ("poll_seconds", "types", "subscribe", "options")}
    tx.execute(update(connection).where(connection.c.key == changed.key).values(**terms))


def note_success(tx: Tx, key: str, at: datetime) -> None:
    """Remember that the server was followed at `at`."""
    told = {"last_attempt_at": at, "last_success_at": at, "last_error": None, "state": "ok"}
    tx.execute(update(connection).where(connection.c.key == key).values(**told))


def note_attempt(tx: Tx, key: str, at: datetime) -> None:
    """Remember that the server was asked at `at`, and that this was not the whole of the first load."""
    tx.execute(
        update(connection).where(connection.c.key == key).values(last_attempt_at=at, last_error=None, state="new")
    )


def note_failure(tx: Tx, key: str, at: datetime, error: str, state: str = "failing") -> None:
    """Remember that it could not be followed at `at`, and why; `state` may also be `auth_failed`."""
    told = {"last_attempt_at": at, "last_error": error, "state": state}
    tx.execute(update(connection).where(connection.c.key == key).values(**told))
