"""The audit trail for auditors: all of it with filters, and who looked at one patient."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from starlette.responses import Response

from api.staff import words
from api.staff.frames import frame_of
from api.staff.names import names_for
from api.staff.rendering import answer
from api.staff.visit import Visit, note_access
from api.staff.words import When
from fhir_tracker.audit_events import patients_of
from fhir_tracker.errors import Incorrect, NotFound
from fhir_tracker.merged_patients import records_of
from fhir_tracker.model.program import Calendar
from fhir_tracker.storage import audit_search, patients
from fhir_tracker.storage.audit import AuditRow
from fhir_tracker.storage.audit_search import Wanted
from fhir_tracker.storage.database import Tx

SHOWN = 100
NAMED = 20
"""Patients of one row that are named; of more it is said how many."""
MOST_WHY = 200
BROKEN = "BTG"
_THROUGH = {
    "page": "pages", "fhir": "FHIR API", "command": "command line", "worker": "the tracker itself", "security": "login",
}  # fmt: skip
_OUTCOMES = {"success": "", "denied": "denied", "error": "failed"}
_FIELDS = ("patient", "who", "action", "outcome", "from", "to")


@dataclass(frozen=True, kw_only=True)
class AccessView:
    """One row of the trail as people read it; `broken` where the glass was broken for it."""

    when: When
    who: str
    roles: str
    did: str
    what: str
    patients: tuple[str, ...]
    more: int
    why: str
    through: str
    outcome: str
    broken: bool


def audit_page(visit: Visit) -> Response:
    """GET `/audit`: the trail, newest first, narrowed by what the form above it says."""
    given = {name: visit.query.get(name, "").strip()[:200] for name in _FIELDS}
    with visit.context.database.begin() as tx:
        wanted = _wanted(tx, visit, given)
        rows = audit_search.listed(tx, visit.viewer, wanted, SHOWN + 1)
        shown = _views(tx, visit, rows[:SHOWN])
        _note(tx, visit, next(iter(wanted.patients), None), shown)
        frame = frame_of(tx, visit, "Audit trail", "/audit")
    older, newest = _older("/audit", given, rows), _newest("/audit", given, visit)
    return answer("audit.html", frame, rows=shown, given=given, older=older, newest=newest, patient="", name="")


def _wanted(tx: Tx, visit: Visit, given: dict[str, str]) -> Wanted:
    """What the form asks for; its days begin at midnight of the practice, as the moments on the page are told."""
    zone = ZoneInfo(_calendar(tx, visit).zone)
    return Wanted(
        patients=records_of(tx, named) if (named := given["patient"].removeprefix("Patient/")) else (),
        who=given["who"] or None,
        action=given["action"] or None,
        outcome=given["outcome"] or None,
        low=_day(given["from"], "from", zone),
        high=_day(given["to"], "to", zone, days=1),
        before=_before(visit),
    )


def access_page(visit: Visit) -> Response:
    """GET `/patients/{id}/access`: who looked at this patient, in which role, at what, and through what."""
    patient = visit.args["id"]
    if visit.viewer.patient not in (None, patient):
        raise NotFound(f"There is no Patient/{patient}.")
    with visit.context.database.begin() as tx:
        wanted = Wanted(patients=records_of(tx, patient), before=_before(visit))
        rows = audit_search.listed(tx, visit.viewer, wanted, SHOWN + 1)
        shown = _views(tx, visit, rows[:SHOWN])
        _note(tx, visit, patient, shown)
        known = patients.find(tx, visit.viewer, patient)
        frame = frame_of(tx, visit, "Who looked at this patient", "/audit")
    path = f"/patients/{quote(patient, safe='')}/access"
    older, newest = _older(path, {}, rows), _newest(path, {}, visit)
    name = known.name if known else ""
    return answer(
        "audit.html",
        frame,
        rows=shown,
        given={},
        older=older,
        newest=newest,
        patient=patient,
        name=name,
        locked=visit.viewer.patient is not None,
    )


def _note(tx: Tx, visit: Visit, patient: str | None, shown: tuple[AccessView, ...]) -> None:
    """Looking is told with the patients whom the rows name."""
    named = [one for view in shown for one in view.patients if one != patient]
    note_access(tx, visit, "search", "AuditEvent", patient, patients=named)


def _views(tx: Tx, visit: Visit, rows: list[AuditRow]) -> tuple[AccessView, ...]:
    calendar = _calendar(tx, visit)
    return tuple(_view(one, calendar, visit.viewer.patient) for one in rows)


def _calendar(tx: Tx, visit: Visit) -> Calendar:
    return names_for(tx, visit.viewer, []).calendar


def _view(row: AuditRow, calendar: Calendar, locked: str | None) -> AccessView:
    """`locked`: the only patient of whom the viewer may know."""
    named = [one for one in patients_of(row) if locked in (None, one)]
    return AccessView(
        when=words.to_the_second(row.at, calendar),
        who=row.name or row.who,
        roles=", ".join(sorted(row.roles)),
        did=row.action,
        what=f"{row.ref}, {words.counted(len(row.patients), 'patient')} listed" if row.patients else row.ref,
        patients=tuple(named[:NAMED]),
        more=max(0, len(named) - NAMED),
        why=str(row.detail.get("reason", ""))[:MOST_WHY],
        through=", ".join(one for one in (_THROUGH.get(row.kind, row.kind), row.client, row.address) if one),
        outcome=_OUTCOMES.get(row.outcome, row.outcome),
        broken=row.purpose == BROKEN or row.action.startswith("break-glass"),
    )


def _day(text: str, name: str, zone: ZoneInfo, days: int = 0) -> datetime | None:
    """The beginning of a day, or of the one so many days later."""
    if not text:
        return None
    try:
        return datetime.combine(date.fromisoformat(text) + timedelta(days=days), time(), zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Incorrect(f"The day in '{name}' is none: use 2026-03-09.") from None


def _before(visit: Visit) -> int | None:
    text = visit.query.get("before", "")
    return int(text) if text.isdecimal() and len(text) < 19 else None


def _older(path: str, given: dict[str, str], rows: list[AuditRow]) -> str:
    if len(rows) <= SHOWN:
        return ""
    kept = {name: text for name, text in given.items() if text}
    return f"{path}?{urlencode({**kept, 'before': str(rows[SHOWN - 1].seq)})}"


def _newest(path: str, given: dict[str, str], visit: Visit) -> str:
    """The first page again, from a later one."""
    if _before(visit) is None:
        return ""
    kept = urlencode({name: text for name, text in given.items() if text})
    return f"{path}?{kept}" if kept else path
