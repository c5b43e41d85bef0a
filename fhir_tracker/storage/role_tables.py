"""The tables behind rights: a practice's files of roles, the patients and records that are restricted, and the glass that was broken."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Moment

role_file = Table(
    "role_file",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("source", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("loaded_at", Moment, nullable=False),
    Column("loaded_by", Text, nullable=False),
    Column("reason", Text),
)

restricted_patient = Table("restricted_patient", metadata, Column("patient", Text, primary_key=True))

restricted_record = Table(
    "restricted_record",
    metadata,
    Column("ref", Text, primary_key=True),
    Column("patient", Text),
    Index(None, "patient"),
)

broken_glass = Table(
    "broken_glass",
    metadata,
    Column("id", Text, primary_key=True),
    Column("who", Text, nullable=False),
    Column("patient", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("began_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Index(None, "who", "ends_at"),
    Index(None, "began_at"),
)
