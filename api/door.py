"""The listening socket that all processes of a server watch, and the HTTP server behind it in each of them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable

import uvicorn
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.stalls import Stalls
from api.tally import AWAY, Tally
from fhir_tracker import clock

_PATIENCE_SECONDS = 0.001
_OUT_OF_FILES_SECONDS = 0.5
_TURN_SECONDS = 1.0
_GONE = (BlockingIOError, InterruptedError, ConnectionAbortedError)
log = logging.getLogger(__name__)


class Connection(HttpToolsProtocol):
    """One HTTP connection, which tells when it has ended, also to the request that runs while others wait behind it."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        state, shared = server.server_state, server.lifespan.state
        super().__init__(config=server.config, server_state=state, app_state=shared, _loop=loop)
        self._server = server
        self._running: RequestResponseCycle | None = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, from whichever side."""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
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

    def __init__(self, config: uvicorn.Config, tally: Tally, leash: int | None, send_seconds: float) -> None:
        super().__init__(config)
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
            await loop.connect_accepted_socket(lambda: Connection(self, loop), connection)
        except OSError:
            connection.close()
            self.count(-1)
