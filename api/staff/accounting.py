"""No page without its row in the trail: what a handler did not tell of itself, and what was refused."""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from api.edge import ROUTE
from api.outcomes import status_of
from api.staff.visit import Visit, note_access
from fhir_tracker.errors import Category, TrackerError

SILENT = frozenset({"/pulse", "/help/keys", "/preferences", "/session", "/stay", "/style.css"})
"""Routes that show nothing of patients and change nothing of theirs: whether a list changed, the keys, what a browser prefers."""
_NAMED = {"tasks": "Task", "patients": "Patient", "plans": "CarePlan"}
_DENIALS = frozenset({Category.FORBIDDEN, Category.NOT_FOUND})
_NOT_RECORDED = frozenset({Category.BUSY, Category.UNAVAILABLE})


def note_opened(visit: Visit, request: Request, response: Response) -> None:
    """The row of a page that has none yet; raises Unavailable where it cannot be written, and the page is not shown."""
    route = _route(request)
    if visit.noted or route in SILENT:
        return
    outcome = "error" if response.status_code >= 400 else "success"
    _note(visit, request, outcome, {"status": response.status_code} if outcome == "error" else {})


def note_refused(visit: Visit, request: Request, error: TrackerError) -> None:
    """The row of what was not shown or not done; not where the store, and the trail in it, is away."""
    if error.category in _NOT_RECORDED or visit.noted:
        return
    with suppress(TrackerError):
        outcome = "denied" if error.category in _DENIALS else "error"
        _note(visit, request, outcome, {"status": status_of(error)})


def _note(visit: Visit, request: Request, outcome: str, detail: dict[str, object]) -> None:
    action = "update" if request.method == "POST" else "read"
    ref, patient = about(visit, _route(request))
    with visit.context.database.begin() as tx:
        note_access(tx, visit, action, ref, patient, outcome=outcome, detail=detail)


def about(visit: Visit, route: str) -> tuple[str, str | None]:
    """What a page is about, from its address: a resource, or the page itself; and the patient where it is one's."""
    place = route.strip("/").split("/")[0]
    id_ = visit.args.get("id", "")[:64]
    if place in _NAMED and id_:
        return f"{_NAMED[place]}/{id_}", id_ if place == "patients" else None
    return f"page{route if route.startswith('/') else f'/{route}'}", None


def _route(request: Request) -> str:
    found = request.scope.get(ROUTE)
    return found.removeprefix("/l/{launch}") if isinstance(found, str) else "other"
