"""Local accounts: the page to log in with a name, a password and a code, and the page where an invitation is taken up.

Off unless `FHIR_TRACKER_LOCAL_LOGIN` is on. Neither page says whether a name exists.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from api.context import AppContext
from api.edge import REQUEST_ID
from api.fhir.entrance import address_of
from api.limits import network_of
from api.outcomes import headers_of, status_of
from api.staff import session as sessions
from api.staff.endpoint import form_of, serve
from api.staff.entry import arrive, entry_page
from api.staff.places import Place
from api.staff.rendering import outside
from api.staff.session import Session
from api.staff.shapes import Field, Form, Tab
from api.staff.visit import check_origin
from fhir_tracker import clock, launches, local_accounts
from fhir_tracker.errors import Forbidden, RuleBroken, TrackerError
from fhir_tracker.local_accounts import Invitation
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import audit
from fhir_tracker.storage.accounts import Account

COOKIE = "__Host-login"
LOGIN, ENROL = "/login/local", "/login/enrol"
KIND = "security"
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Strict"
_MOST_COOKIE = 100
_TO_ENROL = Tab(label="Take up an invitation", href=ENROL)
_TO_LOGIN = Tab(label="Log in", href=LOGIN)
_ENROLLED = "You are enrolled: log in with your new password, and the next code of your app. The one you have used counts no more."


@dataclass(frozen=True, kw_only=True)
class Try:
    """One request of these pages; `token` is what its form has to carry."""

    request: Request
    form: Mapping[str, str]
    now: datetime
    token: str


Answering = Callable[[AppContext, Try], Response]


class LocalPage:
    """One of the two pages."""

    def __init__(self, context: AppContext, route: str, shown: Answering, taken: Answering) -> None:
        self._context = context
        self._route = route
        self._shown = shown
        self._taken = taken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await serve(self._route, self._serve, scope, receive, send)

    def _serve(self, request: Request, body: bytes | None) -> Response:
        context = self._context
        if not context.settings.local_login:
            return entry_page(context)
        held = request.cookies.get(COOKIE, "")[:_MOST_COOKIE]
        session = Session(id=f"login:{held or secrets.token_urlsafe(24)}")
        token = sessions.token(session, context.secret_key)
        known = Try(request=request, form={}, now=clock.now(), token=token)
        try:
            if request.method == "POST":
                form = form_of(request, body)
                check_origin(context, request.headers)
                if not held or not sessions.is_token(form.get("csrf", ""), session, context.secret_key):
                    raise Forbidden("This form is from an older visit, or cookies are blocked here: try once more.")
                response = self._taken(context, Try(request=request, form=form, now=known.now, token=token))
            else:
                response = self._shown(context, known)
        except TrackerError as error:
            response = _page(context, _refused(self._route, error), token, status=status_of(error))
            response.headers.update(headers_of(error))
        if not held:
            name = session.id.removeprefix("login:")
            response.headers.append("set-cookie", f"{COOKIE}={name}; {_ATTRIBUTES}")
        return response


def local_routes(context: AppContext) -> list[BaseRoute]:
    """Both pages."""
    pages = {LOGIN: LocalPage(context, LOGIN, _login, _log_in), ENROL: LocalPage(context, ENROL, _enrol, _take_up)}
    return [Route(path, page, methods=["GET", "POST"]) for path, page in pages.items()]


def _login(context: AppContext, known: Try) -> Response:
    return _page(context, _login_form(), known.token)


def _log_in(context: AppContext, known: Try) -> Response:
    form, address = known.form, address_of(known.request.scope)
    context.limits.login(address)
    given = (form.get("name", ""), form.get("password", ""), form.get("code", ""))
    try:
        account = local_accounts.log_in(context.database, *given, network_of(address), context.secret_key, known.now)
    except TrackerError as error:
        with context.database.read() as tx:
            tried = local_accounts.account_id(tx, given[0])
        _note(context, known, "login-refused", Viewer(who="nobody", issuer="local", address=address), tried)
        raise error
    with context.database.begin() as tx:
        lifetime = context.settings.session_lifetime
        session, secret, handle = launches.begin(tx, account, now=known.now, lifetime=lifetime)
    _note(context, known, "login", _viewer(account, address, session.id), account.id)
    return arrive(context, session, secret, handle, known.request.cookies, known.now, has_cookies=True)


def _enrol(context: AppContext, known: Try) -> Response:
    return _page(context, _code_form(), known.token)


def _take_up(context: AppContext, known: Try) -> Response:
    """Two forms: the invitation's code, and then a password and the first code of the app."""
    kept = known.form.get("kept", "")
    if not kept:
        with context.database.read() as tx:
            invited = local_accounts.invitation(tx, known.form.get("invitation", ""), context.secret_key, known.now)
        return _page(context, _password_form(invited), known.token, invited=invited)
    password = known.form.get("password", "")
    with context.database.read() as tx:
        invited = local_accounts.again(tx, kept, context.secret_key, known.now)
    try:
        if password != known.form.get("again", ""):
            raise RuleBroken("The two are not the same.", expression="again")
        code = known.form.get("code", "")
        name = local_accounts.enrol(context.database, kept, password, code, context.secret_key, known.now)
    except RuleBroken as error:
        return _page(context, _password_form(invited, error), known.token, status=422, invited=invited)
    _note(context, known, "enrolled", Viewer(who="nobody", name=name, issuer="local"))
    return _page(context, _login_form(said=_ENROLLED), known.token)


