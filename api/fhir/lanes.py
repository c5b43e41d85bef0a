"""Threads where requests are worked on, away from the event loop, and the way of their answers back to it.

A lane takes whatever waits, up to a group, so that many small requests share statements and one commit; a pool works on
each by itself. A mistake of ours is raised again where the request awaits its answer, and no thread ends for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from api.fhir.actions import Action
from api.fhir.exchange import FhirRequest, FhirResponse
from fhir_tracker import clock
from fhir_tracker.errors import Busy

_FULL = "Too many requests wait; try again."


class Job:
    """One request that waits for its answer on an event loop."""

    __slots__ = ("action", "answer", "is_answered", "loop", "request")

    def __init__(self, request: FhirRequest, action: Action) -> None:
        self.request = request
        self.action = action
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[FhirResponse] = self.loop.create_future()
        self.is_answered = False


class Returns:
    """Hands answers to the event loops they belong to, all that are ready by one call."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._ready: dict[asyncio.AbstractEventLoop, list[tuple[Job, FhirResponse | BaseException]]] = {}

    def give(self, job: Job, answer: FhirResponse | BaseException) -> None:
        """Answer a job, or raise an error where it is awaited; what comes after a first answer is passed over."""
        with self._guard:
            if job.is_answered:
                return
            job.is_answered = True
            ready = self._ready.setdefault(job.loop, [])
            ready.append((job, answer))
            if len(ready) > 1:
                return
        try:
            job.loop.call_soon_threadsafe(self._settle, job.loop)
        except RuntimeError:  # the loop has ended, and with it everybody who waited there
            self._take(job.loop)

    def _settle(self, loop: asyncio.AbstractEventLoop) -> None:
        for job, answer in self._take(loop):
            if job.answer.done():
                continue
            if isinstance(answer, BaseException):
                job.answer.set_exception(answer)
            else:
                job.answer.set_result(answer)

    def _take(self, loop: asyncio.AbstractEventLoop) -> list[tuple[Job, FhirResponse | BaseException]]:
        with self._guard:
            return self._ready.pop(loop, [])


class Pool:
    """Threads that work on one job each; raises Busy when too many wait."""

    def __init__(self, name: str, work: Callable[[Job], None], returns: Returns, *, threads: int, most: int) -> None:
        self._work = work
        self._returns = returns
        self._room = threading.BoundedSemaphore(most)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def put(self, job: Job) -> None:
        """Have a job done."""
        if not self._room.acquire(blocking=False):
            raise Busy(_FULL)
        self._executor.submit(self._work, job).add_done_callback(partial(self._ended, job))

    def _ended(self, job: Job, done: Future[None]) -> None:
        self._room.release()
        error = done.exception()
        if error is not None:
            self._returns.give(job, error)


class _Turn:
    """What one thread of a lane has in hand: its group, and how many of it are behind it."""

    __slots__ = ("group", "passed")

    def __init__(self) -> None:
        self.group: list[Job] = []
        self.passed = 0


GroupWork = Callable[[list[Job], Callable[[], None]], None]
"""Works on a group; calls the second argument after each job, so that a mistake is blamed on the one it happened in."""


class Lane:
    """A few threads that each take all that waits, up to `group` jobs; raises Busy when `most` wait.

    With a `moment`, a thread that has answered a group waits as many seconds for those who were in it: mostly they come again at
    once, and what is done together costs each of them less. With `patience`, another thread helps only where one has had the
    same group in hand for so long.
    """

    def __init__(
        self,
        name: str,
        work: GroupWork,
        returns: Returns,
        *,
        threads: int,
        group: int,
        most: int,
        moment: float = 0.0,
        patience: float = 0.0,
    ) -> None:
        self._work = work
        self._returns = returns
        self._threads, self._group, self._most = threads, group, most
        self._moment, self._patience = moment, patience
        self._guard = threading.Condition(threading.Lock())
        self._waiting: deque[Job] = deque()
        self._running = 0
        self._in_hand: list[Job] = []
        self._again = 0
        self._wanted = 0
        self._taken_at = self._look_at = float("-inf")
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def put(self, job: Job) -> None:
        """Have a job done, together with others."""
        with self._guard:
            if len(self._waiting) >= self._most:
                raise Busy(_FULL)
            self._waiting.append(job)
            self._again += bool(self._in_hand) and self._in_hand[0].is_answered
            starts = self._is_helped()
        if starts:
            self._start()
        elif self._patience and self._running < self._threads:
            self._look_later(job.loop)

    def _is_helped(self) -> bool:
        """Whether one more thread begins now; if one waits for more jobs, it hears when they are there."""
        if self._wanted:
            if len(self._waiting) >= self._wanted:
                self._guard.notify()
            return False
        is_late = not self._patience or clock.monotonic() - self._taken_at >= self._patience
        starts = not self._running or (self._running < self._threads and is_late)
        self._running += starts
        return starts

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that nobody waits behind a group that takes long, though nobody else comes."""
        now = clock.monotonic()
        if now >= self._look_at:
            self._look_at = now + self._patience
            loop.call_later(self._patience, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._guard:
            waits = bool(self._waiting)
            starts = waits and self._running < self._threads and self._is_helped()
        if starts:
            self._start()
        elif waits:
            self._look_at = float("-inf")
            self._look_later(loop)

    def _start(self) -> None:
        turn = _Turn()
        self._executor.submit(self._drain, turn).add_done_callback(partial(self._ended, turn))

    def _drain(self, turn: _Turn) -> None:
        while self._take(turn):
            self._work(turn.group, partial(_pass, turn))

    def _take(self, turn: _Turn) -> bool:
        with self._guard:
            is_others = self._wanted > 0
            if self._moment and turn.group and not is_others:
                self._gather(min(len(turn.group) + len(self._waiting) - self._again, self._group))
            many = 0 if is_others else min(self._group, len(self._waiting))
            turn.group = self._in_hand = [self._waiting.popleft() for _ in range(many)]
            self._again = 0
            turn.passed = 0
            self._running -= not turn.group
            self._taken_at = clock.monotonic()
        return bool(turn.group)

    def _gather(self, wanted: int) -> None:
        """Wait for so many jobs, but no longer than a moment."""
        self._wanted = wanted
        self._guard.wait_for(lambda: len(self._waiting) >= wanted, self._moment)
        self._wanted = 0

    def _ended(self, turn: _Turn, done: Future[None]) -> None:
        """After a mistake: its job gets the error, the others of the group are done again, and the lane goes on."""
        error = done.exception()
        if error is None:
            return
        unanswered = [job for job in turn.group if not job.is_answered]
        blamed = turn.group[turn.passed : turn.passed + 1] or unanswered
        for job in blamed:
            self._returns.give(job, error)
        with self._guard:
            self._waiting.extendleft(reversed([job for job in unanswered if job not in blamed]))
        self._start()


def _pass(turn: _Turn) -> None:
    turn.passed += 1
