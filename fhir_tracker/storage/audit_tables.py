"""The tables beside the trail of accesses: the blocks it is sealed in, and which searches returned a patient."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Key, Mapped, Moment

audit_block = Table(
    "audit_block",
    metadata,
    Column("number", Key, primary_key=True, autoincrement=False),
    Column("first_seq", Key, nullable=False),
    Column("last_seq", Key, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("first_at", Moment, nullable=False),
    Column("last_at", Moment, nullable=False),
    Column("digest", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("detail", Mapped, nullable=False),
    Column("sealed_at", Moment, nullable=False),
    Column("hash", Text, nullable=False),
    Column("mac", Text, nullable=False),
)

audit_patient = Table(
    "audit_patient",
    metadata,
    Column("patient", Text, primary_key=True),
    Column("seq", Key, primary_key=True, autoincrement=False),
    Index("ix_audit_patient_row", "seq"),
    sqlite_with_rowid=False,
)
