"""The tables that measures read: how long work stood how, attempts as they were known, and sums of both by the hour."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Key, Moment

spell = Table(
    "spell",
    metadata,
    Column("k", Key, primary_key=True, autoincrement=False),
    Column("item", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("patient", Text),
    Column("plan", Text),
    Column("program", Text),
    Column("program_version", Integer),
    Column("code", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("fhir_status", Text, nullable=False),
    Column("clock", Text, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("role", Text),
    Column("owner", Text),
    Column("due_at", Moment),
    Column("hold_until", Moment),
    Column("hold_event", Text),
    Column("focus", Text),
    Column("created_at", Moment, nullable=False),
    Column("status_since", Moment, nullable=False),
    Column("since", Moment, nullable=False),
    Column("until", Moment, nullable=False),
    Column("effective_at", Moment, nullable=False),
    Column("next_status", Text, nullable=False),
    Column("next_fhir_status", Text, nullable=False),
    Column("next_clock", Text, nullable=False),
    Column("next_open", Boolean, nullable=False),
    Column("next_role", Text),
    Column("next_owner", Text),
    Column("reason", Text),
    Index(None, "item"),
    Index(None, "until"),
    Index(None, "patient"),
)

attempt_log = Table(
    "attempt_log",
    metadata,
    Column("k", Key, primary_key=True, autoincrement=False),
    Column("ref", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("plan", Text),
    Column("patient", Text),
    Column("program", Text),
    Column("channel", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("since", Moment, nullable=False),
    Column("until", Moment),
    Index(None, "ref"),
    Index(None, "at"),
    Index(None, "plan"),
    Index(None, "patient"),
)

figure_hour = Table(
    "figure_hour",
    metadata,
    Column("what", Text, primary_key=True),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("program", Text, primary_key=True),
    Column("a", Text, primary_key=True),
    Column("b", Text, primary_key=True),
    Column("c", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("seconds", BigInteger, nullable=False),
)

stale_hour = Table(
    "stale_hour",
    metadata,
    Column("k", Key, primary_key=True, autoincrement=False),
    Column("hour", BigInteger, nullable=False),
)
