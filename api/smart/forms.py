"""Forms as the endpoints for tokens take them, and the answers they give: never kept by anybody, errors as RFC 6749 has them.

https://www.rfc-editor.org/rfc/rfc6749#section-5
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.edge import HEADERS, REQUEST_ID, ROUTE
from api.fhir.entrance import address_of
from api.outcomes import headers_of, status_of
from fhir_tracker.errors import TrackerError

MOST_BYTES = 64_000
MOST_FIELDS = 30
BODY_SECONDS = 10
_FORM = "application/x-www-form-urlencoded"
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@dataclass(frozen=True, kw_only=True)
class Form:
    """One request: its fields, none of them twice and none empty; the Authorization header, where it came from, its id."""

    fields: Mapping[str, str]
    authorization: str
    address: str
    request_id: str


class OAuthError(Exception):
    """An answer with one of the error codes of OAuth; `description` is shown and says nothing that the caller may not know."""

    def __init__(
        self, code: str, description: str, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.code = code
        self.description = description
        self.status = status
        self.headers = headers or {}


Answering = Callable[[Form], Response]


class FormEndpoint:
    """One address that takes forms by POST, as an ASGI application; `answering` is called on a thread."""

    def __init__(self, route: str, answering: Answering) -> None:
        self._route = route
        self._answering = answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        scope[ROUTE] = self._route
        try:
            form = await _read(scope, receive)
            response = await run_in_threadpool(partial(self._answering, form))
        except OAuthError as error:
            response = _refusal(error)
        except TrackerError as error:
            told = {"error": "temporarily_unavailable", "error_description": error.message}
            response = answer(told, status_of(error), headers_of(error))
        await response(scope, receive, send)


def answer(value: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer that nobody keeps."""
    told = {**_NO_STORE, **(headers or {})}
    return Response(json.dumps(value), status_code=status, headers=told, media_type="application/json")


def _refusal(error: OAuthError) -> Response:
    told = {"error": error.code, "error_description": error.description}
    return answer(told, error.status, error.headers)


async def _read(scope: Scope, receive: Receive) -> Form:
    headers: dict[str, str] = scope[HEADERS]
    if scope["method"] != "POST":
        raise OAuthError("invalid_request", "Use POST.", 405, {"Allow": "POST"})
    if headers.get("content-type", "").split(";")[0].strip().lower() != _FORM:
        raise OAuthError("invalid_request", f"Send a form, with Content-Type: {_FORM}.")
    if headers.get("content-encoding"):
        raise OAuthError("invalid_request", "Send the form as it is, not compressed.")
    if sum(name.lower() == b"authorization" for name, _ in scope["headers"]) > 1:
        raise OAuthError("invalid_request", "There is more than one Authorization header.")
    return Form(
        fields=_fields(await _received(receive)),
        authorization=headers.get("authorization", ""),
        address=address_of(scope),
        request_id=scope[REQUEST_ID],
    )


def _fields(body: bytes) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except (UnicodeError, ValueError):
        raise OAuthError("invalid_request", "The form cannot be read.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise OAuthError("invalid_request", "A field is there more than once.")
    return {name: value for name, value in fields.items() if value}


async def _received(receive: Receive) -> bytes:
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            more = True
            while more:
                message = await receive()
                more = message["type"] == "http.request" and message.get("more_body", False)
                body += message.get("body", b"")
                if len(body) > MOST_BYTES:
                    raise OAuthError("invalid_request", f"The form has more than {MOST_BYTES} bytes.", 413)
    except TimeoutError:
        raise OAuthError("invalid_request", "The form did not arrive in time.", 408) from None
    return body
