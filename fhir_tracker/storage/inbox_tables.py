"""The tables of what EHRs push to us: hints that wait to be read after, and the subscriptions that make them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, UniqueConstraint

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Key, Mapped, Moment, Texts

inbox = Table(
    "inbox",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("connection", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("remote_id", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("gone", Boolean, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("times", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("misses", Integer, nullable=False),
    UniqueConstraint("connection", "type", "remote_id"),
    Index(None, "connection", "due_at"),
)

remote_subscription = Table(
    "remote_subscription",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("connection", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("criteria", Text, nullable=False),
    Column("remote_id", Text),
    Column("digest", Text, nullable=False),
    Column("former_digest", Text),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("armed_at", Moment),
    Column("heard_at", Moment),
    Column("lost_at", Moment),
    Column("pulled_at", Moment),
    Column("ends_at", Moment),
    Column("due_at", Moment, nullable=False),
    Column("heartbeat", Integer),
    Column("events", BigInteger),
    Column("missing", Texts, nullable=False),
    Column("recent", Mapped, nullable=False),
    Column("gap_at", Moment),
    Column("gaps", Integer, nullable=False),
    Column("resets", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("told_at", Moment),
    Column("untold", Integer, nullable=False, server_default="0"),
    Column("untold_since", Moment),
    UniqueConstraint("connection", "type"),
)
