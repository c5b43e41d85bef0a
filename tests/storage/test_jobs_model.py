"""Jobs against a model: any sequence of asking, claiming, finishing, failing and losing leases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from fhir_tracker.storage import jobs
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.jobs import Lease
from fhir_tracker.storage.running_tables import job
from tests.storage.samples import NOW

MINUTE = timedelta(minutes=1)
KINDS, KEYS = ("poll", "send"), ("a", "b")
LEASE = 5 * MINUTE


@dataclass(kw_only=True)
class Job:
    """One job as the model knows it."""

    kind: str
    key: str
    payload: dict[str, int]
    run_at: datetime
    state: str = "waiting"
    token: int = 0
    attempts: int = 0
    lease_until: datetime | None = None
    finished_at: datetime | None = None


@dataclass(kw_only=True)
class Model:
    """What must be the case; `held` pairs each lease ever given with its job."""

    jobs: list[Job] = field(default_factory=list)
    held: list[tuple[Lease, Job]] = field(default_factory=list)

    def enqueue(self, kind: str, key: str, payload: dict[str, int], run_at: datetime) -> bool:
        for one in self.jobs:
            if (one.kind, one.key, one.state) == (kind, key, "waiting"):
                one.run_at = min(one.run_at, run_at)
                return False
        self.jobs.append(Job(kind=kind, key=key, payload=payload, run_at=run_at))
        return True

    def claimable(self, kinds: Sequence[str], now: datetime) -> Job | None:
        due = [
            (one.run_at, number, one)
            for number, one in enumerate(self.jobs)
            if one.kind in kinds
            and (
                (one.state == "waiting" and one.run_at <= now)
                or (one.state == "running" and one.lease_until is not None and one.lease_until < now)
            )
        ]
        return min(due)[2] if due else None

    def holds(self, lease: Lease, one: Job) -> bool:
        return one.state == "running" and one.token == lease.token

    def end(self, one: Job, state: str, at: datetime) -> None:
        one.state, one.finished_at, one.lease_until = state, at, None


steps = st.one_of(
    st.tuples(st.just("enqueue"), st.sampled_from(KINDS), st.sampled_from(KEYS), st.integers(-10, 20)),
    st.tuples(st.just("claim"), st.sampled_from([("poll",), ("send",), KINDS])),
    st.tuples(st.just("complete"), st.integers(0, 9)),
    st.tuples(st.just("renew"), st.integers(0, 9)),
    st.tuples(st.just("fail"), st.integers(0, 9), st.none() | st.integers(-5, 20)),
    st.tuples(st.just("wait"), st.integers(1, 12)),
    st.tuples(st.just("forget"), st.integers(0, 30)),
    st.tuples(st.just("crash"), st.sampled_from(KINDS)),
)


class Crash(Exception):
    """What a killed worker leaves: its transaction rolled back."""


class Player:
    """Plays steps on the database and on the model at once."""

    def __init__(self, database: Database) -> None:
        self.database, self.model, self.now, self.number = database, Model(), NOW, 0
        with database.begin() as tx:
            tx.execute(delete(job))

    def play(self, step: tuple[Any, ...]) -> None:
        getattr(self, step[0])(*step[1:])
        self.check()

    def enqueue(self, kind: str, key: str, after: int) -> None:
        self.number += 1
        run_at, payload = self.now + after * MINUTE, {"n": self.number}
        with self.database.begin() as tx:
            given = jobs.enqueue(tx, kind, key, payload, run_at)
        assert given == self.model.enqueue(kind, key, payload, run_at)

    def claim(self, kinds: Sequence[str]) -> None:
        expected = self.model.claimable(kinds, self.now)
        with self.database.begin() as tx:
            lease = jobs.claim(tx, kinds, self.now, LEASE)
        assert (lease is None) == (expected is None)
        if lease is None or expected is None:
            return
        expected.state, expected.lease_until = "running", self.now + LEASE
        expected.token, expected.attempts = expected.token + 1, expected.attempts + 1
        told = (lease.kind, lease.key, lease.payload, lease.token, lease.attempts, lease.until)
        assert told == (
            expected.kind, expected.key, expected.payload, expected.token, expected.attempts, expected.lease_until,
        )  # fmt: skip
        self.model.held.append((lease, expected))

    def crash(self, kind: str) -> None:
        """A claim that never commits is no claim."""
        try:
            with self.database.begin() as tx:
                jobs.claim(tx, [kind], self.now, LEASE)
                raise Crash
        except Crash:
            return

    def complete(self, which: int) -> None:
        if held := self._held(which):
            lease, one = held
            with self.database.begin() as tx:
                assert jobs.complete(tx, lease, self.now) == self.model.holds(lease, one)
            if self.model.holds(lease, one):
                self.model.end(one, "done", self.now)

    def renew(self, which: int) -> None:
        if held := self._held(which):
            lease, one = held
            until = self.now + 2 * LEASE
            with self.database.begin() as tx:
                assert jobs.renew(tx, lease, until) == self.model.holds(lease, one)
            if self.model.holds(lease, one):
                one.lease_until = until

    def fail(self, which: int, retry: int | None) -> None:
        if not (held := self._held(which)):
            return
        lease, one = held
        retry_at = None if retry is None else self.now + retry * MINUTE
        with self.database.begin() as tx:
            assert jobs.fail(tx, lease, "odd", retry_at, self.now) == self.model.holds(lease, one)
        if not self.model.holds(lease, one):
            return
        again = any((other.kind, other.key, other.state) == (one.kind, one.key, "waiting") for other in self.model.jobs)
        if retry_at is None:
            self.model.end(one, "dead", self.now)
        elif again:
            self.model.end(one, "done", self.now)
        else:
            one.state, one.run_at, one.lease_until = "waiting", retry_at, None

    def wait(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    def forget(self, minutes: int) -> None:
        before = self.now - minutes * MINUTE
        old = [one for one in self.model.jobs if one.state == "done" and one.finished_at and one.finished_at < before]
        with self.database.begin() as tx:
            assert jobs.forget_done(tx, before) == len(old)
        for one in old:
            one.state = "forgotten"

    def check(self) -> None:
        """The pages tell what the model says, and no kind and key waits twice."""
        with self.database.read() as tx:
            told = {one.kind: (one.waiting, one.running, one.dead, one.oldest_due) for one in jobs.states(tx)}
            soonest = jobs.next_run_at(tx, KINDS)
        there = [one for one in self.model.jobs if one.state != "forgotten"]
        waiting = [one for one in there if one.state == "waiting"]
        assert len({(one.kind, one.key) for one in waiting}) == len(waiting)
        assert soonest == min((one.run_at for one in waiting), default=None)
        for kind in {one.kind for one in there}:
            mine = [one for one in there if one.kind == kind]
            counts = [sum(one.state == state for one in mine) for state in ("waiting", "running", "dead")]
            oldest = min((one.run_at for one in mine if one.state == "waiting"), default=None)
            assert told[kind] == (*counts, oldest)

    def _held(self, which: int) -> tuple[Lease, Job] | None:
        return self.model.held[which % len(self.model.held)] if self.model.held else None


@given(played=st.lists(steps, max_size=25))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_jobs_do_what_the_model_says(database: Database, played: list[tuple[Any, ...]]) -> None:
    player = Player(database)
    for step in played:
        player.play(step)
