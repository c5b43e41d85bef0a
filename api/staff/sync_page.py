"""How each EHR connection does: how old its data is against what is promised, and what waits in quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from starlette.responses import Response

from api.freshness import TypeAge, age_of, is_stale, promised, type_ages
from api.staff import words
from api.staff.acts import may_open
from api.staff.frames import frame_of
from api.staff.names import names_for
from api.staff.rendering import answer
from api.staff.shapes import Chip, Form, Health, TypeHealth
from api.staff.visit import Visit
from fhir_tracker.model.program import Calendar
from fhir_tracker.storage import connections, cursors, outbox, quarantine
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Tx
from subscriptions.showing import budget_of

_BEHIND = Chip(label="behind", tone="late", icon="late", means="Its data is older than promised")
_LOADING = Chip(label="first load", tone="today", icon="progress", means="It has not been read to the end yet")
_READING = Chip(label="being read", tone="today", icon="progress", means="A pass over what has changed is under way")
_IN_STEP = Chip(label="in step", tone="done", icon="done", means="Followed within what is promised")

_PAGES = ("/connections", "/connections/{key}", "/quarantine", "/outbox", "/setup")


def sync_page(visit: Visit, new: Form | None = None, *, status: int = 200) -> Response:
    """GET `/sync`; `new` is the form for one more connection."""
    with visit.context.database.read() as tx:
        calendar = names_for(tx, visit.viewer, []).calendar
        sync = tuple(health_of(tx, one, visit, calendar) for one in connections.all(tx))
        frame = frame_of(tx, visit, "EHR sync", "/sync")
    opens = {page for page in _PAGES if may_open(visit, page)}
    return answer("sync.html", frame, status=status, view={"sync": sync}, opens=opens, new=new)


def health_of(tx: Tx, connection: Connection, visit: Visit, calendar: Calendar) -> Health:
    """One connection in words."""
    last, now, overlap = connection.last_success_at, visit.now, visit.context.settings.poll_overlap
    waiting = outbox.counts(tx, connection.key)
    ages = type_ages(tx, connection, overlap, now)
    held = {one.type: one for one in cursors.of_connection(tx, connection.key)}
    return Health(
        key=connection.key,
        address=connection.base_url,
        state=state_of(connection, ages, overlap, now, budget_of(tx, connection, now).circuit),
        age=f"{words.span(age_of(connection, now))} old" if last else "nothing has come yet",
        promised=words.span(promised(connection, overlap)),
        last_success=words.ago(last, now, calendar) if last else None,
        quarantined=quarantine.open_count(tx, connection.key),
        outbox=sum(waiting.values()),
        to_decide=waiting.get("conflict", 0) + waiting.get("dead", 0),
        error=connection.last_error or "",
        types=tuple(_type(one, held.get(one.type), now, calendar) for one in ages),
    )


def state_of(
    connection: Connection, types: Sequence[TypeAge], overlap: timedelta, now: datetime, circuit: str = "closed"
) -> Chip:
    """How a connection does, in a word."""
    if connection.state == "auth_failed":
        return Chip(label="login refused", tone="late", icon="late", means="It does not take our credentials")
    if circuit != "closed":
        return Chip(
            label="left alone", tone="late", icon="late", means="It failed too often in a row: it is tried later"
        )
    if connection.state == "failing":
        return Chip(label="failing", tone="late", icon="late", means="The last attempt to follow it failed")
    if is_stale(connection, overlap, now) or any(one.stale for one in types):
        return _BEHIND
    return _LOADING if connection.last_success_at is None else _IN_STEP


def _type(age: TypeAge, cursor: Cursor | None, now: datetime, calendar: Calendar) -> TypeHealth:
    state = _LOADING if age.never else _READING if cursor is not None and cursor.next_url else _IN_STEP
    return TypeHealth(
        type=age.type,
        complete=None if age.never else words.ago(now - age.age, now, calendar),
        promised=words.span(age.promised),
        state=_BEHIND if age.stale else state,
    )
