"""The pages of a launch, below `/l/{launch}`: every request shows a secret that fits the launch, and sees as its person may."""

from __future__ import annotations

from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext
from api.fhir.entrance import address_of
from api.staff import cookies
from api.staff.endpoint import Handler, Page, placed, respond, visit_of
from api.staff.entry import failed, refused
from api.staff.own_reading import OF_ONE_PATIENT, shown_by_ehr
from api.staff.places import Place
from api.staff.rendering import policy
from api.staff.session import DENSITIES, Session
from api.staff.visit import Visit
from fhir_tracker import clock, staff_sessions
from fhir_tracker.errors import NotFound, TrackerError
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.staff_sessions import Entrance, Shown
from fhir_tracker.storage import audit, preferences
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.launches import LaunchSession

HANDLE = "x-launch-handle"
_OF_ANYBODY = frozenset(
    {"/", "/open", "/help/keys", "/preferences", "/session", "/stay", "/style.css", "/logout", "/tickets"}
)


class LaunchedPage(Page):
    """One page of a launch; `counts` says whether asking for it is something a person does."""

    def __init__(self, context: AppContext, handler: Handler, path: str, *, counts: bool = True) -> None:
        if path.startswith(OF_ONE_PATIENT):
            handler = shown_by_ehr(handler)
        elif path not in _OF_ANYBODY:
            handler = unlocked(handler)
        super().__init__(context, handler, f"/l/{{launch}}{path}")
        self._counts = counts

    def _serve(self, request: Request, body: bytes | None) -> Response:
        try:
            return self._answer(request, body)
        except TrackerError as error:
            return failed(self._context, error)

    def _answer(self, request: Request, body: bytes | None) -> Response:
        now, context = clock.now(), self._context
        shown = _shown(request)
        with context.database.read() as tx:
            entrance = staff_sessions.enter(tx, shown, now, context.settings.session_idle)
            liked = _liked(tx, entrance)
        session, viewer = entrance.session, entrance.viewer
        if session is None or viewer is None:
            _note_end(context, entrance, now)
            _note_foreign(context, entrance, shown, now)
            return refused(context, entrance)
        place = Place(root=context.root, launch=session.id)
        visit = visit_of(context, request, viewer, liked, now, place, launch=session)
        if self._counts:
            with context.database.begin() as tx:
                staff_sessions.act(tx, session, now)
        response = placed(respond(visit, self._handler, request, body), place)
        response.headers["content-security-policy"] = policy(*session.frame_ancestors)
        return response


def unlocked(handler: Handler) -> Handler:
    """The handler, which is not there for those whose launch is of one patient."""

    def handle(visit: Visit) -> Response:
        if visit.viewer.patient is not None:
            raise NotFound("There is no page at this address in a patient's chart.")
        return handler(visit)

    return handle


def _shown(request: Request) -> Shown:
    launch = str(request.path_params.get("launch", ""))
    return Shown(
        launch=launch,
        secret=request.cookies.get(cookies.name_of(launch), ""),
        handle=request.headers.get(HANDLE, ""),
        address=address_of(request.scope),
    )


def _liked(tx: Tx, entrance: Entrance) -> Session:
    """What ties forms to this launch, and how its person likes the pages."""
    session = entrance.session
    id_ = f"launch:{session.id}" if session else ""
    liked = preferences.find(tx, session.account) if session and entrance.viewer else None
    if liked is None:
        return Session(id=id_)
    density = liked.density if liked.density in DENSITIES else DENSITIES[0]
    return Session(id=id_, density=density, keys=liked.keys)


def _note_end(context: AppContext, entrance: Entrance, now: datetime) -> None:
    """A session that time has ended ends for good, once, when somebody shows its secret."""
    session = entrance.session
    if session is None or session.ended_at is not None or entrance.why not in ("idle", "over", "disabled"):
        return
    with context.database.begin() as tx:
        if staff_sessions.end(tx, session, now, entrance.why):
            note_logout(tx, session, now, entrance.why)


def _note_foreign(context: AppContext, entrance: Entrance, shown: Shown, now: datetime) -> None:
    """Somebody at the door of a launch that is there showed a secret which is none of it; raises TooMany for too many."""
    session = entrance.session
    if session is None or entrance.why != "unknown" or not (shown.secret or shown.handle):
        return
    context.limits.failure(shown.address)
    with context.database.begin() as tx:
        audit.add(
            tx,
            at=now,
            viewer=Viewer(who="nobody", address=shown.address, session=session.id),
            action="denied",
            outcome="denied",
            detail={"through": "pages", "why": "secret"},
            kind="security",
        )


def note_logout(tx: Tx, session: LaunchSession, now: datetime, why: str, viewer: Viewer | None = None) -> None:
    """The audit row of the end of a session."""
    who = viewer or staff_sessions.person_of(tx, session)
    audit.add(tx, at=now, viewer=who, action="logout", patient=session.patient, detail={"through": "pages", "why": why})
