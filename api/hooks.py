"""Where EHRs tell us that something has changed: the secret is checked, the hint is kept, and the answer is empty.

A notification is never refused for what is in it: its sender would only send it again. What cannot be read says at least
that something has changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from api.context import AppContext
from api.edge import HEADERS, ROUTE
from api.fhir.encoding import decoded
from api.outcomes import FHIR_JSON, headers_of, outcome_of, status_of
from fhir_tracker import clock, failpoints
from fhir_tracker.errors import MethodNotAllowed, TooLarge, TrackerError, Unauthenticated
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.storage import remote_subscriptions
from subscriptions import read_notification, receive_notification

SECRET = "x-hook-secret"  # noqa: S105 - the name of a header
BODY_SECONDS = 10
SWALLOWED = 10
"""How many times the limit of a body is read and thrown away, before its sender is refused."""
_METHODS = ("DELETE", "POST", "PUT")


@dataclass(frozen=True, kw_only=True)
class _Body:
    raw: bytes
    overlong: bool = False


class Hook:
    """One address of the hook as an ASGI application; `route` is the address without key and ids."""

    def __init__(self, context: AppContext, route: str) -> None:
        self._context = context
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one notification."""
        scope[ROUTE] = self._route
        try:
            response = await self._answer(scope, receive)
        except TrackerError as error:
            headers = headers_of(error) | (
                {"Allow": ", ".join(_METHODS)} if isinstance(error, MethodNotAllowed) else {}
            )
            response = Response(outcome_of(error), status_code=status_of(error), headers=headers, media_type=FHIR_JSON)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        if scope["method"] not in _METHODS:
            raise MethodNotAllowed("Notifications come by POST, PUT or DELETE.")
        headers: dict[str, str] = scope[HEADERS]
        place: dict[str, str] = scope["path_params"]
        subscription = await run_in_threadpool(self._known, place["key"], headers)
        body = await _received(receive, self._context.settings.body_limit)
        return await run_in_threadpool(self._keep, subscription, scope["method"], place, headers, body)

    def _known(self, key: str, headers: Mapping[str, str]) -> int:
        """The Subscription whose secret was sent; each is compared, so that the time taken says nothing."""
        given = hashlib.sha256(_secret(headers).encode("utf-8", "replace")).hexdigest()
        with self._context.database.read() as tx:
            held = remote_subscriptions.digests(tx, key) if key.isprintable() else []
        found = [id_ for id_, *digests in held if [one for one in digests if one and hmac.compare_digest(one, given)]]
        if not found:
            raise Unauthenticated("The secret of the subscription is missing or wrong.")
        return found[0]

    def _keep(
        self, subscription: int, method: str, place: Mapping[str, str], headers: Mapping[str, str], body: _Body
    ) -> Response:
        limit = self._context.settings.body_limit
        raw = _unpacked(body.raw, headers.get("content-encoding", ""), limit)
        told = read_notification(method, _place(place), headers, raw, max_bytes=limit)
        failpoints.reached("hook-before-insert")
        with self._context.database.begin() as tx:
            receive_notification(tx, subscription, told, clock.now())
        failpoints.reached("hook-after-insert")
        if body.overlong:
            raise TooLarge(f"The body has more than {SWALLOWED * limit} bytes; that something changed was noted.")
        return Response(status_code=200 if told.is_handshake else 204)


def hook_routes(context: AppContext) -> list[BaseRoute]:
    """The addresses of the hooks, in every access mode: their secrets are all that opens them."""
    paths = ("/hooks/{key}", "/hooks/{key}/{type}/{id}")
    return [Route(path, Hook(context, path)) for path in paths]


def _secret(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return headers.get(SECRET, "").strip() or bearer


def _place(place: Mapping[str, str]) -> tuple[str, str]:
    """Type and id of the address; none where they cannot be any."""
    type_, id_ = place.get("type", ""), place.get("id", "")
    usable = type_ in resource_types() and 0 < len(id_) <= 255 and id_.isprintable() and " " not in id_
    return (type_, id_) if usable else ("", "")


def _unpacked(raw: bytes, packing: str, limit: int) -> bytes:
    if not packing:
        return raw
    try:
        return decoded(raw, packing, limit)
    except TrackerError:
        return b""


async def _received(receive: Receive, limit: int) -> _Body:
    """The body; one over the limit, cut off or too slow counts as none."""
    chunks: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                more = message["type"] == "http.request" and message.get("more_body", False)
                size += len(message.get("body", b""))
                if size > SWALLOWED * limit:
                    return _Body(raw=b"", overlong=True)
                if size <= limit:
                    chunks.append(message.get("body", b""))
    except TimeoutError:
        return _Body(raw=b"")
    return _Body(raw=b"" if size > limit else b"".join(chunks))
