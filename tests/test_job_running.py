"""Jobs worked off many at a time: done once, tried again with pauses, dead with the reason, and nobody keeps others waiting."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text, update

from fhir_tracker import job_running
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.job_running import (
    FIRST_PAUSE,
    LEASE,
    LONGEST_PAUSE,
    MOST_ATTEMPTS,
    UNREADABLE,
    Worked,
    pause,
    work_off,
)
from fhir_tracker.storage import jobs, leaders
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.running_tables import job
from tests.support.clinic import MONDAY

MINUTE = timedelta(minutes=1)


class Handlers:
    """What was done; `bad` jobs (by the number in their payload) fail, in two ways."""

    def __init__(self, bad: frozenset[int] = frozenset()) -> None:
        self.done: list[int] = []
        self.bad = bad

    def __call__(self, database: Database, payload: Mapping[str, Any], now: Any) -> None:
        number = int(payload["number"])
        if number in self.bad:
            raise RemoteFailure("the other side said no") if number % 2 else ValueError("a mistake of ours")
        self.done.append(number)


def ask(database: Database, numbers: range) -> None:
    with database.begin() as tx:
        for number in numbers:
            jobs.enqueue(tx, "count", str(number), {"number": number}, MONDAY)


def work(database: Database, handlers: Handlers, at: Any = MONDAY, limit: int = 500) -> Worked:
    return work_off(database, {"count": handlers}, lambda: at, limit=limit, chance=lambda: 1.0)


def test_each_is_done_once_and_others_of_unknown_kinds_are_left_alone(database: Database) -> None:
    ask(database, range(120))
    with database.begin() as tx:
        jobs.enqueue(tx, "of another release", "", {}, MONDAY)
    handlers = Handlers()
    assert [work(database, handlers, limit=50).done for _ in range(4)] == [50, 50, 20, 0]
    assert sorted(handlers.done) == list(range(120))
    with database.read() as tx:
        left = {one.kind: one.waiting for one in jobs.states(tx)}
    assert left == {"count": 0, "of another release": 1}


def test_what_fails_is_tried_again_later_and_dies_with_its_reason_and_can_be_revived(database: Database) -> None:
    ask(database, range(4))
    handlers, at = Handlers(bad=frozenset({1, 2})), MONDAY
    assert work(database, handlers, at) == Worked(done=2, put_off=2)
    for attempt in range(2, MOST_ATTEMPTS + 1):
        assert work(database, handlers, at).taken == 0
        at += LONGEST_PAUSE
        wanted = Worked(dead=2) if attempt == MOST_ATTEMPTS else Worked(put_off=2)
        assert work(database, handlers, at) == wanted
    with database.read() as tx:
        dead = {one.key: one.last_error for one in jobs.dead(tx)}
    assert dead == {"1": "the other side said no", "2": "a fault of this release (ValueError)"}
    handlers.bad = frozenset()
    with database.begin() as tx:
        jobs.enqueue(tx, "count", "2", {"number": 2}, at)
        assert jobs.revive(tx, at) == 1
    assert work(database, handlers, at).done == 2
    assert sorted(handlers.done) == [0, 1, 2, 3]


def test_pauses_double_up_to_a_longest_and_are_drawn_at_random_below_it() -> None:
    assert [pause(one, 1.0) for one in (1, 2, 3, 100)] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, LONGEST_PAUSE]
    assert pause(3, 0.0) == timedelta(0)
    assert pause(3, 0.5) == 2 * FIRST_PAUSE


def test_a_payload_that_cannot_be_read_dies_and_keeps_nothing_from_being_done(database: Database) -> None:
    ask(database, range(3))
    with database.begin() as tx:
        tx.execute(text("UPDATE job SET payload = '{broken' WHERE key = '1'"))
    handlers, at = Handlers(), MONDAY
    assert work(database, handlers, at) == Worked(done=2, put_off=1)
    for _ in range(MOST_ATTEMPTS - 1):
        at += LONGEST_PAUSE
        work(database, handlers, at)
    with database.read() as tx:
        assert [(one.key, one.last_error) for one in jobs.dead(tx)] == [("1", UNREADABLE)]


def test_a_full_batch_of_jobs_whose_worker_is_lost_each_time_does_not_starve_what_waits_behind(
    database: Database,
) -> None:
    ask(database, range(6))
    at = MONDAY
    with database.begin() as tx:
        tx.execute(update(job).where(job.c.key.in_(["0", "1", "2"])).values(attempts=MOST_ATTEMPTS - 1))
        assert len(jobs.claim_many(tx, ["count"], at, LEASE, 3, MOST_ATTEMPTS)) == 3
    at += LEASE + MINUTE
    handlers = Handlers()
    assert work(database, handlers, at, limit=3) == Worked(done=3)
    assert sorted(handlers.done) == [3, 4, 5]
    with database.read() as tx:
        assert {(one.key, one.last_error) for one in jobs.dead(tx)} == {(str(n), jobs.LOST) for n in range(3)}


def test_what_a_zombie_did_is_not_counted_after_its_lease_went_to_another(database: Database) -> None:
    ask(database, range(2))
    with database.begin() as tx:
        old = jobs.claim_many(tx, ["count"], MONDAY, LEASE, 10, MOST_ATTEMPTS)
    later = MONDAY + LEASE + MINUTE
    with database.begin() as tx:
        new = jobs.claim_many(tx, ["count"], later, LEASE, 1, MOST_ATTEMPTS)
        assert jobs.complete_many(tx, old, later) == {one.id for one in old} - {one.id for one in new}
        assert not jobs.fail(tx, next(one for one in old if one.id == new[0].id), "no", None, later)
        assert jobs.complete_many(tx, new, later) == {new[0].id}
        assert jobs.complete_many(tx, new, later) == set()


def test_many_are_asked_for_at_once_and_those_that_wait_already_are_not_doubled(database: Database) -> None:
    with database.begin() as tx:
        assert jobs.enqueue_many(tx, "count", [str(n) for n in range(150)], {"number": 1}, MONDAY) == 150
        assert jobs.enqueue_many(tx, "count", ["149", "150"], {"number": 1}, MONDAY) == 1
    assert work(database, Handlers()).done == 151


@pytest.mark.fault("F15")
def test_one_leads_at_a_time_and_another_takes_over_when_it_is_silent_or_leaves(database: Database) -> None:
    def lead(who: str, at: Any) -> bool:
        with database.begin() as tx:
            return leaders.lead(tx, "beat", who, at, MINUTE)

    assert lead("a", MONDAY)
    assert not lead("b", MONDAY)
    assert lead("a", MONDAY + MINUTE / 2)
    assert not lead("b", MONDAY + MINUTE)
    assert lead("b", MONDAY + 2 * MINUTE)
    assert not lead("a", MONDAY + 2 * MINUTE)
    with database.begin() as tx:
        leaders.resign(tx, "beat", "a")
        leaders.resign(tx, "beat", "b")
    assert lead("a", MONDAY + 2 * MINUTE)
    turned_back = MONDAY - timedelta(days=1)
    assert lead("b", turned_back), "a lease of a clock that has been turned back since counts no more"


def test_the_batch_is_one_of_hundreds() -> None:
    assert job_running.BATCH >= 100
