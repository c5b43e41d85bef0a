"""The outermost layer of the server: request ids, host names, logs, numbers, headers, and the last resort for errors."""

from __future__ import annotations

import logging
import os
import random
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.context import Access, AppContext
from api.logs import plain_record
from api.metrics import RequestNumbers
from api.outcomes import FHIR_JSON, outcome_of_status
from fhir_tracker import clock

REQUEST_ID = "fhir_tracker.request_id"
HEADERS = "fhir_tracker.headers"
"""Where the scope keeps what `by_name` makes of the headers."""
ROUTE = "fhir_tracker.route"
_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST_FORM = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MOST_HOSTS = 100
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_LISTS = frozenset({"accept", "accept-encoding", "if-match", "if-none-match", "prefer"})
_fresh = random.Random()  # noqa: S311 - an id names a request, it opens nothing
os.register_at_fork(after_in_child=_fresh.seed)
log = logging.getLogger("api.edge")


class Edge:
    """Wraps the whole application; the one place where any exception at all becomes an answer."""

    def __init__(self, app: ASGIApp, context: AppContext, numbers: RequestNumbers) -> None:
        self._app = app
        self._names = None if context.access is Access.LOCKED else context.host_names
        self._met: set[str] = set()
        self._numbers = numbers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything else than HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[HEADERS] = headers = by_name(scope["headers"])
        scope[REQUEST_ID] = request = request_id(headers.get("x-request-id", ""))
        began = clock.monotonic()
        answer = _Answer(send, request, lambda status: self._note(scope, status, clock.monotonic() - began))
        try:
            if self._host_is_ours(headers.get("host", "")):
                await self._app(scope, receive, answer.send)
            else:
                await answer.plainly(scope, 421, "This server does not answer under that host name.")
        except Exception:
            log.exception("request failed", extra={"fields": {"request": request, "route": route_of(scope)}})
            await answer.plainly(scope, 500, "The server made a mistake; the request id names it in the log.")
        answer.note()

    def _host_is_ours(self, host: str) -> bool:
        """Without login, a foreign name that points here (DNS rebinding) would open the data to any web page."""
        if self._names is None or host in self._met:
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

    def __init__(self, send: Send, request: str, note: Callable[[int], None]) -> None:
        self._send = send
        self._note = note
        self._is_noted = False
        self._headers = ((b"x-request-id", request.encode()), *_HEADERS)
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

    async def plainly(self, scope: Scope, status: int, text: str) -> None:
        """Answer with one sentence, as OperationOutcome under /fhir; nothing if an answer has begun."""
        if self.status:
            return
        fhir = is_fhir(scope["path"])
        body = outcome_of_status(status, text) if fhir else f"{HTTPStatus(status).phrase}: {text}\n".encode()
        kind = FHIR_JSON if fhir else "text/plain; charset=utf-8"
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
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
