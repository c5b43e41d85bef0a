"""The outermost layer of the server: request ids, host names, logs, numbers, headers, and the last resort for errors."""

from __future__ import annotations

import hmac
import logging
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.context import Access, AppContext
from api.cors import Cors, Headers
from api.inert import ON_ALL
from api.logs import plain_record
from api.metrics import RequestNumbers
from api.outcomes import FHIR_JSON, outcome_of_status
from fhir_tracker import clock

REQUEST_ID = "fhir_tracker.request_id"
ASKED: ContextVar[str] = ContextVar("ASKED", default="")
"""The id of the request that is being answered, for pages that tell it to people."""
HEADERS = "fhir_tracker.headers"
"""Where the scope keeps what `by_name` makes of the headers."""
ROUTE = "fhir_tracker.route"
_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST_FORM = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MOST_HOSTS = 100
_FHIR_HEADERS = ((b"x-frame-options", b"DENY"), (b"cross-origin-resource-policy", b"same-origin"))
_HSTS = (b"strict-transport-security", b"max-age=31536000")
PROBES = frozenset({"/livez", "/readyz"})
"""What machines ask that know this server by its number; they tell nothing of patients."""
OPERATORS = frozenset({"/metrics", "/docs", "/openapi.json"})
"""What is shown to everybody only where everybody is let in; elsewhere to those who have the token."""
_LISTS = frozenset({"accept", "accept-encoding", "if-match", "if-none-match", "prefer"})
_fresh = random.Random()  # noqa: S311 - an id names a request, it opens nothing
os.register_at_fork(after_in_child=_fresh.seed)
log = logging.getLogger("api.edge")


class Edge:
    """Wraps the whole application; the one place where any exception at all becomes an answer."""

    def __init__(self, app: ASGIApp, context: AppContext, numbers: RequestNumbers) -> None:
        self._app = app
        self._names = context.host_names
        self._is_locked = context.access is Access.LOCKED
        self._fixed = (*ON_ALL, _HSTS) if context.public_url.startswith("https://") else ON_ALL
        self._cors = Cors(context.settings.cors_origins)
        self._token = context.settings.metrics_token
        self._met: set[str] = set()
        self._numbers = numbers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything else than HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[HEADERS] = headers = by_name(scope["headers"])
        scope[REQUEST_ID] = request = request_id(headers.get("x-request-id", ""))
        ASKED.set(request)
        began = clock.monotonic()
        added = ((b"x-request-id", request.encode()), *self._added(scope, headers))
        answer = _Answer(send, added, lambda status: self._note(scope, status, clock.monotonic() - began))
        try:
            await self._let_in(scope, headers, receive, answer)
        except Exception:
            log.exception("request failed", extra={"fields": {"request": request, "route": route_of(scope)}})
            await answer.plainly(scope, 500, f"The server made a mistake. Request {request} names it in the log.")
        answer.note()

    async def _let_in(self, scope: Scope, headers: Mapping[str, str], receive: Receive, answer: _Answer) -> None:
        is_probe = self._is_locked and scope["path"] in PROBES
        if not is_probe and not self._host_is_ours(headers.get("host", "")):
            await answer.plainly(scope, 421, "This server does not answer under that host name.")
        elif self._is_locked and scope["path"] in OPERATORS and not self._is_operator(headers):
            challenge = (b"www-authenticate", b'Bearer realm="fhir-tracker operators"')
            await answer.plainly(scope, 401, "This needs the token of FHIR_TRACKER_METRICS_TOKEN.", challenge)
        elif is_fhir(scope["path"]) and (told := self._cors.on_preflight(scope["method"], headers)):
            await answer.send({"type": "http.response.start", "status": 204, "headers": list(told)})
            await answer.send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, answer.send)

    def _added(self, scope: Scope, headers: Mapping[str, str]) -> Headers:
        if not is_fhir(scope["path"]):
            return self._fixed
        return (*self._fixed, *_FHIR_HEADERS, *self._cors.on_answer(headers))

    def _is_operator(self, headers: Mapping[str, str]) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode("latin-1"), self._token.encode())
        return bool(self._token) and kind.lower() == "bearer" and is_right

    def _host_is_ours(self, host: str) -> bool:
        """A foreign name that points here (DNS rebinding) would open the data to a web page, and stand in our links."""
        if host in self._met:
            return True
        match = _HOST_FORM.fullmatch(host)
        is_ours = match is not None and match["name"].strip("[]").lower() in self._names
        if is_ours and len(self._met) < _MOST_HOSTS:
            self._met.add(host)
        return is_ours

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = route_of(scope)
        self._numbers.note(method, route, status, seconds)
        if log.isEnabledFor(logging.INFO):
            milliseconds = round(seconds * 1000, 1)
            told = {
                "method": method,
                "route": route,
                "status": status,
                "ms": milliseconds,
                "request": scope[REQUEST_ID],
            }
            log.handle(plain_record(log.name, "request", told))


class _Answer:
    """Passes the answer on, adding what every answer carries; notes it before its end is out, so that who has it finds it counted."""

    def __init__(self, send: Send, headers: Headers, note: Callable[[int], None]) -> None:
        self._send = send
        self._note = note
        self._is_noted = False
        self._headers = headers
        self.status = 0

    async def send(self, message: Message) -> None:
        """Forward one ASGI message; the first gets our headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = message["headers"]
            present = [name for name, _ in given]
            extra = [pair for pair in self._headers if pair[0] not in present]
            message = {**message, "headers": [*given, *extra]}
        elif not message.get("more_body"):
            self.note()
        await self._send(message)

    def note(self) -> None:
        """Count and log the answer, once."""
        if not self._is_noted:
            self._is_noted = True
            self._note(self.status)

    async def plainly(self, scope: Scope, status: int, text: str, *more: tuple[bytes, bytes]) -> None:
        """Answer with one sentence, as OperationOutcome under /fhir; nothing if an answer has begun."""
        if self.status:
            return
        fhir = is_fhir(scope["path"])
        body = outcome_of_status(status, text) if fhir else f"{HTTPStatus(status).phrase}: {text}\n".encode()
        kind = FHIR_JSON if fhir else "text/plain; charset=utf-8"
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), *more]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def is_fhir(path: str) -> bool:
    """Whether an address is one of the FHIR API."""
    return path.startswith("/fhir") and (len(path) == 5 or path[5] == "/")


def by_name(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as text by their names in lower case; of several with one name the first, or all where that is a list."""
    named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reversed(headers)}
    if len(named) != len(headers):
        for name in _LISTS & named.keys():
            named[name] = ", ".join(value.decode("latin-1") for key, value in headers if key.lower() == name.encode())
    return named


def request_id(given: str) -> str:
    """The caller's X-Request-Id when it has a harmless form, else a fresh one."""
    return given if given and _REQUEST_ID_FORM.fullmatch(given) else f"{_fresh.getrandbits(64):016x}"


def route_of(scope: Scope) -> str:
    """The template of the route that answered; never the address itself."""
    template = scope.get(ROUTE) or getattr(scope.get("route"), "path", None)
    return template if isinstance(template, str) else "other"
