"""The way in and out of the FHIR API: reads the body within limits, finds the action, has it carried out, answers.

https://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from api.context import AppContext
from api.edge import HEADERS, REQUEST_ID, ROUTE
from api.fhir.actions import Action
from api.fhir.answering import Answering
from api.fhir.binaries import as_bytes, is_read_as_bytes
from api.fhir.encoding import decoded
from api.fhir.entrance import Caller, Entrance
from api.fhir.exchange import FhirRequest, FhirResponse, Pairs
from api.fhir.failing import refusal
from api.fhir.needs import OPEN
from api.fhir.negotiation import check_accepts
from api.fhir.routes import find_route
from api.outcomes import FHIR_JSON, outcome_of_status
from api.smart.configuration import PATH as SMART_CONFIGURATION
from api.smart.configuration import configuration_answer
from fhir_tracker import clock
from fhir_tracker.admission import StaleAdmission
from fhir_tracker.errors import (
    Incorrect,
    MethodNotAllowed,
    NotFound,
    TooLarge,
    TrackerError,
    UnsupportedMediaType,
)
from fhir_tracker.fhir.identity import is_legal_id
from fhir_tracker.storage.database import Tx

BODY_SECONDS = 30
MAX_PARAMETERS = 200
_FORM = "application/x-www-form-urlencoded"
_METADATA = ("metadata",)
FOR_ALL = frozenset({"/fhir/metadata", "/fhir/metadata/", SMART_CONFIGURATION})
"""What pages of any site may read."""
FROM_ANYWHERE = {"Access-Control-Allow-Origin": "*"}
_READ_THEM = {
    "Access-Control-Allow-Methods": "GET, HEAD",
    "Access-Control-Allow-Headers": "Accept, Authorization, Content-Type, If-None-Match",
    "Access-Control-Max-Age": "600",
}
_CONTENT_TYPE: tuple[bytes, bytes] = (b"content-type", FHIR_JSON.encode())


class FhirEndpoint:
    """The ASGI application behind `/fhir`; the only code of the API that awaits anything."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._door = Entrance(context)
        self._answering = Answering(context)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            response = await self._answer(scope, receive)
            if scope["path"] in FOR_ALL:
                response = replace(response, headers={**response.headers, **FROM_ANYWHERE})
        except TrackerError as error:
            response = refusal(error)
        except TimeoutError:
            response = FhirResponse(status=408, body=outcome_of_status(408, "The body did not arrive in time."))
        await _send(scope, response, send)

    async def _answer(self, scope: Scope, receive: Receive) -> FhirResponse:
        headers, arrived = scope[HEADERS], clock.monotonic()
        if scope["method"] == "OPTIONS" and scope["path"] in FOR_ALL and "access-control-request-method" in headers:
            return FhirResponse(status=204, headers=_READ_THEM)
        if scope["path"] == SMART_CONFIGURATION:
            scope[ROUTE] = SMART_CONFIGURATION
            return _configured(self._context, scope["method"])
        body, stranger = b"", None
        if "content-length" in headers or "transfer-encoding" in headers:
            stranger = await self._door.stranger(scope)
            body = await self._body(headers, receive) if stranger is None else b""
        caller = stranger or self._door.known(scope, arrived) or await self._door.looked_up(scope)
        try:
            return await self._answered(scope, body, caller)
        except StaleAdmission:
            return await self._answered(scope, body, await self._door.looked_up(scope))

    async def _answered(self, scope: Scope, body: bytes, caller: Caller) -> FhirResponse:
        asked = _asked(self._context, scope, body, caller)
        return asked if isinstance(asked, FhirResponse) else await self._answering.answer(*asked)

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        """What was sent, unpacked."""
        limit = self._context.settings.body_limit
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise TooLarge(f"The body has {declared} bytes; the limit is {limit}.")
        body = await _received(receive, limit)
        packing = headers.get("content-encoding")
        return await asyncio.to_thread(decoded, body, packing, limit) if packing else body


def _configured(context: AppContext, method: str) -> FhirResponse:
    return configuration_answer(context) if method in ("GET", "HEAD") else _not_allowed(method, "GET, HEAD")


def _asked(context: AppContext, scope: Scope, body: bytes, caller: Caller) -> tuple[FhirRequest, Action] | FhirResponse:
    path = _path(scope["path"])
    if caller.refused is not None and path != _METADATA:
        return _request(context, scope, path, (), body, caller), _refusing(caller.refused)
    headers: dict[str, str] = scope[HEADERS]
    pairs = _parameters(scope, path, body)
    accept = headers.get("accept", "")
    is_content = path[:1] == ("Binary",) and is_read_as_bytes(path, scope["method"], accept, pairs)
    if not is_content:
        check_accepts(accept, [value for name, value in pairs if name == "_format" and value])
    route, parts = find_route(path)
    scope[ROUTE] = route.name
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    if method not in route.actions:
        return _not_allowed(scope["method"], route.allowed)
    if "id" in parts and not is_legal_id(parts["id"]):
        wrong = Incorrect if method == "PUT" else NotFound
        raise wrong("The id in the address is not a FHIR id: 1 to 64 letters, digits, - and dots.")
    action = as_bytes(route.actions[method]) if is_content else route.actions[method]
    return _request(context, scope, path, pairs, body, caller, **parts), action


def _request(
    context: AppContext,
    scope: Scope,
    path: tuple[str, ...],
    pairs: Pairs,
    body: bytes,
    caller: Caller,
    type: str = "",  # noqa: A002 - named as in addresses
    id: str = "",  # noqa: A002 - the same
    version: str = "",
) -> FhirRequest:
    return FhirRequest.of(
        context=context,
        method=scope["method"],
        path=path,
        pairs=pairs,
        headers=scope[HEADERS],
        body=body,
        own_base=context.base_for(scope[HEADERS].get("host", "")),
        viewer=caller.viewer,
        request_id=scope[REQUEST_ID],
        now=clock.now(),
        epoch=caller.epoch,
        arrived=caller.arrived,
        type=type,
        id=id,
        version=version,
    )


def _path(path: str) -> tuple[str, ...]:
    inner = path.removeprefix("/fhir").removeprefix("/").removesuffix("/")
    return tuple(inner.split("/")) if inner else ()


def _refusing(error: TrackerError) -> Action:
    """What becomes of a request whose caller is not let in: its refusal, recorded as any other."""

    def refuse(request: FhirRequest, tx: Tx) -> FhirResponse:
        raise error

    return Action(handle=refuse, interaction="call", needs=OPEN, quick=True)


def _not_allowed(method: str, allowed: str) -> FhirResponse:
    refused = refusal(MethodNotAllowed(f"{method} is not supported at this address."))
    return replace(refused, headers={"Allow": allowed})


def _parameters(scope: Scope, path: tuple[str, ...], body: bytes) -> Pairs:
    query: bytes = scope["query_string"]
    if path[-1:] != ("_search",) or scope["method"] != "POST" or not body:
        return _pairs(query) if query else ()
    if scope[HEADERS].get("content-type", "").split(";")[0].strip().lower() != _FORM:
        raise UnsupportedMediaType(f"Send the parameters of a search with Content-Type: {_FORM}.")
    return _pairs(query) + _pairs(body)


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


async def _received(receive: Receive, limit: int) -> bytes:
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
    if response.body and "Content-Type" not in response.headers:
        headers.append(_CONTENT_TYPE)
    if response.status not in (204, 304):
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else response.body})
