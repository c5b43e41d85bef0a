"""The tables of following piece by piece: who is asked about one by one, what was not returned, what a server bears."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Mapped, Moment

roster = Table(
    "roster",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("patient", Text, primary_key=True),
    Column("due_at", Moment, nullable=False),
    Column("done_at", Moment),
    Column("watermark", Moment),
    Column("misses", Integer, nullable=False),
)
Index("ix_roster_due", roster.c.connection, roster.c.type, roster.c.due_at)

absence = Table(
    "absence",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("remote_id", Text, primary_key=True),
    Column("misses", Integer, nullable=False),
    Column("gone", Integer, nullable=False),
    Column("last_at", Moment, nullable=False),
)

budget = Table(
    "budget",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("turn", Integer, nullable=False),
    Column("state", Mapped, nullable=False),
)
