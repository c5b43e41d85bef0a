"""Notifications: what a role or a person is told, in the application or by other channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, func, or_, select, update

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.bulks import NOTIFICATION
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.types import microseconds
from fhir_tracker.storage.work_tables import notification


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One message; `subject` is the reference it is about.

    `state` is `new` or `read`; of another channel than `in-app` first `waiting`, then `told` when it is on its way.
    """

    id: int
    to_role: str | None
    to_person: str | None
    channel: str
    subject: str
    patient: str | None
    text: str
    created_at: datetime
    read_at: datetime | None
    state: str


def add(
    tx: Tx,
    *,
    to_role: str | None,
    to_person: str | None,
    channel: str,
    subject: str,
    patient: str | None,
    text: str,
    at: datetime,
) -> int:
    """Tell a role or a person something about `subject`; the notification's id."""
    id_ = tx.keys.take()
    row: dict[str, Any] = {
        "id": id_,
        "to_role": to_role,
        "to_person": to_person,
        "channel": channel,
        "subject": subject,
        "patient": patient,
        "text": text,
        "created_at": microseconds(at),
        "state": "new" if channel == "in-app" else "waiting",
    }
    tx.added.add(NOTIFICATION, tuple(row.get(name) for name in NOTIFICATION.columns))
    return id_


def of_role(
    tx: Tx,
    viewer: Viewer,
    roles: Sequence[str],
    *,
    person: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Notification]:
    """What these roles (and `person`) were told, newest first; `before` goes on from an earlier page."""
    chosen = select(notification).where(_addressed(roles, person), row_scope(viewer, notification))
    if before is not None:
        chosen = chosen.where(notification.c.id < before)
    return [from_row(Notification, row) for row in tx.rows(chosen.order_by(notification.c.id.desc()).limit(limit))]


def of_subject(tx: Tx, viewer: Viewer, subject: str) -> list[Notification]:
    """What was told about one reference, oldest first."""
    chosen = select(notification).where(notification.c.subject == subject, row_scope(viewer, notification))
    return [from_row(Notification, row) for row in tx.rows(chosen.order_by(notification.c.id))]


def mark_read(tx: Tx, viewer: Viewer, id_: int, at: datetime) -> bool:
    """Mark as read; False when there is none unread with that id for this viewer."""
    _read = case((notification.c.state == "new", "read"), else_=notification.c.state)
    is_it = (notification.c.id == id_) & notification.c.read_at.is_(None) & row_scope(viewer, notification)
    return tx.changed(update(notification).where(is_it).values(read_at=at, state=_read)) == 1


def unread_count(tx: Tx, viewer: Viewer, roles: Sequence[str], *, person: str | None = None) -> int:
    """How many in-app notifications these roles (and `person`) have not read."""
    is_unread = (notification.c.read_at.is_(None)) & (notification.c.channel == "in-app") & _addressed(roles, person)
    return int(tx.value(select(func.count()).where(is_unread, row_scope(viewer, notification))))


def _addressed(roles: Sequence[str], person: str | None) -> ColumnElement[bool]:
    to_role = notification.c.to_role.in_(roles)
    return to_role if person is None else or_(to_role, notification.c.to_person == person)
