"""The tables of launches: those that wait for the answer of an authorization server, and the sessions they became."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, Table, Text

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Moment, Texts

launch_pending = Table(
    "launch_pending",
    metadata,
    Column("state_digest", Text, primary_key=True),
    Column("browser_digest", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False),
    Index(None, "ends_at"),
)

launch_session = Table(
    "launch_session",
    metadata,
    Column("id", Text, primary_key=True),
    Column("secret_digest", Text, nullable=False),
    Column("handle_digest", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("connection", Text),
    Column("provider", Text),
    Column("issuer", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("patient", Text),
    Column("encounter", Text),
    Column("intent", Text, nullable=False),
    Column("fhir_context", Texts, nullable=False),
    Column("needs_banner", Boolean, nullable=False),
    Column("style_url", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("frame_ancestors", Texts, nullable=False),
    Column("scopes", Texts, nullable=False),
    Column("began", Moment, nullable=False),
    Column("active_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("ended_why", Text, nullable=False),
    Column("sealed_tokens", Text),
    Column("tokens_end", Moment),
    Column("renewed", Integer, nullable=False),
    Column("renewing_until", Moment),
    Index(None, "account"),
    Index(None, "ends_at"),
)
