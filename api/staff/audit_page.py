"""The audit trail for auditors: all of it with filters, and who looked at one patient."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from starlette.responses import Response

from api.staff import words
from api.staff.frames import frame_of
from api.staff.names import names_for
from api.staff.rendering import answer
from api.staff.visit import Visit, note_access
from api.staff.words import When
from fhir_tracker.errors import Incorrect, NotFound
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.model.program import Calendar
from fhir_tracker.storage import audit_search, patients
from fhir_tracker.storage.audit import AuditRow
from fhir_tracker.storage.audit_search import Wanted
from fhir_tracker.storage.database import Tx

SHOWN = 100
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
    href: str
    through: str
    outcome: str
    broken: bool


def audit_page(visit: Visit) -> Response:
    """GET `/audit`: the trail, newest first, narrowed by what the form above it says."""
    given = {name: visit.query.get(name, "").strip()[:200] for name in _FIELDS}
    wanted = Wanted(
        patient=given["patient"].removeprefix("Patient/") or None,
        who=given["who"] or None,
        action=given["action"] or None,
        outcome=given["outcome"] or None,
        low=_day(given["from"], "from"),
        high=_day(given["to"], "to", days=1),
        before=_before(visit),
    )
    with visit.context.database.begin() as tx:
        note_access(tx, visit, "search", "AuditEvent", wanted.patient)
        rows = audit_search.listed(tx, visit.viewer, wanted, SHOWN + 1)
        shown = _views(tx, visit, rows[:SHOWN])
        frame = frame_of(tx, visit, "Audit trail", "/audit")
    return answer(
        "audit.html", frame, rows=shown, given=given, older=_older("/audit", given, rows), patient="", name=""
    )


def access_page(visit: Visit) -> Response:
    """GET `/patients/{id}/access`: who looked at this patient, in which role, at what, and through what."""
    patient = visit.args["id"]
    if visit.viewer.patient not in (None, patient):
        raise NotFound(f"There is no Patient/{patient}.")
    with visit.context.database.begin() as tx:
        note_access(tx, visit, "search", "AuditEvent", patient)
        rows = audit_search.listed(tx, visit.viewer, Wanted(patient=patient, before=_before(visit)), SHOWN + 1)
        shown = _views(tx, visit, rows[:SHOWN])
        known = patients.find(tx, visit.viewer, patient)
        frame = frame_of(tx, visit, "Who looked at this patient", "/audit")
    older = _older(f"/patients/{patient}/access", {}, rows)
    return answer(
        "audit.html", frame, rows=shown, given={}, older=older, patient=patient, name=known.name if known else ""
    )


def _views(tx: Tx, visit: Visit, rows: list[AuditRow]) -> tuple[AccessView, ...]:
    calendar = names_for(tx, visit.viewer, []).calendar
    return tuple(_view(one, visit.now, calendar) for one in rows)


def _view(row: AuditRow, now: datetime, calendar: Calendar) -> AccessView:
    is_listed = len(row.patients) > 0
    return AccessView(
        when=words.ago(row.at, now, calendar),
        who=row.name or row.who,
        roles=", ".join(sorted(row.roles)),
        did=row.action,
        what=f"{row.ref}, {len(row.patients)} patients listed" if is_listed else row.ref,
        href=f"/patients/{row.patient}/access" if row.patient else "",
        through=", ".join(one for one in (_THROUGH.get(row.kind, row.kind), row.client, row.address) if one),
        outcome=_OUTCOMES.get(row.outcome, row.outcome),
        broken=row.purpose == BROKEN or row.action.startswith("break-glass"),
    )


def _day(text: str, name: str, days: int = 0) -> datetime | None:
    if not text:
        return None
    try:
        return parse_datetime(f"{text}T00:00:00Z") + timedelta(days=days)
    except (Incorrect, OverflowError):
        raise Incorrect(f"The day in '{name}' is none: use 2026-03-09.") from None


def _before(visit: Visit) -> int | None:
    text = visit.query.get("before", "")
    return int(text) if text.isdecimal() and len(text) < 19 else None


def _older(path: str, given: dict[str, str], rows: list[AuditRow]) -> str:
    if len(rows) <= SHOWN:
        return ""
    kept = {name: text for name, text in given.items() if text}
    return f"{path}?{urlencode({**kept, 'before': str(rows[SHOWN - 1].seq)})}"
