"""How each EHR connection does: how old its data is against what is promised, and what waits in quarantine."""

from __future__ import annotations

from datetime import datetime

from starlette.responses import Response

from api.staff import words
from api.staff.frames import age_of, frame_of, is_stale, promised
from api.staff.names import names_for
from api.staff.rendering import answer
from api.staff.shapes import Chip, Health
from api.staff.visit import Visit
from api.staff.words import When
from fhir_tracker.model.program import Calendar
from fhir_tracker.storage import connections, cursors, quarantine
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Tx


def sync_page(visit: Visit) -> Response:
    """GET `/sync`."""
    with visit.context.database.read() as tx:
        calendar = names_for(tx, visit.viewer, visit.context.access, []).calendar
        sync = tuple(health_of(tx, one, visit.now, calendar) for one in connections.all(tx))
        frame = frame_of(tx, visit, "EHR sync", "/sync")
    return answer("sync.html", frame, view={"sync": sync})


def health_of(tx: Tx, connection: Connection, now: datetime, calendar: Calendar) -> Health:
    """One connection in words."""
    last = connection.last_success_at
    return Health(
        key=connection.key,
        address=connection.base_url,
        state=_state(connection, now),
        age=f"{words.span(age_of(connection, now))} old" if last else "nothing has come yet",
        promised=words.span(promised(connection)),
        last_success=words.ago(last, now, calendar) if last else None,
        quarantined=quarantine.open_count(tx, connection.key),
        error=connection.last_error or "",
        types=tuple(
            _type(one, now, calendar) for one in cursors.of_connection(tx, connection.key) if one.type.isalpha()
        ),
    )


def _state(connection: Connection, now: datetime) -> Chip:
    if connection.state == "auth_failed":
        return Chip(label="login refused", tone="late", icon="late", means="It does not take our credentials")
    if connection.state == "failing":
        return Chip(label="failing", tone="late", icon="late", means="The last attempt to follow it failed")
    if is_stale(connection, now):
        return Chip(label="behind", tone="late", icon="late", means="Its data is older than promised")
    if connection.last_success_at is None:
        return Chip(label="first load", tone="today", icon="progress", means="It has not been read to the end yet")
    return Chip(label="in step", tone="done", icon="done", means="Followed within what is promised")


def _type(cursor: Cursor, now: datetime, calendar: Calendar) -> tuple[str, When | None, str]:
    until = words.ago(cursor.watermark, now, calendar) if cursor.watermark else None
    return cursor.type, until, "loading" if cursor.next_url else "followed"
