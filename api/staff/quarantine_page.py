"""What EHRs sent and could not be applied, for the clinic admin: listed, shown as it came, tried again, discarded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from api.staff import words
from api.staff.endpoint import see_other
from api.staff.frames import frame_of
from api.staff.names import names_for
from api.staff.rendering import answer
from api.staff.shapes import Chip, Field, Form
from api.staff.visit import Visit, note_access, note_reading, numbered
from api.staff.words import When
from fhir_tracker import quarantine
from fhir_tracker.errors import Incorrect, RuleBroken
from fhir_tracker.model.program import Calendar
from fhir_tracker.storage import quarantine as stored
from fhir_tracker.storage.quarantine import Quarantined
from subscriptions import retry_quarantined

SHOWN = 200
MOST_TEXT = 100_000
_NOT_SHOWN = "It cannot be read, and your role sees a part of such records only."
_WAITS = Chip(label="waiting", tone="late", icon="late", means="It could not be applied and is not used")
_DISCARDED = Chip(label="discarded", tone="hold", icon="closed", means="It waits again when the EHR sends another text")
_DONE = Chip(label="done", tone="done", icon="done", means="It was applied, or a newer text was")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the list."""

    href: str
    resource: str
    connection: str
    reason: str
    first: When
    last: When
    times: int


def quarantine_page(visit: Visit) -> Response:
    """GET `/quarantine`, with `?connection=` of one connection only."""
    only = visit.query.get("connection") or None
    with visit.context.database.read() as tx:
        calendar = names_for(tx, visit.viewer, []).calendar
        found = stored.list(tx, visit.viewer, connection=only, limit=SHOWN)
        total = stored.waiting(tx, visit.viewer, only)
        frame = frame_of(tx, visit, "Quarantine", "/sync")
    rows = [_row(one, visit.now, calendar) for one in found]
    note_reading(visit, "search", "quarantine", patients=[one.patient for one in found if one.patient])
    return answer("quarantine.html", frame, rows=rows, total=total, only=only or "")


def entry_page(visit: Visit) -> Response:
    """GET `/quarantine/{id}`."""
    entry = _entry(visit)
    note_reading(visit, "read", _audited(entry), entry.patient)
    return _shown(visit, entry)


def retry(visit: Visit) -> Response:
    """POST `/quarantine/{id}/retry`: take it in again; the page says why it still cannot be."""
    entry = _entry(visit)
    reason = retry_quarantined(visit.context.database, entry, lambda: visit.now)
    note_reading(visit, "retry", _audited(entry), entry.patient)
    if reason is None:
        return see_other("/quarantine", "taken")
    return _shown(visit, entry, refused=f"It still cannot be applied: {reason}")


def discard(visit: Visit) -> Response:
    """POST `/quarantine/{id}/discard`, with a reason."""
    entry = _entry(visit)
    try:
        with visit.context.database.begin() as tx:
            quarantine.discard(tx, entry, visit.form.get("reason", ""), visit.author)
            note_access(tx, visit, "discard", _audited(entry), entry.patient)
    except RuleBroken:
        raise
    except Incorrect as error:
        return _shown(visit, entry, wrong=error.message)
    return see_other("/quarantine", "discarded")


def _entry(visit: Visit) -> Quarantined:
    id_ = numbered(visit, "There is nothing of that number in quarantine.")
    with visit.context.database.read() as tx:
        return quarantine.get(tx, visit.viewer, id_)


def _shown(visit: Visit, entry: Quarantined, *, refused: str = "", wrong: str = "") -> Response:
    with visit.context.database.read() as tx:
        calendar = names_for(tx, visit.viewer, []).calendar
        frame = frame_of(tx, visit, f"Quarantine: {entry.type}", "/sync")
    text = quarantine.text_for(visit.viewer, entry)
    given = {
        "entry": entry,
        "row": _row(entry, visit.now, calendar),
        "state": _state(entry),
        "text": _NOT_SHOWN if text is None else text[:MOST_TEXT],
        "cut": text is not None and len(text) > MOST_TEXT,
        "refused": refused,
        "discard": _form(entry, visit, wrong) if _state(entry) is _WAITS else None,
        "is_open": entry.resolved_at is None,
    }
    return answer("quarantine_entry.html", frame, status=422 if refused or wrong else 200, **given)


def _form(entry: Quarantined, visit: Visit, wrong: str) -> Form:
    why = Field(
        name="reason",
        label="Why it is not needed",
        value=visit.form.get("reason", ""),
        required=True,
        error=wrong,
        hint="One line, without patient data. It waits again when the EHR sends another text.",
    )
    return Form(
        action=f"/quarantine/{entry.id}/discard", submit="Discard", fields=(why,), title="Not needed?", primary=False
    )


def _row(entry: Quarantined, now: datetime, calendar: Calendar) -> Row:
    return Row(
        href=f"/quarantine/{entry.id}",
        resource=f"{entry.type} {entry.remote_id}",
        connection=entry.connection,
        reason=entry.reason,
        first=words.ago(entry.first_seen_at, now, calendar),
        last=words.ago(entry.last_seen_at, now, calendar),
        times=entry.times,
    )


def _state(entry: Quarantined) -> Chip:
    if entry.resolved_at is not None:
        return _DONE
    return _DISCARDED if entry.resolution else _WAITS


def _audited(entry: Quarantined) -> str:
    return f"Quarantine/{entry.id}"
