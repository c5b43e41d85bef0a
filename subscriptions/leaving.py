"""The end of following one EHR, or of following it so: no sync is under way, and our Subscriptions there are deleted first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from fhir_tracker import clock, connections, issuers
from fhir_tracker.errors import Busy
from fhir_tracker.storage import issuers as stored_issuers
from fhir_tracker.storage import remote_subscriptions
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.issuers import CONNECTION
from fhir_tracker.storage.jobs import Lease
from subscriptions import leases
from subscriptions.arming import disarm
from subscriptions.client import EhrClient
from subscriptions.sync import under_lease

TRIES = 30
PAUSE_SECONDS = 0.5
Note = Callable[[Tx, Sequence[str]], None]
"""What else is written in the transaction of the change, such as the trail's row; given the types that the EHR still holds."""


def _unsaid(_: Tx, __: Sequence[str]) -> None:
    """Nothing."""


def leave(
    database: Database,
    connection: Connection,
    client: EhrClient | None,
    *,
    now: Callable[[], datetime],
    hook: str = "",
    note: Note = _unsaid,
    pause: Callable[[float], None] = clock.pause,
) -> list[str]:
    """Forget a connection; the types of our Subscriptions that the EHR still holds, all of them without a `client`.

    Nobody is let in from there any more either.

    A sync under way is waited for, 15 seconds at most, and then cut off: what it has not committed by then it never does,
    and a Subscription that it makes meanwhile it deletes itself. Raises NotFound when the connection was removed already.
    """
    lease = _taken(database, connection.key, now, pause)
    try:
        left = _left(database, connection, client, lease, now, hook)
        with database.begin() as tx:
            leases.hold(tx, lease, now())
            connections.remove(tx, connection.key)
            vouching = stored_issuers.find(tx, connection.key)
            if vouching is not None and vouching.kind == CONNECTION:
                issuers.remove(tx, connection.key, now())
            note(tx, left)
    finally:
        leases.release(database, lease, now())
    return left


def follow_otherwise(
    database: Database,
    before: Connection,
    changed: Connection,
    client: EhrClient | None,
    *,
    now: Callable[[], datetime],
    hook: str = "",
    note: Note = _unsaid,
    pause: Callable[[float], None] = clock.pause,
) -> list[str]:
    """Follow a connection by other terms; the types of our former Subscriptions that the EHR still holds.

    Subscriptions are given up when what is subscribed to changes, and asked for anew by the next sync, which also pulls
    what no Subscription told of meanwhile. A sync under way is waited for as in `leave`.
    """
    asked_otherwise = _subscribed_to(before) != _subscribed_to(changed)
    lease = _taken(database, before.key, now, pause)
    left: list[str] = []
    try:
        if asked_otherwise:
            left = _left(database, before, client, lease, now, hook)
        with database.begin() as tx:
            leases.hold(tx, lease, now())
            if asked_otherwise:
                remote_subscriptions.forget(tx, before.key)
            connections.change(tx, changed, now=now())
            note(tx, left)
    finally:
        leases.release(database, lease, now())
    return left


def _subscribed_to(connection: Connection) -> tuple[object, ...]:
    return connection.subscribe, connection.types, connection.options.get("topics")


def _left(
    database: Database,
    connection: Connection,
    client: EhrClient | None,
    lease: Lease,
    now: Callable[[], datetime],
    hook: str,
) -> list[str]:
    """Delete our Subscriptions at the EHR; the types of those that are still there."""
    if client is None:
        return _held(database, connection.key)
    return disarm(under_lease(lease, database, connection, client=client, now=now, hook=hook))


def _taken(database: Database, key: str, now: Callable[[], datetime], pause: Callable[[float], None]) -> Lease:
    for _ in range(TRIES):
        try:
            return leases.take(database, key, now())
        except Busy:
            pause(PAUSE_SECONDS)
    leases.revoke(database, key, now())
    return leases.take(database, key, now())


def _held(database: Database, key: str) -> list[str]:
    with database.read() as tx:
        return [one.type for one in remote_subscriptions.of_connection(tx, key) if one.remote_id]
