"""The table of what is to be written to EHRs: one row for each resource and connection, with what both sides last agreed on."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, Table, Text, UniqueConstraint

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Key, Mapped, Moment

outbox = Table(
    "outbox",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("connection", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("local_id", Text, nullable=False),
    Column("patient", Text),
    Column("made_here", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("agreed_version", Integer),
    Column("base", Text),
    Column("state", Text, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("sent_at", Moment),
    Column("sent_version", Integer),
    Column("remote_type", Text),
    Column("remote_id", Text),
    Column("remote_version", Text),
    Column("remote_hash", Text),
    Column("reason", Text),
    Column("detail", Mapped, nullable=False),
    UniqueConstraint("connection", "type", "local_id"),
)
_is_waiting = outbox.c.state == "waiting"
_is_open = outbox.c.state != "done"
_is_there = outbox.c.remote_id.is_not(None)
Index("ix_outbox_due", outbox.c.connection, outbox.c.due_at, sqlite_where=_is_waiting, postgresql_where=_is_waiting)
Index("ix_outbox_open", outbox.c.state, outbox.c.id, sqlite_where=_is_open, postgresql_where=_is_open)
Index(
    "ix_outbox_remote",
    *(outbox.c[name] for name in ("connection", "remote_type", "remote_id")),
    sqlite_where=_is_there,
    postgresql_where=_is_there,
)
