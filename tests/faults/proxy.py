"""A TCP proxy that spoils what goes through it, after the toxics of Shopify's toxiproxy; it has a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from tests.peers.process import free_port

CHUNK = 16_384
RESET = struct.pack("ii", 1, 0)


@dataclass
class Toxics:
    """What is wrong now; each is off at 0. Seconds, bytes, and bytes in a second; they act on what the server answers."""

    down: bool = False
    latency: float = 0
    bandwidth: int = 0
    slow_close: float = 0
    timeout: float = 0
    """Nothing comes through, and after so long the connection is closed."""
    reset_peer: bool = False
    """The connection is reset where an answer would begin."""
    slicer: int = 0
    limit_data: int = 0
    """Closed after so many bytes."""


@dataclass
class FaultProxy:
    """`with FaultProxy(target=PORT) as proxy:` listens on `proxy.port`; set `proxy.toxics` at any time."""

    target: int
    toxics: Toxics = field(default_factory=Toxics)
    port: int = field(default_factory=free_port)
    connections: int = 0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def heal(self) -> None:
        """All is well again for what comes now; what hangs is ended."""
        self.toxics = Toxics()
        self.drop()

    def drop(self) -> None:
        """End every connection there is."""
        self._loop.call_soon_threadsafe(self._close_all)

    def _close_all(self) -> None:
        for one in list(self._open):
            one.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _end(self) -> None:
        self._server.close()
        tasks = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        toxics = self.toxics
        try:
            if toxics.down:
                self._reset(writer)
                return
            there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            self._reset(writer)
            return
        self._open.add(there[1])
        ways = [self._pass(reader, there[1], Toxics()), self._pass(there[0], writer, toxics)]
        tasks = [asyncio.ensure_future(one) for one in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for one in (writer, there[1]):
                self._open.discard(one)
                one.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, toxics: Toxics) -> None:
        """One direction until its end."""
        passed = 0
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if toxics.reset_peer:
                    self._reset(writer)
                    return
                if toxics.timeout:
                    await asyncio.sleep(toxics.timeout)
                    return
                await asyncio.sleep(toxics.latency)
                if toxics.limit_data:
                    data = data[: max(0, toxics.limit_data - passed)]
                size = toxics.slicer or len(data) or 1
                for place in range(0, len(data), size):
                    writer.write(data[place : place + size])
                    await writer.drain()
                    if toxics.bandwidth:
                        await asyncio.sleep(size / toxics.bandwidth)
                passed += len(data)
                if toxics.limit_data and passed >= toxics.limit_data:
                    return
        await asyncio.sleep(toxics.slow_close)

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._open.discard(writer)
        writer.transport.abort()
