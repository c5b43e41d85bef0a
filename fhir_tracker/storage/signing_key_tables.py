"""The table of the keys that we sign with."""

from __future__ import annotations

from sqlalchemy import Column, Table, Text

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Mapped, Moment

signing_key = Table(
    "signing_key",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("alg", Text, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("public", Mapped, nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("signs_from", Moment, nullable=False),
    Column("retired_at", Moment),
)
