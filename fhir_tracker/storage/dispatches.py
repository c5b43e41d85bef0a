"""Dispatches: mails and webhook calls on their way, leased to one worker at a time under a fencing token.

Notifications for a channel other than the application wait until they are gathered: those of one role, or one person,
make one dispatch for each address. A dispatch keeps its id over every retry, so that who receives it can tell a repetition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, and_, func, literal_column, or_, select, update

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.dispatch_tables import dispatch
from fhir_tracker.storage.jobs import SKEW
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.work_tables import notification, work_item

DispatchState = Literal["waiting", "sent", "dead", "unsupported"]
STATES: tuple[DispatchState, ...] = ("waiting", "dead", "unsupported", "sent")
AWAY = ("email", "webhook")
"""The channels that leave the application."""
_WAITING: ColumnElement[bool] = dispatch.c.state == literal_column("'waiting'")
_LEFT: ColumnElement[bool] = dispatch.c.state != literal_column("'sent'")
_UNTOLD: ColumnElement[bool] = notification.c.state == literal_column("'waiting'")


@dataclass(frozen=True, kw_only=True)
class Dispatch:
    """One mail or webhook call to `address`, for a role or a person, about `notifications` (ids).

    `unsupported`: it cannot be tried, for what `reason` says, such as an address that is not set. `reason` holds no
    patient data.
    """

    id: int
    channel: str
    address: str = field(repr=False)
    role: str | None
    person: str | None
    notifications: tuple[str, ...]
    state: DispatchState
    due_at: datetime
    attempts: int
    lease_until: datetime | None
    token: int
    created_at: datetime
    ended_at: datetime | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Untold:
    """Notifications of one channel to one role or person that wait to be gathered; `oldest` is when the first was made."""

    channel: str
    role: str | None
    person: str | None
    oldest: datetime


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What one notification is about, without anything of the patient."""

    notification: int
    ref: str
    kind: str
    program: str | None
    program_version: int | None
    code: str
    priority: str


def untold(tx: Tx) -> list[Untold]:
    """Who is to be told something by another channel; one entry for each role or person and channel."""
    whom = (notification.c.channel, notification.c.to_role, notification.c.to_person)
    oldest = func.min(notification.c.created_at, type_=notification.c.created_at.type).label("oldest")
    rows = tx.rows(select(*whom, oldest).where(_UNTOLD).group_by(*whom).order_by(*whom))
    return [
        Untold(channel=row["channel"], role=row["to_role"], person=row["to_person"], oldest=row["oldest"])
        for row in rows
    ]


def gather(tx: Tx, one: Untold, limit: int = 200) -> tuple[str, ...]:
    """Take up to `limit` notifications that wait for this role or person; nobody else takes them again."""
    is_theirs = and_(
        _UNTOLD,
        notification.c.channel == one.channel,
        notification.c.to_role.is_not_distinct_from(one.role),
        notification.c.to_person.is_not_distinct_from(one.person),
    )
    chosen = select(notification.c.id).where(is_theirs).order_by(notification.c.id).limit(limit)
    ids = [row["id"] for row in tx.rows(chosen.with_for_update(skip_locked=True))]
    if ids:
        tx.execute(update(notification).where(notification.c.id.in_(ids)).values(state="told"))
    return tuple(str(one) for one in ids)


def give_back(tx: Tx, ids: Sequence[str]) -> None:
    """Let these notifications be gathered anew."""
    mine = notification.c.id.in_([int(one) for one in ids])
    tx.execute(update(notification).where(mine, notification.c.channel.in_(AWAY)).values(state="waiting"))


def add(
    tx: Tx,
    one: Untold,
    ids: Sequence[str],
    *,
    address: str,
    at: datetime,
    reason: str | None = None,
) -> int:
    """A dispatch that is due at once; with a `reason` one that cannot be tried. Its id."""
    id_ = tx.keys.take()
    row = {
        "id": id_,
        "channel": one.channel,
        "address": address,
        "role": one.role,
        "person": one.person,
        "notifications": tuple(ids),
        "state": "unsupported" if reason else "waiting",
        "due_at": at,
        "attempts": 0,
        "token": 0,
        "created_at": at,
        "reason": reason,
    }
    tx.execute(tx.insert(dispatch).values(row))
    return id_


