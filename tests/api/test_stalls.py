"""A connection whose client takes nothing is ended in time, and none that goes on, however slowly."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine

import pytest
import uvloop

from api.stalls import Stalls
from tests.support.loops import in_own_loop

MUCH = b"x" * 20_000_000
SECONDS = 60.0


class Told(asyncio.Protocol):
    """Hears the end of its connection."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Coroutine[None, None, None]]], None]:
    """Runs a coroutine in a loop of its own, of each kind that a server may have."""

    def within(work: Callable[[], Coroutine[None, None, None]]) -> None:
        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        in_own_loop(work, seconds=120, factory=factory)

    return within


async def opened() -> tuple[asyncio.Transport, Told, socket.socket]:
    """One end as the server has it, and the client's socket."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    transport, told = await asyncio.get_running_loop().connect_accepted_socket(Told, ours)
    return transport, told, theirs


def take(client: socket.socket, size: int) -> None:
    """Read so many bytes."""
    while size:
        size -= len(client.recv(size))


Run = Callable[[Callable[[], Coroutine[None, None, None]]], None]


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_client_that_takes_nothing_loses_its_connection(run: Run, is_closed: bool) -> None:
    async def work() -> None:
        transport, told, client = await opened()
        with client:
            transport.write(MUCH)
            if is_closed:
                transport.close()
            stalls = Stalls(SECONDS)
            assert [stalls.look([transport], now) for now in (100.0, 130.0, 159.9)] == [0, 0, 0]
            assert not told.ended.is_set()
            assert stalls.look([transport], 160.0) == 1
            await asyncio.wait_for(told.ended.wait(), 60)

    run(work)


def test_a_client_that_takes_a_little_each_time_keeps_it(run: Run) -> None:
    async def work() -> None:
        transport, _, client = await opened()
        with client:
            transport.write(MUCH)
            stalls = Stalls(SECONDS)
            for number in range(10):
                assert stalls.look([transport], 50.0 * number) == 0
                await asyncio.to_thread(take, client, 100_000)
            transport.abort()

    run(work)


def test_a_client_that_has_taken_all_may_be_idle(run: Run) -> None:
    async def work() -> None:
        transport, _, client = await opened()
        with client:
            transport.write(b"short")
            stalls = Stalls(SECONDS)
            assert [stalls.look([transport], now) for now in (0.0, 1000.0, 2000.0)] == [0, 0, 0]
            transport.abort()

    run(work)


def test_a_pause_between_two_answers_is_not_counted(run: Run) -> None:
    async def work() -> None:
        transport, _, client = await opened()
        with client:
            stalls = Stalls(SECONDS)
            transport.write(MUCH)
            assert stalls.look([transport], 0.0) == 0
            await asyncio.to_thread(take, client, len(MUCH))
            while transport.get_write_buffer_size():
                await asyncio.sleep(0.01)
            assert stalls.look([transport], 30.0) == 0
            transport.write(MUCH)
            assert [stalls.look([transport], now) for now in (61.0, 120.0)] == [0, 0]
            assert stalls.look([transport], 121.0) == 1

    run(work)
