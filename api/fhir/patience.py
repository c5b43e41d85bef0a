"""How long a request waits for a database that does not answer: a killed one says so at once, a frozen one says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from api.fhir.exchange import FhirResponse
from api.fhir.lanes import Job, Returns
from fhir_tracker.errors import TrackerError, Unavailable

LOOKS_EVERY = 5.0
WAITS_FOR = 10.0
ANSWERS_WITHIN = 5.0
"""Seconds: between looks at who waits, until the database is asked, and for its answer."""


class Patience:
    """Whoever waits long is refused when the database does not answer at all; a long search of a sound one goes on.

    A write that is refused so may have been made: its caller hears 503, as from a connection that broke.
    """

    def __init__(
        self,
        is_alive: Callable[[], object],
        returns: Returns,
        *,
        waits_for: float = WAITS_FOR,
        answers_within: float = ANSWERS_WITHIN,
    ) -> None:
        self._is_alive = is_alive
        self._returns = returns
        self._waits_for, self._answers_within = waits_for, answers_within
        self._since: dict[Job, float] = {}
        self._look: asyncio.Task[None] | None = None
        self._asker = ThreadPoolExecutor(1, thread_name_prefix="patience")
        self._asked: asyncio.Future[object] | None = None

    async def hold(self, job: Job) -> FhirResponse:
        """The answer to a job, or Unavailable."""
        self._since[job] = job.loop.time()
        if self._look is None or self._look.done():
            self._look = job.loop.create_task(self._watch())
        try:
            return await job.answer
        finally:
            del self._since[job]

    async def _watch(self) -> None:
        while self._since:
            await asyncio.sleep(min(LOOKS_EVERY, self._waits_for))
            if self._late() and not await self._answers():
                for job in self._late():
                    self._returns.give(job, Unavailable("The database does not answer now; try again."))

    def _late(self) -> list[Job]:
        limit = asyncio.get_running_loop().time() - self._waits_for
        return [job for job, since in self._since.items() if since < limit]

    async def _answers(self) -> bool:
        """Whether the database answers anything in time; one that has not yet answered is not asked again."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().run_in_executor(self._asker, self._is_alive)
        done, _ = await asyncio.wait([self._asked], timeout=self._answers_within)
        return bool(done) and not isinstance(self._asked.exception(), TrackerError)
