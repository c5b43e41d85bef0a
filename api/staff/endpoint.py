"""The way in and out of the pages: reads cookie, query and form, runs the handler, answers errors as a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from api.context import AppContext
from api.edge import REQUEST_ID, ROUTE
from api.outcomes import headers_of, status_of
from api.staff import session as sessions
from api.staff.accounting import note_opened, note_refused
from api.staff.acts import guarded, needs_of
from api.staff.frames import bare_frame, frame_of
from api.staff.glass_form import ask, shut_for
from api.staff.places import Place
from api.staff.rendering import HEADERS, answer
from api.staff.shapes import Frame
from api.staff.visit import Visit, check_form, keep_session
from fhir_tracker import clock
from fhir_tracker.errors import (
    Busy,
    Gone,
    Incorrect,
    NotFound,
    TooLarge,
    TrackerError,
    Unavailable,
    UnsupportedMediaType,
)
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.storage.launches import LaunchSession

Handler = Callable[[Visit], Response]
MOST_FORM = 64_000
MOST_FIELDS = 100
_HEADINGS = {403: "Not allowed", 404: "Not found", 410: "Deleted", 409: "Changed meanwhile", 412: "Changed meanwhile"}
_LEAKY = ("csrf", "said")


async def serve(
    route: str, answering: Callable[[Request, bytes | None], Response], scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer one request of a `route`; `answering` runs in a thread and gets the body of a POST, None for one too large."""
    scope[ROUTE] = route
    request = Request(scope, receive)
    body = await body_of(request) if request.method == "POST" else b""
    response = await run_in_threadpool(answering, request, body)
    await response(scope, receive, send)


class Page:
    """One page as an ASGI application; `handler` runs in a thread, for everything behind it is synchronous.

    `route` is the address without ids, for logs and numbers.
    """

    def __init__(self, context: AppContext, handler: Handler, route: str) -> None:
        self._context = context
        self._handler = guarded(handler, route)
        self._route = route
        self.needs = needs_of(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await serve(self._route, self._serve, scope, receive, send)

    def _serve(self, request: Request, body: bytes | None) -> Response:
        known = sessions.read(request.cookies.get(sessions.COOKIE, ""), self._context.secret_key)
        session = known or sessions.fresh()
        place = Place(root=self._context.root)
        visit = visit_of(self._context, request, open_viewer(), session, clock.now(), place)
        response = respond(visit, self._handler, request, body)
        if known is None and not any(name == b"set-cookie" for name, _ in response.raw_headers):
            keep_session(visit, response, session)
        return placed(response, place)


def visit_of(
    context: AppContext,
    request: Request,
    viewer: Viewer,
    session: sessions.Session,
    now: datetime,
    place: Place,
    launch: LaunchSession | None = None,
) -> Visit:
    """The visit that a request is, without its form; its addresses are those within `place`."""
    query = request.url.query[:8000]
    pairs = [(name, text) for name, text in _pairs(query) if name not in _LEAKY]
    path = request.url.path.removeprefix(f"/l/{place.launch}") if place.launch else request.url.path
    return Visit(
        context=context,
        viewer=viewer,
        session=session,
        now=now,
        request_id=str(request.scope.get(REQUEST_ID, "")),
        path=path,
        query=dict(_pairs(query)),
        form={},
        args={name: str(value) for name, value in request.path_params.items()},
        headers={name.lower(): text for name, text in request.headers.items()},
        address=path + ("?" + "&".join(_raw(query)) if pairs else ""),
        place=place,
        launch=launch,
    )


def respond(visit: Visit, handler: Handler, request: Request, body: bytes | None) -> Response:
    """What the handler answers, once the form of a POST is known to be of a page of ours; an error as a page."""
    try:
        if request.method == "POST":
            visit = replace(visit, form=form_of(request, body))
            check_form(visit)
        response = handler(visit)
        note_opened(visit, request, response)
    except TrackerError as error:
        response = problem(visit, error)
        note_refused(visit, request, error)
    return response


def placed(response: Response, place: Place) -> Response:
    """The answer, with the address it leads to as the browser asks for it."""
    if "location" in response.headers:
        response.headers["location"] = place.at(response.headers["location"])
    return response


def see_other(path: str, said: str = "") -> Response:
    """Send the browser on after a POST; `said` names the sentence the next page shows."""
    if said:
        path, hash_, fragment = path.partition("#")
        path += f"{'&' if '?' in path else '?'}said={said}{hash_}{fragment}"
    return RedirectResponse(path, status_code=303, headers=HEADERS)


def problem(visit: Visit, error: TrackerError) -> Response:
    """An error as a page that says what is wrong and leads back."""
    if isinstance(error, NotFound) and (shut := _shut(visit, error)):
        return ask(visit, shut)
    status = status_of(error)
    frame = _frame(visit)
    issues = [one.message for one in error.issues if one.message != error.message]
    gone = isinstance(error, NotFound | Gone)
    response = answer(
        "problem.html",
        frame,
        status=status,
        heading=_HEADINGS.get(status, "That did not work"),
        text=error.message,
        issues=issues,
        back="/" if gone else visit.back,
    )
    response.headers.update(headers_of(error) if status == 503 else {})
    return response


def _shut(visit: Visit, error: NotFound) -> str | None:
    """The patient whose record is not found because it is restricted, and might be opened by this viewer."""
    with visit.context.database.read() as tx:
        return shut_for(tx, visit, error)


def _frame(visit: Visit) -> Frame:
    """The frame of a problem page; without what the store knows when the store is the problem."""
    try:
        with visit.context.database.read() as tx:
            return frame_of(tx, visit, "Problem")
    except (Unavailable, Busy):
        return bare_frame(visit, "Problem")


async def body_of(request: Request) -> bytes | None:
    """The body, or None when it is larger than any form of ours."""
    found = b""
    async for chunk in request.stream():
        found += chunk
        if len(found) > MOST_FORM:
            return None
    return found


def form_of(request: Request, body: bytes | None) -> Mapping[str, str]:
    """The fields of a form, the last of each name; TooLarge, UnsupportedMediaType or Incorrect for what is none."""
    if body is None:
        raise TooLarge(f"A form may have {MOST_FORM} bytes.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType("Forms are sent as application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise Incorrect("The form cannot be read.") from None
    if any("\0" in text for pair in pairs for text in pair):
        raise Incorrect("The form holds a character that cannot be stored.")
    return {name: text.replace("\r\n", "\n") for name, text in pairs}


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return [(name, text.replace("\0", "")) for name, text in parse_qsl(query, max_num_fields=MOST_FIELDS)]
    except ValueError:
        return []


def _raw(query: str) -> list[str]:
    return [part for part in query.split("&") if part.partition("=")[0] not in _LEAKY]
