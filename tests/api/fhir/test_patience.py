"""Who waits long hears that the database does not answer, and only then."""

from __future__ import annotations

import asyncio
import threading

import pytest

from api.fhir.exchange import FhirResponse
from api.fhir.lanes import Returns
from api.fhir.patience import Patience
from fhir_tracker.errors import Unavailable
from tests.api.fhir.test_lanes import answer_of, in_loop, job


def broken() -> None:
    raise Unavailable("The database cannot be reached now.")


def test_who_waits_for_a_database_that_is_gone_is_refused_and_a_late_answer_is_passed_over() -> None:
    async def work() -> None:
        returns = Returns()
        patience = Patience(broken, returns, waits_for=0.05)
        waiting = job("a")
        with pytest.raises(Unavailable, match="does not answer"):
            await patience.hold(waiting)
        returns.give(waiting, answer_of(waiting))

    in_loop(work)


def test_who_waits_for_a_sound_database_goes_on_waiting() -> None:
    async def work() -> None:
        asked = threading.Event()
        returns = Returns()
        patience = Patience(asked.set, returns, waits_for=0.05)
        waiting = job("a")
        held = asyncio.create_task(patience.hold(waiting))
        assert await asyncio.to_thread(asked.wait, 20)
        await asyncio.sleep(0.2)
        assert not held.done()
        returns.give(waiting, answer_of(waiting))
        assert (await held).body == b"a"

    in_loop(work)


def test_a_database_that_says_nothing_is_asked_once_until_it_answers() -> None:
    asked: list[int] = []
    thawed = threading.Event()

    def frozen() -> None:
        asked.append(1)
        thawed.wait(20)

    async def work() -> None:
        returns = Returns()
        patience = Patience(frozen, returns, waits_for=0.05, answers_within=0.05)
        jobs = [job(name) for name in "abc"]
        told = await asyncio.gather(*(patience.hold(one) for one in jobs), return_exceptions=True)
        assert all(isinstance(one, Unavailable) for one in told)
        with pytest.raises(Unavailable):
            await patience.hold(job("later"))
        assert len(asked) == 1
        thawed.set()
        quick = job("quick")
        returns.give(quick, answer_of(quick))
        answer = await patience.hold(quick)
        assert isinstance(answer, FhirResponse)

    in_loop(work)
