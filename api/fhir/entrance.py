"""Who comes to the FHIR API: nobody who has to be known, or the bearer of a token, remembered from a request before or looked up.

https://www.rfc-editor.org/rfc/rfc6750
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.types import Scope

from api.context import AppContext
from api.edge import HEADERS
from fhir_tracker import clock
from fhir_tracker.access_tokens import is_ours
from fhir_tracker.admission import Admitted
from fhir_tracker.errors import BadToken, Busy, Incorrect, TrackerError, Unauthenticated
from fhir_tracker.model.viewer import Viewer

NOBODY = Viewer(who="nobody")
MOST_WAITING = 256
LONGEST_TOKEN = 16_384
_BEARER = re.compile(r"bearer(?: +(?P<token>[A-Za-z0-9._~+/-]+=*))?", re.IGNORECASE)
_USUAL = "Bearer "
_FREE = frozenset({"/fhir/metadata", "/fhir/metadata/"})
_STRANGER = "Log in first: this server does not answer strangers."
_TWICE = "A token is sent once, in one Authorization header and nowhere else."


class Caller(NamedTuple):
    """Who asks; `refused` says why they are not let in. `epoch` and `arrived` are those of FhirRequest."""

    viewer: Viewer = NOBODY
    epoch: int | None = None
    arrived: float = 0.0
    refused: TrackerError | None = None


class Entrance:
    """The way in to the FHIR API of one process; who comes with a good token is found again without the database."""

    def __init__(self, context: AppContext) -> None:
        open_to_all = context.viewer()
        self._everybody = Caller(viewer=open_to_all) if open_to_all is not None else None
        self._limits = context.limits
        self._admission = context.admission
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="entrance")
        self._abroad = ThreadPoolExecutor(4, thread_name_prefix="entrance-abroad")
        self._room = threading.BoundedSemaphore(MOST_WAITING)

    def known(self, scope: Scope, arrived: float) -> Caller | None:
        """Who sent a request that arrived then, where that needs no looking up; else None. Raises Incorrect and TooMany."""
        if self._everybody is not None:
            return self._everybody
        token = _token(scope)
        if token is None or scope["path"] in _FREE:
            return Caller(refused=Unauthenticated(_STRANGER))
        found = self._admission.remembered(token, address_of(scope), clock.now())
        if found is None:
            return None
        self._limits.request(_bucket(found.viewer))
        return Caller(viewer=found.viewer, epoch=found.epoch, arrived=arrived)

    async def stranger(self, scope: Scope) -> Caller | None:
        """Who is refused whatever they sent, so that nobody has to read it; None for all others. Raises as `looked_up` does."""
        if self._everybody is not None:
            return None
        token = _token(scope)
        if token is None or scope["path"] in _FREE:
            return Caller(refused=Unauthenticated(_STRANGER))
        if self._admission.remembered(token, address_of(scope), clock.now()) is not None:
            return None
        found = await self._found(scope)
        return found if found.refused is not None else None

    async def looked_up(self, scope: Scope) -> Caller:
        """Who shows the token that a request bears, as it is in the database now.

        Raises TooMany, Busy, and Unavailable when it cannot be told.
        """
        found = await self._found(scope)
        if found.refused is None:
            self._limits.request(_bucket(found.viewer))
        return found

    async def _found(self, scope: Scope) -> Caller:
        token, address = _token(scope) or "", address_of(scope)
        try:
            if not is_ours(token):
                await self._apart(self._limits.check_failures, address)
            fresh = await self._looked_up(token, address)
        except BadToken as error:
            await self._apart(self._limits.failure, address)
            return Caller(viewer=Viewer(who="nobody", address=address), refused=error)
        return Caller(viewer=fresh.viewer)

    async def _apart(self, count: Callable[[str], None], address: str) -> None:
        """Count on a thread, for all processes count together."""
        await asyncio.get_running_loop().run_in_executor(self._threads, count, address)

    async def _looked_up(self, token: str, address: str) -> Admitted:
        if len(token) > LONGEST_TOKEN:
            raise BadToken(_STRANGER)
        if not self._room.acquire(blocking=False):
            raise Busy("Too many requests wait; try again.")
        try:
            threads = self._threads if is_ours(token) else self._abroad
            look_up = partial(self._admission.admit, token, address, clock.now())
            return await asyncio.get_running_loop().run_in_executor(threads, look_up)
        finally:
            self._room.release()


def address_of(scope: Scope) -> str:
    """The network address a request came from, or ""."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def token_in(authorization: str) -> str | None:
    """The token in an Authorization header; "-" for one that cannot be any, None where it is of another kind."""
    match = _BEARER.fullmatch(authorization.strip(" "))
    if match is None:
        return "-" if authorization[:6].lower() == "bearer" else None
    return match["token"] or "-"


def _bucket(viewer: Viewer) -> str:
    return f"{viewer.issuer} {viewer.client}"


def _token(scope: Scope) -> str | None:
    """The token that was sent, as `token_in` has it. Raises Incorrect when one came in two ways."""
    headers = scope[HEADERS]
    given = headers.get("authorization")
    if given is None:
        return None
    if len(headers) != len(scope["headers"]) and _is_twice(scope["headers"]):
        raise Incorrect(_TWICE)
    if scope["query_string"] and _is_in_query(scope["query_string"]):
        raise Incorrect(_TWICE)
    return given[7:] if given.startswith(_USUAL) and is_ours(given[7:]) else token_in(given)


def _is_twice(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    return sum(name.lower() == b"authorization" for name, _ in headers) > 1


def _is_in_query(query: bytes) -> bool:
    return b"token" in query and any(name == "access_token" for name, _ in parse_qsl(query.decode("latin-1")))
