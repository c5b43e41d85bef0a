"""The tables of the systems that may come in: clients, the tokens they were given, and the assertions they have used up."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, Text

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Mapped, Moment, Texts

client = Table(
    "client",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", Texts, nullable=False),
    Column("roles", Texts, nullable=False, server_default="[]"),
    Column("jwks_url", Text),
    Column("jwks", Mapped, nullable=False),
    Column("added_at", Moment, nullable=False),
    Column("rotated_at", Moment),
    Column("revoked_at", Moment),
)

access_token = Table(
    "access_token",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("client", Text, nullable=False),
    Column("scopes", Texts, nullable=False),
    Column("patient", Text),
    Column("issued_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index(None, "client"),
    Index(None, "expires_at"),
)

seen_jti = Table(
    "seen_jti",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("until", Moment, nullable=False),
    Index(None, "until"),
)
