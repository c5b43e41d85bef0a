"""Lanes and pools: everybody is answered once, a mistake reaches only the one it happened to, and queues have an end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import pytest

from api.context import AppContext
from api.fhir.actions import Action
from api.fhir.exchange import FhirRequest, FhirResponse
from api.fhir.lanes import Job, Lane, Pool, Returns
from api.fhir.needs import OPEN
from fhir_tracker import clock
from fhir_tracker.errors import Busy
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage.database import Tx
from tests.support.loops import in_own_loop

SECONDS = 20
LONG = 10.0
"""A moment or patience that no test waits out."""


class Mistake(Exception):
    """One of ours."""


def nothing(request: FhirRequest, tx: Tx) -> FhirResponse:
    return FhirResponse(status=200)


ACTION = Action(handle=nothing, interaction="read", needs=OPEN)


def job(name: str) -> Job:
    """One that asks for `name`."""
    context = cast(AppContext, None)
    request = FhirRequest(
        context=context, method="GET", path=(name,), viewer=open_viewer(), request_id="r", now=clock.now(), id=name
    )
    return Job(request, ACTION)


def answer_of(one: Job) -> FhirResponse:
    return FhirResponse(status=200, body=one.request.id.encode())


def in_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    in_own_loop(work, seconds=SECONDS)


async def settled(jobs: list[Job]) -> list[FhirResponse | BaseException]:
    return await asyncio.gather(*(one.answer for one in jobs), return_exceptions=True)


def put_all(place: Lane | Pool, jobs: list[Job], accepted: list[Job]) -> None:
    for one in jobs:
        place.put(one)
        accepted.append(one)


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.001)


class Echo:
    """Answers each job with its name; `bad` ones are a mistake. Remembers the groups."""

    def __init__(self, returns: Returns) -> None:
        self.returns = returns
        self.groups: list[list[str]] = []
        self.taken: list[str] = []
        self.held, self.stuck = threading.Event(), threading.Event()
        self.held.set()
        self.stuck.set()

    def group(self, jobs: list[Job], passed: Callable[[], None]) -> None:
        self.taken += [one.request.id for one in jobs]
        self.held.wait(SECONDS)
        if jobs[0].request.id == "stuck":
            self.stuck.wait(SECONDS)
        self.groups.append([one.request.id for one in jobs])
        done = []
        for one in jobs:
            if one.request.id.startswith("bad"):
                raise Mistake(one.request.id)
            done.append(one)
            passed()
        if any(one.request.id.startswith("late") for one in jobs):
            raise Mistake("late")
        for one in done:
            self.returns.give(one, answer_of(one))

    def each(self, one: Job) -> None:
        self.held.wait(SECONDS)
        if one.request.id.startswith("bad"):
            raise Mistake(one.request.id)
        self.returns.give(one, answer_of(one))


def test_everybody_is_answered_with_their_own_answer() -> None:
    async def work() -> None:
        returns = Returns()
        echo = Echo(returns)
        lane = Lane("lane", echo.group, returns, threads=2, group=8, most=1000)
        jobs = [job(str(number)) for number in range(500)]
        for one in jobs:
            lane.put(one)
        answers = await settled(jobs)
        assert [cast(FhirResponse, one).body for one in answers] == [str(number).encode() for number in range(500)]
        assert sorted(name for group in echo.groups for name in group) == sorted(str(number) for number in range(500))
        assert max(map(len, echo.groups)) <= 8

    in_loop(work)


def test_who_was_answered_and_comes_again_is_worked_on_with_those_who_came_meanwhile() -> None:
    async def work() -> None:
        returns = Returns()
        echo = Echo(returns)
        echo.held.clear()
        lane = Lane("lane", echo.group, returns, threads=2, group=8, most=100, moment=LONG, patience=LONG)
        first = job("a")
        lane.put(first)
        await until(lambda: echo.taken == ["a"])
        others = [job(name) for name in "bcd"]
        for one in others:
            lane.put(one)
        echo.held.set()
        await first.answer
        again = job("again")
        lane.put(again)
        await settled([*others, again])
        assert echo.groups == [["a"], ["b", "c", "d", "again"]]

    in_loop(work)


def test_who_asks_alone_waits_for_nobody() -> None:
    async def work() -> None:
        returns = Returns()
        echo = Echo(returns)
        lane = Lane("lane", echo.group, returns, threads=2, group=8, most=100, moment=LONG, patience=LONG)
        for number in range(20):
            one = job(str(number))
            lane.put(one)
            assert (await one.answer).body == str(number).encode()
        assert echo.groups == [[str(number)] for number in range(20)]

    in_loop(work)


def test_those_who_came_meanwhile_wait_a_moment_only_for_who_does_not_come_again() -> None:
    async def work() -> None:
        returns = Returns()
        echo = Echo(returns)
        echo.held.clear()
        lane = Lane("lane", echo.group, returns, threads=2, group=8, most=100, moment=0.001, patience=LONG)
        jobs = [job(name) for name in "abcd"]
        for one in jobs:
            lane.put(one)
        echo.held.set()
        assert all(isinstance(one, FhirResponse) for one in await settled(jobs))

    in_loop(work)


@pytest.mark.parametrize("moment", [0.0, 0.001])
def test_nobody_waits_behind_a_group_that_takes_long_though_nobody_else_comes(moment: float) -> None:
    async def work() -> None:
        returns = Returns()
        echo = Echo(returns)
        lane = Lane("lane", echo.group, returns, threads=2, group=8, most=100, moment=moment, patience=0.001)
        echo.stuck.clear()
        stuck = job("stuck")
        lane.put(stuck)
        await until(lambda: echo.taken == ["stuck"])
        for name in ("one", "two", "three"):
            other = job(name)
            lane.put(other)
            assert (await other.answer).body == name.encode()
        assert not stuck.answer.done()
        echo.stuck.set()
        assert (await stuck.answer).body == b"stuck"

    in_loop(work)


@pytest.mark.parametrize("patience", [0.0, 0.0005, LONG])
@pytest.mark.parametrize("moment", [0.0, 0.0005])
def test_however_they_come_each_of_many_callers_is_answered_each_time(moment: float, patience: float) -> None:
    async def caller(lane: Lane, name: str) -> int:
        for number in range(40):
            one = job(f"bad{name}{number}" if number % 17 == 5 else f"{name}{number}")
            lane.put(one)
            (answer,) = await settled([one])
            assert one.request.id == (str(answer) if isinstance(answer, Mistake) else said(answer))
        return 40

    async def work() -> None:
        returns = Returns()
        echo = Echo(returns)
        lane = Lane("lane", echo.group, returns, threads=2, group=5, most=100, moment=moment, patience=patience)
        assert await asyncio.gather(*(caller(lane, f"{number}-") for number in range(12))) == [40] * 12
        assert max(map(len, echo.groups)) <= 5

    in_loop(work)


def said(answer: FhirResponse | BaseException) -> str:
    assert isinstance(answer, FhirResponse)
    return answer.body.decode()


def test_a_mistake_reaches_only_the_one_it_happened_to() -> None:
    async def work() -> None:
        returns = Returns()
        echo = Echo(returns)
        echo.held.clear()
        lane = Lane("lane", echo.group, returns, threads=1, group=16, most=100)
        jobs = [job(name) for name in ("first", "a", "bad1", "b", "bad2", "c")]
        for one in jobs:
            lane.put(one)
        echo.held.set()
        answers = await settled(jobs)
        for one, answer in zip(jobs, answers, strict=True):
            if one.request.id.startswith("bad"):
                assert isinstance(answer, Mistake)
                assert str(answer) == one.request.id
            else:
                assert cast(FhirResponse, answer).body == one.request.id.encode()
        again = job("again")
        lane.put(again)
        assert (await again.answer).body == b"again"

    in_loop(work)


def test_a_mistake_after_all_of_a_group_reaches_all_who_wait_for_it() -> None:
    async def work() -> None:
        returns = Returns()
        echo = Echo(returns)
        echo.held.clear()
        lane = Lane("lane", echo.group, returns, threads=1, group=16, most=100)
        lane.put(job("ahead"))
        jobs = [job("late"), job("with it")]
        for one in jobs:
            lane.put(one)
        echo.held.set()
        assert [type(one) for one in await settled(jobs)] == [Mistake, Mistake]

    in_loop(work)


@pytest.mark.requirement(14)
def test_a_full_lane_and_a_full_pool_say_that_they_are_busy() -> None:
    async def work() -> None:
        returns = Returns()
        echo = Echo(returns)
        echo.held.clear()
        lane = Lane("lane", echo.group, returns, threads=1, group=2, most=5)
        pool = Pool("pool", echo.each, returns, threads=1, most=5)
        jobs = [job(str(number)) for number in range(20)]
        places: list[Lane | Pool] = [lane, pool]
        accepted: list[Job] = []
        for place in places:
            with pytest.raises(Busy):
                put_all(place, jobs, accepted)
            jobs = jobs[10:]
        assert 10 <= len(accepted) <= 12
        echo.held.set()
        assert all(isinstance(one, FhirResponse) for one in await settled(accepted))
        for place in places:
            more = job("more")
            place.put(more)
            assert (await more.answer).body == b"more"

    in_loop(work)


def test_a_pool_goes_on_after_a_mistake() -> None:
    async def work() -> None:
        returns = Returns()
        pool = Pool("pool", Echo(returns).each, returns, threads=2, most=10)
        jobs = [job(name) for name in ("bad1", "a", "bad2", "b")]
        for one in jobs:
            pool.put(one)
        assert [isinstance(one, Mistake) for one in await settled(jobs)] == [True, False, True, False]

    in_loop(work)


def test_a_second_answer_and_one_that_nobody_awaits_are_passed_over() -> None:
    returns = Returns()
    left: list[Job] = []

    async def work() -> None:
        one = job("one")
        returns.give(one, FhirResponse(status=200))
        returns.give(one, FhirResponse(status=500))
        returns.give(one, Mistake())
        assert (await one.answer).status == 200
        gone = job("gone")
        gone.answer.cancel()
        returns.give(gone, FhirResponse(status=200))
        await asyncio.sleep(0)
        left.append(job("left"))

    in_loop(work)
    returns.give(left[0], FhirResponse(status=200))
    later: list[Awaitable[FhirResponse]] = []

    async def after() -> None:
        one = job("after")
        later.append(one.answer)
        returns.give(one, FhirResponse(status=204))
        assert (await one.answer).status == 204

    in_loop(after)
    assert len(later) == 1
