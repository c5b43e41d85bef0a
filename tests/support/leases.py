"""Leases of processes that were killed: nobody has to wait for them in real time."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from fhir_tracker import clock
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.running_tables import job


def run_out(database: Database) -> int:
    """Every lease that is held ended a second ago, as if its time had passed; how many. Whoever held them has to be dead."""
    over = clock.now() - timedelta(seconds=1)
    with database.begin() as tx:
        return tx.changed(update(job).where(job.c.state == "running").values(lease_until=over))
