"""Answers that are there as a whole go out in one piece: a head and a body of known length, written at once.

https://www.rfc-editor.org/rfc/rfc9112#section-6.3
"""

from __future__ import annotations

from functools import lru_cache

from starlette.types import Message, Receive, Scope, Send
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

_LENGTH, _UNUSUAL = b"content-length", frozenset({b"connection", b"transfer-encoding"})


class WholeAnswers:
    """The application for one request; its head waits for the first part of its body, where it says how long that is."""

    def __init__(self, app: ASGI3Application, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle
        self._head: Message | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        await self._app(scope, receive, self._send)  # type: ignore[arg-type]

    async def _send(self, message: Message) -> None:
        head, self._head = self._head, None
        if head is None and message["type"] == "http.response.start" and _has_length(message):
            self._head = message
        elif head is None:
            await self._cycle.send(message)  # type: ignore[arg-type]
        elif not self._in_one_piece(head, message):
            await self._cycle.send(head)  # type: ignore[arg-type]
            await self._cycle.send(message)  # type: ignore[arg-type]

    def _in_one_piece(self, head: Message, message: Message) -> bool:
        """Write both; False where that is not all of the answer, or cannot be done now."""
        cycle, body = self._cycle, message.get("body", b"")
        is_other = message["type"] != "http.response.body" or message.get("more_body") or cycle.response_started
        if is_other or cycle.flow.write_paused or cycle.disconnected or cycle.scope["method"] == "HEAD":
            return False
        lines = [STATUS_LINE[head["status"]]]
        for name, value in (*cycle.default_headers, *head["headers"]):
            if name in _UNUSUAL or (name == _LENGTH and value != b"%d" % len(body)):
                return False
            lines.append(_line(name, value))
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        cycle.transport.write(b"".join((*lines, b"\r\n", body)))
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True


def _has_length(head: Message) -> bool:
    return _LENGTH in dict(head.get("headers", ()))


@lru_cache(maxsize=1024)
def _line(name: bytes, value: bytes) -> bytes:
    """One header as it is sent; RuntimeError for one that would be taken for more."""
    if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
        raise RuntimeError("A header holds what no header may.")
    return b"%s: %s\r\n" % (name.lower(), value)
