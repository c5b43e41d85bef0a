"""Pages for people who are not in: the ways in, why a session is over, and the first page of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from api.context import AppContext
from api.edge import ROUTE
from api.outcomes import headers_of, status_of
from api.staff import cookies
from api.staff.places import Place
from api.staff.rendering import HEADERS, outside, policy
from api.staff.shapes import Tab
from fhir_tracker import clock, staff_sessions
from fhir_tracker.errors import Busy, TrackerError, Unavailable
from fhir_tracker.staff_sessions import Entrance, Why
from fhir_tracker.storage import issuers
from fhir_tracker.storage import launches as kept
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.launches import LaunchSession

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="fhir-tracker"'}
_MOST_COOKIES = 20
_NOT_IN = ("Nobody is logged in", "Work and patients are shown only to people this tracker knows.")
_TOLD: Mapping[Why, tuple[str, str]] = {
    "": _NOT_IN,
    "unknown": (
        "This page is closed",
        "It belongs to a session that this tab does not hold: as after a reload without cookies, or opened by hand.",
    ),
    "ended": ("You are logged off", "This session has ended, and nothing of it can be read any more."),
    "idle": ("You are logged off", "Nobody did anything for a while, so this session was ended."),
    "over": ("You are logged off", "This session has lasted as long as one may."),
    "disabled": (
        "You are logged off",
        "Your account does not let you in any more. Ask a clinic admin if that is a mistake.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a page for somebody who is not in says; `ways` lead to a login, a `hint` stands in their place."""

    heading: str
    text: str
    ways: tuple[Tab, ...]
    is_framed: bool = False
    hint: str = ""


class EntryPage:
    """The ways in, for everybody who asks for a page and is not in: 401."""

    def __init__(self, context: AppContext, route: str) -> None:
        self._context = context
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        scope[ROUTE] = self._route
        response = await run_in_threadpool(entry_page, self._context)
        await response(scope, receive, send)


def entry_routes(context: AppContext) -> list[BaseRoute]:
    """Where people look for a way in."""
    return [Route(path, EntryPage(context, path), methods=["GET"]) for path in ("/", "/login")]


class TicketPage:
    """A further tab of a launch, for whoever holds the ticket that a page of it got a moment ago."""

    def __init__(self, context: AppContext) -> None:
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        scope[ROUTE] = "/t/{ticket}"
        response = await run_in_threadpool(self._serve, Request(scope))
        await response(scope, receive, send)

    def _serve(self, request: Request) -> Response:
        context, now = self._context, clock.now()
        if request.method != "GET":
            return entry_page(context)
        try:
            with context.database.begin() as tx:
                idle = context.settings.session_idle
                redeemed = staff_sessions.redeem(tx, str(request.path_params["ticket"]), now, idle)
        except TrackerError as error:
            return failed(context, error)
        if redeemed is None:
            return entry_page(context)
        session, page, secret, handle = redeemed
        return arrive(context, session, secret, handle, request.cookies, now, page=page)


def entry_page(context: AppContext) -> Response:
    """Who is not in, and how to get in."""
    return _page(context, "", ())


def refused(context: AppContext, entrance: Entrance) -> Response:
    """What somebody sees who asked for a page of a launch and is not in it; readable in the frame the launch was for."""
    framed_by = entrance.session.frame_ancestors if entrance.session else ()
    return _page(context, entrance.why, framed_by)


def failed(context: AppContext, error: TrackerError) -> Response:
    """What somebody sees whom we could not even ask who they are."""
    entry = Entry(heading="That did not work", text=error.message, ways=(), hint="Try again in a moment.")
    response = outside("entry.html", Place(root=context.root), status=status_of(error), view=entry)
    response.headers.update(headers_of(error))
    return response


def arrive(
    context: AppContext,
    session: LaunchSession,
    secret: str,
    handle: str,
    held: Mapping[str, str],
    now: datetime,
    *,
    has_cookies: bool = False,
    page: str = "/open",
) -> Response:
    """The answer with which a session begins in a browser: its cookie, and a page that holds the handle in its memory.

    `held` are the cookies of the request. With `has_cookies` (one we set before came back) it leads to `page` at once;
    otherwise the page finds out whether its cookie comes back, and goes on with the handle when it does not.
    """
    place = Place(root=context.root, launch=session.id)
    if has_cookies:
        response: Response = RedirectResponse(place.at(page), status_code=303, headers=HEADERS)
        response.headers["content-security-policy"] = policy(*session.frame_ancestors)
    else:
        told = {"handle": handle, "page": page, "probe": "/session"}
        response = outside("arrival.html", place, status=200, framed_by=session.frame_ancestors, **told)
    cookies.give(response, session.id, secret, int((session.ends_at - now).total_seconds()))
    with context.database.read() as tx:
        for one in _stale(tx, context, held, session.id, now):
            cookies.take(response, one)
    return response


def _stale(tx: Tx, context: AppContext, held: Mapping[str, str], new: str, now: datetime) -> list[str]:
    """The launches whose cookies a browser holds for nothing, and the oldest of more than it should hold."""
    known = {one: kept.find(tx, one) for one in cookies.launches_in(held) if one != new}
    idle = context.settings.session_idle
    standing = [one for one in known.values() if one and not staff_sessions.state_of(one, now, idle)]
    newest = sorted(standing, key=lambda one: one.began, reverse=True)[:_MOST_COOKIES]
    return [one for one in known if one not in {session.id for session in newest}]


def _page(context: AppContext, why: Why, framed_by: tuple[str, ...]) -> Response:
    heading, text = _TOLD[why]
    entry = Entry(heading=heading, text=text, ways=_ways(context), is_framed=bool(framed_by))
    response = outside("entry.html", Place(root=context.root), status=401, framed_by=framed_by, view=entry)
    response.headers.update(_CHALLENGE)
    return response


def _ways(context: AppContext) -> tuple[Tab, ...]:
    """The logins there are: of EHRs and login providers, and the local one."""
    try:
        with context.database.read() as tx:
            known = [one for one in issuers.all(tx) if one.active]
    except (Busy, Unavailable):
        known = []
    ways = [
        Tab(label=f"Log in with {one.label or one.key}", href=f"/launch/standalone?{urlencode({'iss': one.url})}")
        for one in known
    ]
    if context.settings.local_login:
        ways.append(Tab(label="Log in with a local account", href="/login/local"))
    return tuple(ways)
