"""Between polls: what EHRs told us and whose page was opened is read within seconds, and our Subscriptions there tended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from fhir_tracker.config import Settings
from fhir_tracker.errors import Busy, UsageError
from fhir_tracker.intake import Tally
from fhir_tracker.storage import connections, inbox, remote_subscriptions
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database
from subscriptions.arming import endpoint_of
from subscriptions.following import Follow
from subscriptions.inbox import drain
from subscriptions.opened import read_opened
from subscriptions.sync import client_of, following, keys_of, limits_of, pull_type
from subscriptions.watching import tend


def sync_hints(database: Database, settings: Settings, now: Callable[[], datetime]) -> Tally:
    """Work off what is due of every connection; those that another process is syncing are passed over."""
    tally = Tally()
    read_opened(database, settings, now)
    for connection in _due(database, now()):
        hook = endpoint_of(settings.public_url, connection.key)
        try:
            with (
                client_of(
                    connection, limits_of(settings), database=database, keys=keys_of(database, settings), now=now
                ) as client,
                following(
                    database, connection, client=client, now=now, overlap=settings.poll_overlap, hook=hook
                ) as follow,
            ):
                tally += work_off(follow)
        except (Busy, UsageError):
            continue
    return tally


def work_off(follow: Follow) -> Tally:
    """What waits for one connection: its Subscriptions looked at, hints read, and what was lost renewed after its pull."""
    tend(follow)
    tally = drain(follow, lambda type_: pull_type(follow, type_))
    tend(follow)
    return tally


def _due(database: Database, now: datetime) -> list[Connection]:
    """The connections for which something waits; one question to the database when nothing does anywhere."""
    with database.read() as tx:
        keys = inbox.due_connections(tx, now) | remote_subscriptions.due_connections(tx, now)
        return [found for key in sorted(keys) if (found := connections.find(tx, key)) is not None]
