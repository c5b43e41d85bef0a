"""What belongs to the session itself: where it begins, how long it stands, staying, a further tab, and the end."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from api.staff import cookies
from api.staff.endpoint import see_other
from api.staff.launched import note_logout
from api.staff.opening import opening
from api.staff.places import Place
from api.staff.rendering import HEADERS, outside
from api.staff.session import local_path
from api.staff.visit import Visit
from fhir_tracker import staff_sessions
from fhir_tracker.errors import NotFound
from fhir_tracker.storage import issuers
from fhir_tracker.storage import launches as kept
from fhir_tracker.storage.launches import LaunchSession
from subscriptions.ehr_styles import STYLES

CLEARED = '"cache", "storage"'


def open_page(visit: Visit) -> Response:
    """GET `/open`: to what this launch was made for."""
    with visit.context.database.read() as tx:
        return see_other(opening(tx, visit, launch_of(visit)))


def session_state(visit: Visit) -> Response:
    """GET `/session`: how many seconds this session stands if nobody does anything; asking counts as nothing."""
    return _left(visit)


def style(visit: Visit) -> Response:
    """GET `/style.css`: the colours of the EHR that the launch came from, as far as every text stays readable."""
    session = launch_of(visit)
    with visit.context.database.read() as tx:
        issuer = issuers.find(tx, session.connection) if session.connection and session.style_url else None
    text = STYLES.sheet(issuer, session.style_url, visit.now) if issuer else ""
    return Response(text, media_type="text/css", headers=HEADERS)


def stay(visit: Visit) -> Response:
    """POST `/stay`: somebody is there."""
    return _left(visit)


def tickets(visit: Visit) -> Response:
    """POST `/tickets`: the address of a further tab at `page`, which opens once and soon."""
    page = local_path(visit.form.get("page", ""), "/open")
    with visit.context.database.begin() as tx:
        ticket = staff_sessions.ticket(tx, launch_of(visit), page, visit.now)
    root = Place(root=visit.context.root)
    return JSONResponse({"address": root.at(f"/t/{ticket}")}, headers=HEADERS)


def logout(visit: Visit) -> Response:
    """POST `/logout`: the session ends, and the browser forgets what it kept of it."""
    session = launch_of(visit)
    with visit.context.database.begin() as tx:
        if staff_sessions.end(tx, session, visit.now, "logout"):
            note_logout(tx, session, visit.now, "logout", visit.viewer)
    place = Place(root=visit.context.root)
    response = outside("logged_off.html", place, status=200, framed_by=session.frame_ancestors)
    response.headers["Clear-Site-Data"] = CLEARED
    cookies.take(response, session.id)
    return response


def launch_of(visit: Visit) -> LaunchSession:
    """The launch that a page is of; NotFound outside one."""
    if visit.launch is None:
        raise NotFound("There is no launch here.")
    return visit.launch


def _left(visit: Visit) -> Response:
    with visit.context.database.read() as tx:
        session = kept.find(tx, launch_of(visit).id)
    idle = visit.context.settings.session_idle
    left = staff_sessions.left(session, visit.now, idle) if session else None
    return JSONResponse({"left": int(left.total_seconds()) if left else 0}, headers=HEADERS)