def _page(
    context: AppContext, form: Form, token: str, *, status: int = 200, invited: Invitation | None = None
) -> Response:
    place = Place(root=context.root)
    other = _TO_ENROL if form.action == LOGIN else _TO_LOGIN
    return outside("login.html", place, status=status, form=form, csrf=token, invited=invited, other=other)


def _refused(route: str, error: TrackerError) -> Form:
    """The form again, empty, with what was wrong."""
    return _login_form(error=error.message) if route == LOGIN else _code_form(error=error.message)


def _login_form(error: str = "", said: str = "") -> Form:
    fields = (
        Field(name="name", label="Name", required=True, autocomplete="username"),
        Field(name="password", label="Password", kind="password", required=True, autocomplete="current-password"),
        Field(name="code", label="Code from your app", required=True, autocomplete="one-time-code"),
    )
    return Form(action=LOGIN, title="Log in", submit="Log in", fields=fields, error=error, hint=said)


def _code_form(error: str = "") -> Form:
    code = Field(name="invitation", label="Invitation code", required=True, autocomplete="off")
    hint = "Whoever let you in has given you this code. It works once."
    return Form(action=ENROL, title="Take up your invitation", submit="Go on", fields=(code,), hint=hint, error=error)


def _password_form(invited: Invitation, error: RuleBroken | None = None) -> Form:
    wrong = {error.issues[0].expression: error.message} if error and error.issues else {}
    told = "12 characters or more, and not your name."
    fields = (
        Field(name="password", label="New password", kind="password", autocomplete="new-password", hint=told),
        Field(name="again", label="The same again", kind="password", autocomplete="new-password"),
        Field(name="code", label="Code from your app", autocomplete="one-time-code"),
    )
    shown = tuple(replace(one, required=True, error=wrong.get(one.name, "")) for one in fields)
    return Form(action=ENROL, title="Choose a password", submit="Enrol", fields=shown, hidden=(("kept", invited.kept),))


def _viewer(account: Account, address: str, session: str) -> Viewer:
    roles = frozenset(account.roles)
    return Viewer(
        who=account.ref, name=account.name, roles=roles, issuer="local", address=address, session=session
    )  # fmt: skip


def _note(context: AppContext, known: Try, action: str, viewer: Viewer, account: str = "") -> None:
    """The audit row of one try; never what was typed."""
    request_id = str(known.request.scope.get(REQUEST_ID, ""))
    detail = {"way": "local", **({"account": account} if account else {})}
    outcome = "success" if action != "login-refused" else "denied"
    with context.database.begin() as tx:
        audit.add(
            tx,
            at=known.now,
            viewer=viewer,
            action=action,
            outcome=outcome,
            request_id=request_id,
            detail=detail,
            kind=KIND,
        )
