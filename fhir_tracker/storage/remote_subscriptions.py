"""The Subscriptions we keep at EHRs: one for each connection and type. Of a secret only its digest is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, select, update

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.inbox_tables import remote_subscription
from fhir_tracker.storage.records import from_row, to_row


@dataclass(frozen=True, kw_only=True)
class RemoteSubscription:
    """One Subscription. `status`: arming, requested, active, lost or refused; `reason` says why in the last two.

    `digest` is the SHA-256 of the secret its notifications carry, `former_digest` of the one before. `heard_at` is the
    last notification, `lost_at` when it was found not to work, `pulled_at` the last complete pull of its type since, `due_at`
    when it is to be looked at. `events` is the highest event number, `missing` those below it that never came, since
    `gap_at`, `recent` marks of the last ones by number; `heartbeat` is in seconds; `gaps` and `resets` are counts. `told_at`
    is when it last told of a change, `untold` how many changes polls have found since, beginning with `untold_since`.
    """

    id: int
    connection: str
    type: str
    kind: str
    criteria: str
    remote_id: str | None = None
    digest: str = field(repr=False)
    former_digest: str | None = field(default=None, repr=False)
    status: str = "arming"
    reason: str = ""
    armed_at: datetime | None = None
    heard_at: datetime | None = None
    lost_at: datetime | None = None
    pulled_at: datetime | None = None
    ends_at: datetime | None = None
    due_at: datetime
    heartbeat: int | None = None
    events: int | None = None
    missing: tuple[str, ...] = ()
    recent: Mapping[str, Any] = field(default_factory=dict)
    gap_at: datetime | None = None
    gaps: int = 0
    resets: int = 0
    tries: int = 0
    told_at: datetime | None = None
    untold: int = 0
    untold_since: datetime | None = None


def add(tx: Tx, new: RemoteSubscription) -> None:
    """Remember a Subscription, in place of what is known of the one for that type."""
    row = to_row(new)
    tx.execute(
        tx.insert(remote_subscription)
        .values(row)
        .on_conflict_do_update(index_elements=["connection", "type"], set_=row)
    )


def of_connection(tx: Tx, connection: str) -> list[RemoteSubscription]:
    """Those at one EHR, by type."""
    chosen = select(remote_subscription).where(remote_subscription.c.connection == connection)
    return [from_row(RemoteSubscription, row) for row in tx.rows(chosen.order_by(remote_subscription.c.type))]


def digests(tx: Tx, connection: str) -> list[tuple[int, str, str | None]]:
    """Of each Subscription at one EHR its id and the digests of its secret and of the one before."""
    columns = (remote_subscription.c.id, remote_subscription.c.digest, remote_subscription.c.former_digest)
    chosen = select(*columns).where(remote_subscription.c.connection == connection)
    return [(row["id"], row["digest"], row["former_digest"]) for row in tx.rows(chosen)]


def held(tx: Tx, id_: int) -> RemoteSubscription | None:
    """One Subscription, which nobody else changes until this transaction ends; None when it was forgotten."""
    row = tx.first(select(remote_subscription).where(remote_subscription.c.id == id_).with_for_update())
    return from_row(RemoteSubscription, row) if row else None


def change(tx: Tx, id_: int, changes: Mapping[str, Any]) -> None:
    """Write some fields and leave the others."""
    tx.execute(update(remote_subscription).where(remote_subscription.c.id == id_).values(**changes))


def forget(tx: Tx, connection: str) -> None:
    """Those at one EHR are no more; what they told of stays to be read."""
    tx.execute(delete(remote_subscription).where(remote_subscription.c.connection == connection))


def note_pulled(tx: Tx, connection: str, type_: str, at: datetime) -> None:
    """Remember that everything of a type was pulled."""
    tx.execute(update(remote_subscription).where(_is(connection, type_)).values(pulled_at=at))


def of_type(tx: Tx, connection: str, type_: str) -> RemoteSubscription | None:
    """The one for a type, which nobody else changes until this transaction ends."""
    row = tx.first(select(remote_subscription).where(_is(connection, type_)).with_for_update())
    return from_row(RemoteSubscription, row) if row else None


def due_connections(tx: Tx, now: datetime) -> set[str]:
    """The connections with a Subscription that is to be looked at."""
    chosen = select(remote_subscription.c.connection).where(remote_subscription.c.due_at <= now)
    return {row["connection"] for row in tx.rows(chosen.distinct())}


def _is(connection: str, type_: str) -> ColumnElement[bool]:
    return and_(remote_subscription.c.connection == connection, remote_subscription.c.type == type_)
