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


class Echo:
    """Answers each job with its name; `bad` ones are a mistake. Remembers the groups."""

    def __init__(self, returns: Returns) -> None:
        self.returns = returns
        self.groups: list[list[str]] = []
        self.held = threading.Event()
        self.held.set()

    def group(self, jobs: list[Job], passed: Callable[[], None]) -> None:
        self.held.wait(SECONDS)
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
