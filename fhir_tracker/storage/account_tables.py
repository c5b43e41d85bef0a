"""The tables of who may come in: the issuers that vouch for staff, and the accounts of the staff."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Table, Text

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Mapped, Moment, Texts

issuer = Table(
    "issuer",
    metadata,
    Column("key", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("url", Text, nullable=False, unique=True),
    Column("label", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("client_type", Text, nullable=False),
    Column("sealed_secret", Text),
    Column("scopes", Text, nullable=False),
    Column("frame_ancestors", Texts, nullable=False),
    Column("options", Mapped, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("changed_at", Moment, nullable=False),
)

account = Table(
    "account",
    metadata,
    Column("id", Text, primary_key=True),
    Column("ref", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("roles", Texts, nullable=False),
    Column("connection", Text),
    Column("fhir_user", Text, nullable=False),
    Column("provider", Text),
    Column("subject", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
)
_of_connection, _of_provider = account.c.connection.is_not(None), account.c.provider.is_not(None)
Index(
    "uq_account_connection",
    account.c.connection,
    account.c.fhir_user,
    unique=True,
    sqlite_where=_of_connection,
    postgresql_where=_of_connection,
)
Index(
    "uq_account_provider",
    account.c.provider,
    account.c.subject,
    unique=True,
    sqlite_where=_of_provider,
    postgresql_where=_of_provider,
)
