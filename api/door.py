"""The listening socket that all processes of a server watch, and the HTTP server behind it in each of them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import uvicorn
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.inert import ON_ALL
from api.stalls import Stalls
from api.tally import AWAY, Tally
from api.whole_answers import WholeAnswers
from fhir_tracker import clock

_PATIENCE_SECONDS = 0.001
_OUT_OF_FILES_SECONDS = 0.5
_TURN_SECONDS = 1.0
MOST_HEAD = 65_536
"""Bytes of all headers of a request together."""
MOST_URL = 32_768
MOST_HEADERS = 200
_REFUSALS = {
    400: ("Bad Request", "Invalid HTTP request received."),
    408: ("Request Timeout", "The request did not arrive in time."),
    414: ("URI Too Long", "The address is too long."),
    431: ("Request Header Fields Too Large", "The head of the request is too large."),
    505: ("HTTP Version Not Supported", "This server speaks HTTP/1.1."),
}
_FIXED = b"".join(name + b": " + value + b"\r\n" for name, value in ON_ALL).decode("ascii")
_GONE = (BlockingIOError, InterruptedError, ConnectionAbortedError)
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Waits:
    """How many seconds the head of a request may take to come, and what follows it until its end; where an answer limits
    that itself, it answers first."""

    head: float = 30.0
    body: float = 45.0


_WAITS = Waits()


class Connection(HttpToolsProtocol):
    """One HTTP connection, which tells when it has ended, also to the request that runs while others wait behind it.

    A head that is too large or says two things at once is refused, and a request that does not come to its end in time is
    not waited for: whoever began one hears so.
    """

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        state, shared = server.server_state, server.lifespan.state
        super().__init__(config=server.config, server_state=state, app_state=shared, _loop=loop)
        self._server = server
        self._running: RequestResponseCycle | None = None
        self._head = 0
        self._in_head = True
        self._count = 0
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The beginning: the first request has to come soon."""
        super().connection_made(transport)
        self._await(self._server.waits.head)

    def data_received(self, data: bytes) -> None:
        """Some bytes of one or several requests."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head += len(data)
            if self._head > MOST_HEAD:
                self._refuse(431)
            elif self._patience is None:
                self._await(self._server.waits.head)

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser gave up; unless that was refused already, or an answer to it is on its way."""
        del msg
        if not self.transport.is_closing():
            self._refuse(400)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._head, self._in_head, self._count = 0, True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; those behind a body (trailers) are counted and passed over, for nobody looked at them in time."""
        self._count += 1
        if self._count > MOST_HEADERS:
            self._give_up(431)
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The end of the head."""
        if status := self._fault():
            self._give_up(status)
        self._await(self._server.waits.body)
        super().on_headers_complete()
        self._in_head = False

    def _fault(self) -> int:
        """Why a whole head is refused, 0 for one that is good."""
        size, hosts, codings = 0, 0, []
        for name, value in self.headers:
            size += len(name) + len(value)
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding":
                codings.append(value.strip().lower())
        if len(self.url) > MOST_URL:
            return 414
        if size > MOST_HEAD:
            return 431
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            return 505
        return 400 if hosts > 1 or codings not in ([], [b"chunked"]) else 0

    def on_message_complete(self) -> None:
        """The end of the request."""
        self._stop_waiting()
        super().on_message_complete()

    def _await(self, seconds: float) -> None:
        self._stop_waiting()
        self._patience = self.loop.call_later(seconds, self._late)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _late(self) -> None:
        """Somebody did not go on; unless it is us who do not read on now."""
        if self.flow.read_paused:
            self._await(self._server.waits.body)
        elif self._in_head and not self._head:
            self.transport.abort()
        else:
            self._refuse(408)

    def _give_up(self, status: int) -> NoReturn:
        """Refuse the request, and have the parser read no further."""
        self._refuse(status)
        raise ValueError(status)

    def _refuse(self, status: int) -> None:
        """The last words of this connection, unless somebody would take them for the answer to another request."""
        if self._may_speak():
            phrase, message = _REFUSALS[status]
            head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n{_FIXED}"
            rest = f"content-length: {len(message)}\r\nconnection: close\r\n\r\n{message}"
            self.transport.write(f"{head}{rest}".encode("ascii"))
        self.transport.close()

    def _may_speak(self) -> bool:
        running = self._running
        if self._in_head:
            return running is None or running.response_complete
        return running is not None and running is self.cycle and not running.response_started

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, WholeAnswers(app, cycle))  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, from whichever side."""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        self._stop_waiting()
        super().connection_lost(exc)
        self._server.count(-1)


class Door:
    """Takes one connection a turn of the event loop, so that whoever is idle takes the next.

    A process that holds more connections than another waits a moment first, and takes what is still there then.
    """

    def __init__(self, listening: socket.socket, tally: Tally, enter: Callable[[socket.socket], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._tally = tally
        self._enter = enter
        self._later: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._watch()

    def close(self) -> None:
        """Take nobody in any more."""
        self._loop.remove_reader(self._listening)
        if self._later is not None:
            self._later.cancel()

    def _watch(self) -> None:
        self._later = None
        self._loop.add_reader(self._listening, self._knocked)

    def _knocked(self) -> None:
        if self._tally.is_ahead:
            self._rest(_PATIENCE_SECONDS)
        else:
            self._take()

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._later = self._loop.call_later(seconds, self._rested)

    def _rested(self) -> None:
        self._watch()
        self._take()

    def _take(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except _GONE:
            return
        except OSError as error:
            log.warning("no connection can be taken", extra={"fields": {"error": error.strerror}})
            self._rest(_OUT_OF_FILES_SECONDS)
            return
        self._enter(connection)


class Server(uvicorn.Server):
    """Uvicorn behind a Door; ends at once when `leash`, if there is one, can be read.

    A client that takes nothing of its answer for `send_seconds` loses its connection.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        tally: Tally,
        leash: int | None,
        send_seconds: float,
        tls: ssl.SSLContext | None = None,
        waits: Waits = _WAITS,
    ) -> None:
        super().__init__(config)
        self.waits = waits
        self._tls = tls
        self._stalls = Stalls(send_seconds)
        self._tally = tally
        self._leash = leash
        self._held = 0
        self._entering: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the door of the one socket that was given."""
        (listening,) = sockets or []
        self.servers = []
        await self.lifespan.startup()
        self.count(0)
        self._door = Door(listening, self._tally, self._enter)
        if self._leash is not None:
            asyncio.get_running_loop().add_reader(self._leash, os._exit, 1)
        self._turn()
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door, then let those inside finish."""
        self._door.close()
        self._tally.hold(AWAY)
        await super().shutdown(sockets)

    def count(self, more: int) -> None:
        """Hold so many connections more, or fewer, and let the other processes know."""
        self._held += more
        if not self.should_exit:
            self._tally.hold(self._held)

    def _turn(self) -> None:
        """Once a second, as long as the event loop turns."""
        self._tally.beat()
        transports = [one.transport for one in self.server_state.connections]
        if ended := self._stalls.look(transports, clock.monotonic()):
            log.warning("clients take nothing of their answers", extra={"fields": {"connections": ended}})
        asyncio.get_running_loop().call_later(_TURN_SECONDS, self._turn)

    def _enter(self, connection: socket.socket) -> None:
        self.count(+1)
        task = asyncio.ensure_future(self._serve_one(connection))
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

    async def _serve_one(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            patience = {"ssl_handshake_timeout": self.waits.head} if self._tls else {}
            await loop.connect_accepted_socket(lambda: Connection(self, loop), connection, ssl=self._tls, **patience)
        except OSError:
            connection.close()
            self.count(-1)
