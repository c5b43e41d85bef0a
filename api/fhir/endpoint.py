"""The way in and out of the FHIR API: reads the body within limits, finds the handler, opens the transaction, answers.

https://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from api.context import AppContext
from api.edge import REQUEST_ID, ROUTE, header
from api.fhir import capability
from api.fhir.actions import Action
from api.fhir.auditing import record
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse, Pairs
from api.fhir.negotiation import check_accepts
from api.fhir.routes import find_route
from api.outcomes import FHIR_JSON, headers_of, outcome_of, outcome_of_status, status_of
from fhir_tracker import clock
from fhir_tracker.errors import (
    Busy,
    Category,
    Incorrect,
    MethodNotAllowed,
    NotFound,
    TooLarge,
    TrackerError,
    Unauthenticated,
    UnsupportedMediaType,
    VersionConflict,
)
from fhir_tracker.fhir.identity import is_legal_id
from fhir_tracker.model.viewer import Viewer

BODY_SECONDS = 30
MAX_PARAMETERS = 200
_FORM = "application/x-www-form-urlencoded"
_METADATA = ("metadata",)
_NOBODY = Viewer(who="nobody")
_ATTEMPTS = 6
_DENIALS = frozenset({Category.FORBIDDEN, Category.NOT_FOUND})
_NOT_RECORDED = frozenset({Category.BUSY, Category.UNAVAILABLE})
"""These say that the store did not answer in time: the trail, which is in it, could not be written either."""


class FhirEndpoint:
    """The ASGI application behind `/fhir`; the only code of the API that awaits anything."""

    def __init__(self, context: AppContext) -> None:
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            body = await _body(scope, receive, self._context.settings.body_limit)
        except TrackerError as error:
            response = _refusal(error)
        except TimeoutError:
            response = FhirResponse(status=408, body=outcome_of_status(408, "The body did not arrive in time."))
        else:
            response = await run_in_threadpool(self._serve, scope, body)
        await _send(scope, response, send)

    def _serve(self, scope: Scope, body: bytes) -> FhirResponse:
        try:
            request = _request(self._context, scope, body)
            if request.path != _METADATA:
                _check_known(request)
            request = replace(request, pairs=_parameters(request, scope["query_string"]))
            check_accepts(request.header("accept"), request.values("_format"))
            return _answer(request, scope)
        except TrackerError as error:
            return _refusal(error)


def _answer(request: FhirRequest, scope: Scope) -> FhirResponse:
    method = "GET" if request.method == "HEAD" else request.method
    if request.path == _METADATA:
        scope[ROUTE] = "/fhir/metadata"
        return capability.metadata(request) if method == "GET" else _not_allowed(request, "GET, HEAD")
    route, parts = find_route(request.path)
    scope[ROUTE] = route.name
    if method not in route.actions:
        return _not_allowed(request, route.allowed)
    if "id" in parts and not is_legal_id(parts["id"]):
        wrong = Incorrect if method == "PUT" else NotFound
        raise wrong("The id in the address is not a FHIR id: 1 to 64 letters, digits, - and dots.")
    given = replace(request, type=parts.get("type", ""), id=parts.get("id", ""), version=parts.get("version", ""))
    return _act(given, route.actions[method])


def _check_known(request: FhirRequest) -> None:
    if request.viewer is _NOBODY:
        _record(request, AuditNote(action="call", ref=""), "denied")
        raise Unauthenticated("Log in first: this server does not answer strangers.")


def _act(request: FhirRequest, action: Action) -> FhirResponse:
    try:
        if action.own_transactions:
            return action.own_transactions(request)
        return _write(request, action) if action.writes else _read(request, action)
    except TrackerError as error:
        if error.category not in _NOT_RECORDED:
            outcome = "denied" if error.category in _DENIALS else "error"
            detail = {"status": status_of(error)}
            ref = f"{request.type}/{request.id}".rstrip("/")
            _record(request, AuditNote(action=action.interaction, ref=ref, detail=detail), outcome)
        raise


def _read(request: FhirRequest, action: Action) -> FhirResponse:
    with request.context.database.read() as tx:
        response = action.handle(request, tx)
    if response.note:
        _record(request, response.note, "success")
    return response


def _write(request: FhirRequest, action: Action) -> FhirResponse:
    """A write without If-Match that lost a race is simply done again: its caller named no version."""
    for attempt in range(_ATTEMPTS):
        try:
            with request.context.database.begin() as tx:
                response = action.handle(request, tx)
                if response.note:
                    record(tx, request, response.note, "success")
                return response
        except VersionConflict:
            if request.header("if-match"):
                raise
            clock.pause(random.uniform(0.0, 0.01 * 2**attempt))  # noqa: S311 - spreads writers, guards nothing
    raise Busy("Others keep changing this resource; try again.")


def _record(request: FhirRequest, note: AuditNote, outcome: str) -> None:
    with request.context.database.begin() as tx:
        record(tx, request, note, outcome)


def _not_allowed(request: FhirRequest, allowed: str) -> FhirResponse:
    refusal = _refusal(MethodNotAllowed(f"{request.method} is not supported at this address."))
    return replace(refusal, headers={"Allow": allowed})


def _refusal(error: TrackerError) -> FhirResponse:
    return FhirResponse(status=status_of(error), body=outcome_of(error), headers=headers_of(error))


def _request(context: AppContext, scope: Scope, body: bytes) -> FhirRequest:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    path = scope["path"].removeprefix("/fhir").removeprefix("/").removesuffix("/")
    return FhirRequest(
        context=context,
        method=scope["method"],
        path=tuple(path.split("/")) if path else (),
        headers=headers,
        body=body,
        viewer=context.viewer() or _NOBODY,
        request_id=scope[REQUEST_ID],
        now=clock.now(),
    )


def _parameters(request: FhirRequest, query: bytes) -> Pairs:
    if request.path[-1:] != ("_search",) or request.method != "POST" or not request.body:
        return _pairs(query)
    if request.header("content-type").split(";")[0].strip().lower() != _FORM:
        raise UnsupportedMediaType(f"Send the parameters of a search with Content-Type: {_FORM}.")
    return _pairs(query) + _pairs(request.body)


def _pairs(text: bytes) -> Pairs:
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeError:
        raise Incorrect("The parameters are not percent-encoded UTF-8.") from None
    except ValueError:
        raise Incorrect(f"There are more than {MAX_PARAMETERS} parameters.") from None
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise Incorrect("A parameter holds the character U+0000.")
    return tuple(pairs)


async def _body(scope: Scope, receive: Receive, limit: int) -> bytes:
    declared = header(scope["headers"], b"content-length")
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"The body has {declared} bytes; the limit is {limit}.")
    chunks: list[bytes] = []
    size = 0
    async with asyncio.timeout(BODY_SECONDS):
        more = True
        while more:
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > limit:
                raise TooLarge(f"The body has more than {limit} bytes, which is the limit.")
    return b"".join(chunks)


async def _send(scope: Scope, response: FhirResponse, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers.items()]
    if response.body:
        headers.append((b"content-type", FHIR_JSON.encode()))
    if response.status not in (204, 304):
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else response.body})
