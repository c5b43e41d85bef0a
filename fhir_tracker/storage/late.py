"""Write transactions that begin with their first statement: much can be worked out before others have to wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.failures import translated


@contextmanager
def late(database: Database) -> Iterator[Tx]:
    """As `Database.begin`; what only adds rows is one statement on PostgreSQL, and one way there and back."""
    write = database.begin_late()
    try:
        with translated():
            yield write.tx
            write.commit()
    finally:
        write.roll_back()
