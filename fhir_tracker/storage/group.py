"""Group commit: the writes that wait together become one transaction, and each hears of its end when it is durable."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar, cast

from sqlalchemy.exc import DBAPIError

from fhir_tracker import clock
from fhir_tracker.errors import Busy, Fault, Unavailable
from fhir_tracker.storage.database import Database, LateWrite, Tx
from fhir_tracker.storage.failures import translated

Result = TypeVar("Result")
Work = Callable[[Tx], Result]
Answer = Callable[[Result | None, BaseException | None], None]

MOST_TOGETHER = 64
MOMENT = 0.0005
"""Seconds that a group smaller than the one before waits for those who were answered then: they mostly come again."""
ENOUGH = 8
"""With so many works a group is not held back for more."""
MOST_WAITING = 1024
MOST_ALONE = 4
_STOPPED = "The server is stopping; try again."


@dataclass(slots=True, eq=False)
class _Job:
    """One work and whom to tell; `alone` after a group that it was in had to be undone."""

    work: Work[Any]
    answer: Answer[Any]
    alone: bool = False
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True, eq=False)
class _Group:
    """Works that are committed together; `until` is when it waits no longer for more."""

    write: LateWrite
    jobs: list[_Job] = field(default_factory=list)
    until: float | None = None


class GroupWriter:
    """Two threads: one runs works, the other writes and commits what they made while the next ones run.

    A work is a function of a Tx without any other effect, as it can be run again after its group was undone.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        guard = threading.Lock()
        self._for_works, self._for_commits = threading.Condition(guard), threading.Condition(guard)
        self._guard = guard
        self._waiting: deque[_Job] = deque()
        self._group: _Group | None = None
        self._handed: _Group | None = None
        self._usual = 1
        self._is_closed = self._has_ended = False
        self._pool = ThreadPoolExecutor(MOST_ALONE, thread_name_prefix="alone")
        self._alone = 0
        self._threads = [
            threading.Thread(target=self._until_the_end, args=(loop,), name=name, daemon=True)
            for name, loop in (("works", self._run_works), ("commits", self._commit_groups))
        ]
        for thread in self._threads:
            thread.start()

    def run(self, work: Work[Result], *, alone: bool = False) -> Future[Result]:
        """What `work` returns, once it is durable; its own error, Busy or Unavailable otherwise."""
        future: Future[Result] = Future()

        def answer(result: Result | None, error: BaseException | None) -> None:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(cast(Result, result))

        self.submit(work, answer, alone=alone)
        return future

    def submit(self, work: Work[Result], answer: Answer[Result], *, alone: bool = False) -> None:
        """Have `work` done and call `answer` with its result or its error, once, on another thread; it must not raise.

        `alone`: in a transaction of its own, beside the groups. Raises Busy when too many wait, Unavailable after `close`.
        """
        job = _Job(work, answer)
        with self._guard:
            if self._is_closed:
                raise Unavailable(_STOPPED)
            if len(self._waiting) + self._alone >= MOST_WAITING:
                raise Busy("Too many writes are waiting; try again.")
            if alone:
                self._alone += 1
                self._pool.submit(self._run_alone, job)
            else:
                self._waiting.append(job)
                self._for_works.notify()

    def close(self) -> None:
        """Finish and answer what was accepted, then end."""
        with self._guard:
            self._is_closed = True
            self._for_works.notify()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown()

    def _run_works(self) -> None:
        while not self._has_ended:
            job = self._next()
            if job is not None:
                self._group = self._group or _Group(self._database.begin_late(self._wait_for_commit))
                if not _run(job, self._group):
                    self._undo(self._group, job.error, hopeless=not self._group.write.tx.has_begun)
                    self._group = None
            elif self._group is not None:
                with self._guard:
                    self._usual = len(self._group.jobs)
                    self._handed, self._group = self._group, None
                    self._for_commits.notify()
            else:
                return

    def _next(self) -> _Job | None:
        """The next job for the group under way; None when that is to be handed over, or at the end when there is none."""
        with self._guard:
            while not self._has_ended:
                is_free, patience = self._handed is None, None
                if self._group is None:
                    if self._waiting:
                        return self._waiting.popleft()
                    if self._is_closed and is_free:
                        return None
                else:
                    is_full = self._is_full(self._group)
                    if self._waiting and not is_full and not (is_free and len(self._group.jobs) >= ENOUGH):
                        return self._waiting.popleft()
                    patience = 0.0 if is_full else self._patience(self._group)
                    if is_free and patience <= 0:
                        return None
                self._for_works.wait(patience if is_free else None)
            return None

    def _patience(self, group: _Group) -> float:
        """For how many seconds yet a group that nothing waits for is not handed over."""
        if len(group.jobs) >= min(self._usual, ENOUGH) or group.jobs[0].alone or self._is_closed:
            return 0.0
        now = clock.monotonic()
        if group.until is None:
            group.until = now + MOMENT
        return group.until - now

    def _is_full(self, group: _Group) -> bool:
        is_next_alone = bool(self._waiting) and self._waiting[0].alone
        return len(group.jobs) >= MOST_TOGETHER or group.jobs[0].alone or is_next_alone

    def _wait_for_commit(self) -> None:
        """Statements see what the group before wrote, and two groups never wait for each other's rows."""
        with self._guard:
            while self._handed is not None:
                self._for_works.wait()

    def _commit_groups(self) -> None:
        while True:
            with self._guard:
                while self._handed is None and not self._has_ended:
                    self._for_commits.wait()
                group = self._handed
            if group is None:
                return
            with _Caught() as caught:
                group.write.commit()
            if caught.error is None:
                for job in group.jobs:
                    job.answer(job.result, job.error)
            else:
                unable = isinstance(caught.error, Busy) and not group.write.tx.has_begun
                self._undo(group, caught.error, hopeless=unable or isinstance(caught.error, Unavailable))
            with self._guard:
                self._handed = None
                self._for_works.notify()

    def _undo(self, group: _Group, error: BaseException | None, *, hopeless: bool) -> None:
        """Keep nothing of a group that met `error`; its works are run again one by one, unless that is `hopeless`.

        So it is where there is no connection, or the answer to a commit was lost, which may have happened.
        """
        group.write.roll_back()
        if hopeless or group.jobs[0].alone or (len(group.jobs) == 1 and not isinstance(error, Busy)):
            for job in group.jobs:
                job.answer(None, job.error or error)
            return
        with self._guard:
            for job in reversed(group.jobs):
                job.alone, job.result, job.error = True, None, None
                self._waiting.appendleft(job)

    def _run_alone(self, job: _Job) -> None:
        with _Caught() as caught, self._database.begin() as tx:
            job.result = job.work(tx)
        with self._guard:
            self._alone -= 1
        job.answer(job.result if caught.error is None else None, caught.error)

    def _until_the_end(self, loop: Callable[[], None]) -> None:
        """A thread that ends, for whatever reason, ends both and leaves nobody waiting."""
        try:
            loop()
        finally:
            with self._guard:
                self._is_closed = self._has_ended = True
                groups = [one for one in (self._group, self._handed) if one is not None]
                left = [*self._waiting, *(job for group in groups for job in group.jobs)]
                self._waiting.clear()
                self._group = self._handed = None
                self._for_works.notify()
                self._for_commits.notify()
            for group in groups:
                group.write.roll_back()
            for job in left:
                job.answer(None, Unavailable(_STOPPED))


def _run(job: _Job, group: _Group) -> bool:
    """Run a job as the last of a group; False when it failed and what it wrote cannot be taken out of the transaction."""
    tx = group.write.tx
    mark, wrote = tx.added.mark(), tx.wrote
    group.jobs.append(job)
    with _Caught() as caught, translated():
        job.result = job.work(tx)
    job.error = caught.error
    if tx.added.is_broken:
        job.error = job.error or Fault("What went wrong with the database was passed over.")
        return False
    if caught.error is None:
        return True
    if tx.wrote != wrote or not tx.added.can_go_back(mark) or isinstance(caught.error.__cause__, DBAPIError):
        return False
    tx.added.go_back(mark)
    return True


class _Caught:
    """Keeps an exception of the block for whoever asked for it."""

    error: BaseException | None = None

    def __enter__(self) -> _Caught:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return isinstance(error, Exception)
