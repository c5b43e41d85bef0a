"""The tables behind logins and pages: further tabs of a launch, what people prefer, local logins, and guesses at them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Moment

launch_ticket = Table(
    "launch_ticket",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("launch", Text, nullable=False),
    Column("page", Text, nullable=False),
    Column("ends_at", Moment, nullable=False),
)

launch_tab = Table(
    "launch_tab",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("launch", Text, nullable=False),
    Column("made_at", Moment, nullable=False),
    Index(None, "launch"),
    Index(None, "made_at"),
)

preference = Table(
    "preference",
    metadata,
    Column("account", Text, primary_key=True),
    Column("density", Text, nullable=False),
    Column("keys", Boolean, nullable=False),
)

local_login = Table(
    "local_login",
    metadata,
    Column("account", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("password", Text),
    Column("sealed_totp", Text),
    Column("last_step", BigInteger, nullable=False),
    Column("enrolment_digest", Text),
    Column("enrolment_ends", Moment),
    Column("changed_at", Moment, nullable=False),
)

login_guess = Table(
    "login_guess",
    metadata,
    Column("key", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", Moment, nullable=False),
    Column("barred_until", Moment, nullable=False),
    Index(None, "last_at"),
)
