"""The outermost layer of the server: request ids, host names, logs, numbers, headers, and the last resort for errors."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.context import Access, AppContext
from api.metrics import RequestNumbers
from api.outcomes import FHIR_JSON, outcome_of_status
from fhir_tracker import clock

REQUEST_ID = "fhir_tracker.request_id"
ROUTE = "fhir_tracker.route"
_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST_FORM = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
log = logging.getLogger("api.edge")

Headers = Iterable[tuple[bytes, bytes]]


class Edge:
    """Wraps the whole application; the one place where any exception at all becomes an answer."""

    def __init__(self, app: ASGIApp, context: AppContext, numbers: RequestNumbers) -> None:
        self._app = app
        self._context = context
        self._numbers = numbers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything else than HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[REQUEST_ID] = request_id(scope["headers"])
        answer = _Answer(send, scope[REQUEST_ID])
        began = clock.monotonic()
        try:
            if self._host_is_ours(scope["headers"]):
                await self._app(scope, receive, answer.send)
            else:
                await answer.plainly(scope, 421, "This server does not answer under that host name.")
        except Exception:
            log.exception("request failed", extra={"fields": {"request": scope[REQUEST_ID], "route": route_of(scope)}})
            await answer.plainly(scope, 500, "The server made a mistake; the request id names it in the log.")
        self._note(scope, answer.status, clock.monotonic() - began)

    def _host_is_ours(self, headers: Headers) -> bool:
        """Without login, a foreign name that points here (DNS rebinding) would open the data to any web page."""
        if self._context.access is Access.LOCKED:
            return True
        match = _HOST_FORM.fullmatch(header(headers, b"host"))
        return match is not None and match["name"].strip("[]").lower() in self._context.host_names

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = route_of(scope)
        self._numbers.note(method, route, status, seconds)
        fields = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)}
        log.info("request", extra={"fields": fields | {"request": scope[REQUEST_ID]}})


class _Answer:
    """Passes the answer on, adding what every answer carries; remembers its status."""

    def __init__(self, send: Send, request: str) -> None:
        self._send = send
        self._request = request
        self.status = 0

    async def send(self, message: Message) -> None:
        """Forward one ASGI message; the first gets our headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            present = {name.lower() for name, _ in message["headers"]}
            extra = [(name, value) for name, value in self._headers() if name not in present]
            message = {**message, "headers": [*message["headers"], *extra]}
        await self._send(message)

    async def plainly(self, scope: Scope, status: int, text: str) -> None:
        """Answer with one sentence, as OperationOutcome under /fhir; nothing if an answer has begun."""
        if self.status:
            return
        is_fhir = scope["path"] == "/fhir" or scope["path"].startswith("/fhir/")
        body = outcome_of_status(status, text) if is_fhir else f"{HTTPStatus(status).phrase}: {text}\n".encode()
        kind = FHIR_JSON if is_fhir else "text/plain; charset=utf-8"
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _headers(self) -> Headers:
        return (
            (b"x-request-id", self._request.encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        )


def request_id(headers: Headers) -> str:
    """The caller's X-Request-Id when it has a harmless form, else a fresh one."""
    given = header(headers, b"x-request-id")
    return given if _REQUEST_ID_FORM.fullmatch(given) else secrets.token_hex(8)


def header(headers: Headers, name: bytes) -> str:
    """The first header called `name` (lower case), or ""."""
    return next((value.decode("latin-1") for key, value in headers if key.lower() == name), "")


def route_of(scope: Scope) -> str:
    """The template of the route that answered; never the address itself."""
    template = scope.get(ROUTE) or getattr(scope.get("route"), "path", None)
    return template if isinstance(template, str) else "other"
