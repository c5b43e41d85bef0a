"""How old a connection's data is, as a whole and type by type, against what is promised of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Tx
from subscriptions import bulk, roster
from subscriptions.showing import completions_of
from subscriptions.strategies import BULK, LAST_UPDATED, ONE_BY_ONE

LEAST = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class TypeAge:
    """How old one followed type is: since its last complete read, or since we have waited for it when `never`."""

    type: str
    age: timedelta
    promised: timedelta
    never: bool

    @property
    def stale(self) -> bool:
        return self.age > self.promised


def promised(connection: Connection, overlap: timedelta) -> timedelta:
    """How old its data may be: one poll interval and `overlap`, and never less than a minute."""
    return max(LEAST, timedelta(seconds=connection.poll_seconds) + overlap)


def promised_of(connection: Connection, overlap: timedelta, strategy: str) -> timedelta:
    """How old a type may be: what is read patient by patient, or exported, comes round less often than a poll."""
    least = {BULK: bulk.EVERY} | dict.fromkeys(ONE_BY_ONE, roster.EVERY)
    poll = timedelta(seconds=connection.poll_seconds)
    return promised(connection, overlap) + max(least.get(strategy, poll) - poll, timedelta())


def age_of(connection: Connection, now: datetime) -> timedelta:
    """How long ago the connection was last followed with success; from its making when never."""
    return now - (connection.last_success_at or connection.created_at)


def is_stale(connection: Connection, overlap: timedelta, now: datetime) -> bool:
    """Whether the connection as a whole was last followed with success longer ago than promised."""
    return age_of(connection, now) > promised(connection, overlap)


def type_ages(tx: Tx, connection: Connection, overlap: timedelta, now: datetime) -> tuple[TypeAge, ...]:
    """How old each followed type is, in the order in which they are read."""
    return tuple(_ages(tx, connection, overlap, now))


def _ages(tx: Tx, connection: Connection, overlap: timedelta, now: datetime) -> Iterator[TypeAge]:
    for type_, strategy, completed in completions_of(tx, connection):
        whole = connection.last_success_at if strategy == LAST_UPDATED else None
        yield TypeAge(
            type=type_,
            age=max(now - (completed or whole or connection.created_at), timedelta()),
            promised=promised_of(connection, overlap, strategy),
            never=completed is None and whole is None,
        )
