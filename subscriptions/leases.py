"""One sync per connection at a time, across processes: a lease in the database with a fencing token.

A process that was stopped and comes back after its lease went to another cannot commit anything: `hold` refuses it in
the very transaction of the page.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from fhir_tracker.errors import Busy
from fhir_tracker.storage import jobs
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.jobs import Lease

LEASE = timedelta(seconds=10)
"""Longer than a page takes to write; a fetch may outlast it, and goes on unless somebody else took over meanwhile."""
KEEP_DONE = timedelta(hours=1)


def kind_of(connection: str) -> str:
    """Under which kind of job the lease of a connection is kept."""
    return f"sync:{connection}"


def take(database: Database, connection: str, now: datetime) -> Lease:
    """The lease of `connection`; Busy while another process holds it."""
    kind = kind_of(connection)
    with database.begin() as tx:
        if not _running(tx, kind):
            jobs.enqueue(tx, kind, connection, {}, now)
        lease = jobs.claim(tx, [kind], now, LEASE)
        if lease is None or _running(tx, kind) > 1:
            raise Busy(f"Another process is syncing {connection}.")
        return lease


def hold(tx: Tx, lease: Lease, now: datetime) -> None:
    """Stay the holder, in the transaction of what is written under the lease; Busy when another process took over."""
    if not jobs.renew(tx, lease, now + LEASE):
        raise Busy(f"Another process has taken over the sync of {lease.key}.")


def release(database: Database, lease: Lease, now: datetime) -> None:
    """Give the lease back; no matter if it was lost."""
    with database.begin() as tx:
        jobs.complete(tx, lease, now)
        jobs.forget_done(tx, now - KEEP_DONE)


def revoke(database: Database, connection: str, now: datetime) -> None:
    """Take the lease from whoever has it: the holder commits nothing more, and anybody may take it now."""
    with database.begin() as tx:
        jobs.revoke(tx, kind_of(connection), now)


def _running(tx: Tx, kind: str) -> int:
    return sum(state.running for state in jobs.states(tx) if state.kind == kind)
