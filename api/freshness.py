"""How old a connection's data is, against what its connection promises: its poll interval and the overlap of polls."""

from __future__ import annotations

from datetime import datetime, timedelta

from fhir_tracker.storage.connections import Connection

LEAST = timedelta(minutes=1)


def promised(connection: Connection, overlap: timedelta) -> timedelta:
    """How old its data may be: one poll interval and `overlap`, and never less than a minute."""
    return max(LEAST, timedelta(seconds=connection.poll_seconds) + overlap)


def age_of(connection: Connection, now: datetime) -> timedelta:
    """How long ago the connection was last followed with success; from its making when never."""
    return now - (connection.last_success_at or connection.created_at)


def is_stale(connection: Connection, overlap: timedelta, now: datetime) -> bool:
    """Whether the data is older than promised."""
    return age_of(connection, now) > promised(connection, overlap)
