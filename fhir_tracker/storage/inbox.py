"""The inbox: what EHRs told us has changed, one row for each resource however often it was told, until it was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, delete, func, literal, or_, select, update

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.inbox_tables import inbox
from fhir_tracker.storage.records import from_row


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """One resource to be read again; with `remote_id` "" its whole type. `version` is "" where it was not told.

    `gone` says that its deletion was told, `times` how often anything was, `tries` how often it could not be read,
    `misses` how often it was not found.
    """

    id: int
    connection: str
    type: str
    remote_id: str
    version: str
    gone: bool
    received_at: datetime
    due_at: datetime
    times: int
    tries: int
    misses: int


def put(
    tx: Tx, *, connection: str, type_: str, remote_id: str, version: str, gone: bool, at: datetime, due_at: datetime
) -> None:
    """Remember what was told; what waits already is counted, keeps its turn, and is read whatever its version."""
    row = {
        "id": tx.keys.take(),
        "connection": connection,
        "type": type_,
        "remote_id": remote_id,
        "version": version,
        "gone": gone,
        "received_at": at,
        "due_at": due_at,
        "times": 1,
        "tries": 0,
        "misses": 0,
    }
    again = {
        "version": case((inbox.c.version == version, version), else_=""),
        "gone": or_(inbox.c.gone, literal(gone)),
        "times": inbox.c.times + 1,
        "due_at": case((inbox.c.misses > 0, literal(due_at, inbox.c.due_at.type)), else_=inbox.c.due_at),
        "misses": 0,
    }
    new = tx.insert(inbox).values(row)
    tx.execute(new.on_conflict_do_update(index_elements=["connection", "type", "remote_id"], set_=again))


def room(tx: Tx, connection: str, most: int) -> int:
    """How many rows fewer than `most` wait for a connection; 0 for none."""
    some = select(inbox.c.id).where(inbox.c.connection == connection).limit(most).subquery()
    return most - int(tx.value(select(func.count()).select_from(some)))


def due(tx: Tx, connection: str, now: datetime, limit: int) -> list[Waiting]:
    """What is to be read now, oldest first, at most `limit`."""
    chosen = select(inbox).where(inbox.c.connection == connection, inbox.c.due_at <= now)
    return [from_row(Waiting, row) for row in tx.rows(chosen.order_by(inbox.c.due_at, inbox.c.id).limit(limit))]


def due_connections(tx: Tx, now: datetime) -> set[str]:
    """The connections for which something is to be read now."""
    return {row["connection"] for row in tx.rows(select(inbox.c.connection).where(inbox.c.due_at <= now).distinct())}


def done(tx: Tx, read: Sequence[Waiting]) -> None:
    """Strike out what was read; what was told of once more meanwhile stays."""
    for one in sorted(read, key=lambda one: (one.type, one.remote_id)):
        tx.execute(delete(inbox).where(inbox.c.id == one.id, inbox.c.times == one.times))


def postpone(tx: Tx, one: Waiting, due_at: datetime, *, tries: int, misses: int) -> None:
    """Try again at `due_at`."""
    tx.execute(update(inbox).where(inbox.c.id == one.id).values(due_at=due_at, tries=tries, misses=misses))


def waiting(tx: Tx, connection: str) -> int:
    """How many rows wait."""
    return int(tx.value(select(func.count()).select_from(inbox).where(inbox.c.connection == connection)))
