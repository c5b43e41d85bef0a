"""Quarantined entries taken in again, each with the mapping of its connection."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from fhir_tracker import quarantine
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import connections
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.quarantine import Quarantined
from mappings import Source, mapping_named
from subscriptions.abilities import address_of
from subscriptions.code_files import tables_of


def retry_quarantined(database: Database, waiting: Quarantined, now: Callable[[], datetime]) -> str | None:
    """Take one entry in again; None when it is applied, else the reason why it still cannot be."""
    with database.read() as tx:
        connection = connections.find(tx, waiting.connection)
    if connection is None:
        return f"its connection {waiting.connection} was removed"
    mapping = mapping_named(connection.mapping)
    source = Source(
        key=connection.key,
        base_url=connection.base_url,
        tables=tables_of(connection),
        calls_itself=address_of(database, connection),
    )
    author = Author(viewer=worker_viewer("sync"), origin=f"ehr:{connection.key}", at=now())
    return quarantine.retry(database, waiting, lambda resource: mapping.to_tracker(resource, source), author)
