"""The table of what is carried out of the application: mails and webhook calls, each to one address."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Key, Moment, Texts

dispatch = Table(
    "dispatch",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("channel", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("role", Text),
    Column("person", Text),
    Column("notifications", Texts, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("lease_until", Moment),
    Column("token", BigInteger, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("reason", Text),
)
_is_waiting = dispatch.c.state == "waiting"
Index(
    "ix_dispatch_due",
    dispatch.c.channel,
    dispatch.c.due_at,
    sqlite_where=_is_waiting,
    postgresql_where=_is_waiting,
)
_is_left = dispatch.c.state != "sent"
Index("ix_dispatch_left", dispatch.c.state, dispatch.c.id, sqlite_where=_is_left, postgresql_where=_is_left)
