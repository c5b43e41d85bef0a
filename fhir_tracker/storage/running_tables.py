"""The tables of running matters: programs, connections, cursors, quarantine, jobs, audit and settings."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, false

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Key, Mapped, Moment, Texts

program = Table(
    "program",
    metadata,
    Column("code", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("status", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("published_at", Moment, nullable=False),
    Column("published_by", Text, nullable=False),
    Column("digest", Text, nullable=False, server_default=""),
    Column("reason", Text),
    Column("approved_by", Text),
    Column("approved_at", Moment),
    Column("effective_at", Moment),
    Column("active_from", Moment),
    Column("retired_at", Moment),
    Column("rolls_back", Integer),
    Column("former", Mapped, nullable=False, server_default="{}"),
    Column("renamed", Mapped, nullable=False, server_default="{}"),
)
_is_active = program.c.status == "active"
Index("uq_program_active", program.c.code, unique=True, sqlite_where=_is_active, postgresql_where=_is_active)

connection = Table(
    "connection",
    metadata,
    Column("key", Text, primary_key=True),
    Column("base_url", Text, nullable=False),
    Column("mapping", Text, nullable=False),
    Column("poll_seconds", Integer, nullable=False),
    Column("types", Texts, nullable=False),
    Column("subscribe", Text, nullable=False),
    Column("options", Mapped, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("last_attempt_at", Moment),
    Column("last_success_at", Moment),
    Column("last_error", Text),
    Column("state", Text, nullable=False),
)

cursor = Table(
    "cursor",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("watermark", Moment),
    Column("window_start", Moment),
    Column("next_url", Text),
    Column("updated_at", Moment, nullable=False),
    Column("detail", Mapped, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("connection", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("remote_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("first_seen_at", Moment, nullable=False),
    Column("last_seen_at", Moment, nullable=False),
    Column("times", Integer, nullable=False),
    Column("resolved_at", Moment),
    Column("resolution", Text),
    Column("patient", Text),
    Column("restricted", Boolean, nullable=False, server_default=false()),
)
_is_unresolved = quarantine.c.resolved_at.is_(None)
Index(
    "uq_quarantine_open",
    *(quarantine.c[one] for one in ("connection", "type", "remote_id", "reason")),
    unique=True,
    sqlite_where=_is_unresolved,
    postgresql_where=_is_unresolved,
)

job = Table(
    "job",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("payload", Mapped, nullable=False),
    Column("run_at", Moment, nullable=False),
    Column("lease_until", Moment),
    Column("token", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_error", Text),
    Column("state", Text, nullable=False),
    Column("finished_at", Moment),
)
_is_waiting = job.c.state == "waiting"
_is_running = job.c.state == "running"
Index("uq_job_waiting", job.c.kind, job.c.key, unique=True, sqlite_where=_is_waiting, postgresql_where=_is_waiting)
Index("ix_job_due", job.c.kind, job.c.run_at, sqlite_where=_is_waiting, postgresql_where=_is_waiting)
Index("ix_job_running", job.c.kind, job.c.lease_until, sqlite_where=_is_running, postgresql_where=_is_running)

AUDIT_TEXTS = ("kind", "name", "roles", "client", "issuer", "address", "session", "purpose")
"""Columns of a row of the trail that say more of who acted, and by which way."""

audit = Table(
    "audit",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("patient", Text),
    Column("outcome", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("detail", Mapped, nullable=False),
    *(Column(name, Text, nullable=False, server_default="") for name in AUDIT_TEXTS),
    Column("version", Integer),
    Column("patients", Text),
    Column("query", Text),
    Column("mac", Text, nullable=False, server_default=""),
    Index(None, "patient", "seq"),
    sqlite_autoincrement=True,
)

setting = Table("setting", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))