def claim(tx: Tx, channel: str, now: datetime, lease: timedelta) -> Dispatch | None:
    """The dispatch that is due longest and that nobody holds, for `lease`; None when there is none."""
    is_free = or_(
        dispatch.c.lease_until.is_(None), dispatch.c.lease_until < now, dispatch.c.lease_until > now + lease + SKEW
    )
    chosen = select(dispatch).where(_WAITING, dispatch.c.channel == channel, dispatch.c.due_at <= now, is_free)
    row = tx.first(chosen.order_by(dispatch.c.due_at, dispatch.c.id).limit(1).with_for_update(skip_locked=True))
    if row is None:
        return None
    taken = {"token": row["token"] + 1, "attempts": row["attempts"] + 1, "lease_until": now + lease}
    tx.execute(update(dispatch).where(dispatch.c.id == row["id"]).values(**taken))
    return from_row(Dispatch, {**row, **taken})


def sent(tx: Tx, held: Dispatch, at: datetime) -> bool:
    """It was taken by the other side; False when the lease went to another worker."""
    done = {"state": "sent", "ended_at": at, "lease_until": None, "reason": None}
    return tx.changed(update(dispatch).where(_holds(held)).values(**done)) == 1


def failed(tx: Tx, held: Dispatch, reason: str, retry_at: datetime | None, at: datetime) -> bool:
    """It was not: try again at `retry_at`, or never (None: it is dead, and stays to be seen). False: lease lost."""
    values: dict[str, object] = {"reason": reason, "lease_until": None}
    values |= {"due_at": retry_at} if retry_at is not None else {"state": "dead", "ended_at": at}
    return tx.changed(update(dispatch).where(_holds(held)).values(**values)) == 1


def find(tx: Tx, id_: int) -> Dispatch | None:
    """One dispatch."""
    row = tx.first(select(dispatch).where(dispatch.c.id == id_))
    return from_row(Dispatch, row) if row else None


def left(tx: Tx, states: Sequence[str] = (), limit: int = 200) -> list[Dispatch]:
    """What is not sent, or what is in one of `states`; oldest first."""
    chosen = select(dispatch).where(dispatch.c.state.in_(states) if states else _LEFT)
    return [from_row(Dispatch, row) for row in tx.rows(chosen.order_by(dispatch.c.id).limit(limit))]


def again(tx: Tx, one: Dispatch, at: datetime) -> None:
    """Try it anew from `at` on, as if it had never been tried; what could not be tried is addressed anew."""
    if one.state == "unsupported":
        give_back(tx, one.notifications)
        tx.execute(dispatch.delete().where(dispatch.c.id == one.id, dispatch.c.state == "unsupported"))
        return
    anew = {"state": "waiting", "due_at": at, "attempts": 0, "ended_at": None, "lease_until": None}
    tx.execute(update(dispatch).where(dispatch.c.id == one.id, _LEFT).values(**anew))


def counts(tx: Tx) -> dict[str, int]:
    """State -> how many, for those that are not sent."""
    chosen = select(dispatch.c.state, func.count().label("count")).where(_LEFT).group_by(dispatch.c.state)
    return {row["state"]: row["count"] for row in tx.rows(chosen)}


def next_due(tx: Tx) -> datetime | None:
    """When the next dispatch is due."""
    found = tx.value(select(func.min(dispatch.c.due_at, type_=dispatch.c.due_at.type)).where(_WAITING))
    return found if isinstance(found, datetime) else None


def subjects(tx: Tx, ids: Sequence[str]) -> list[Subject]:
    """What these notifications are about, in their order: kinds and codes of work, and nothing of a patient."""
    columns = ("kind", "program", "program_version", "code", "priority")
    joined = notification.outerjoin(work_item, work_item.c.ref == notification.c.subject)
    chosen = select(notification.c.id, notification.c.subject, *(work_item.c[name] for name in columns))
    mine = notification.c.id.in_([int(one) for one in ids])
    rows = tx.rows(chosen.select_from(joined).where(mine).order_by(notification.c.id))
    return [
        Subject(
            notification=row["id"],
            ref=row["subject"],
            kind=row["kind"] or "task",
            program=row["program"],
            program_version=row["program_version"],
            code=row["code"] or "",
            priority=row["priority"] or "routine",
        )
        for row in rows
    ]


def forget_sent(tx: Tx, before: datetime) -> int:
    """Delete what was sent before a moment; how many."""
    return tx.changed(dispatch.delete().where(dispatch.c.state == "sent", dispatch.c.ended_at < before))


def _holds(held: Dispatch) -> ColumnElement[bool]:
    return and_(dispatch.c.id == held.id, dispatch.c.token == held.token, _WAITING)
