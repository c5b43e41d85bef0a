"""What a server is made of, for tests that call it without a process or a port."""

from __future__ import annotations

from datetime import datetime

from api.context import Access, AppContext
from fhir_tracker import clock
from fhir_tracker.config import load_settings
from fhir_tracker.storage.database import Database

BASE = "http://testserver"


def context_of(
    database: Database, *, access: Access = Access.OPEN, public_url: str = BASE, started_at: datetime | None = None
) -> AppContext:
    """A server over `database` with no settings of its own, started now."""
    return AppContext(
        database=database,
        settings=load_settings({"HOME": "/nowhere"}),
        access=access,
        public_url=public_url,
        secret_key="k" * 40,
        started_at=started_at or clock.now(),
    )
