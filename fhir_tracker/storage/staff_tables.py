"""The tables of the staff: who there is, which roles they have, when they are away, and what waits for an owner."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Table, Text

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Key, Moment, Texts

staff_person = Table(
    "staff_person",
    metadata,
    Column("ref", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("mail", Text, nullable=False),
)

staff_role = Table(
    "staff_role",
    metadata,
    Column("source", Text, primary_key=True),
    Column("person", Text, nullable=False),
    Column("roles", Texts, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("start", Moment),
    Column("end", Moment),
    Index(None, "person"),
)

staff_absence = Table(
    "staff_absence",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("person", Text, nullable=False),
    Column("start", Moment, nullable=False),
    Column("end", Moment),
    Column("substitute", Text),
    Column("keeps_work", Boolean, nullable=False),
    Column("begun", Boolean, nullable=False),
    Column("said_by", Text, nullable=False),
    Column("said_at", Moment, nullable=False),
    Index(None, "person"),
)

staff_turn = Table(
    "staff_turn",
    metadata,
    Column("role", Text, primary_key=True),
    Column("person", Text, nullable=False),
)

wants_owner = Table(
    "wants_owner",
    metadata,
    Column("item", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("since", Moment, nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "role"),
)
