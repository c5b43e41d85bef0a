"""What guards secrets is counted over all processes: two of them give no more than one would."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from api.limits import FAILURES, LAUNCHES, Buckets, InDatabase, Limits
from fhir_tracker import shared_limits
from fhir_tracker.errors import TooMany
from fhir_tracker.storage.database import Database

pytestmark = pytest.mark.security("S56", "M3")
NOW = datetime(2026, 7, 2, 20, 0, tzinfo=UTC)


def take(
    database: Database, seconds: float = 0.0, *, place: str = "10.0.0.1", size: int = 3, rate: float = 2.0
) -> float:
    with database.begin() as tx:
        now = NOW + timedelta(seconds=seconds)
        return shared_limits.take(tx, "failure", place, size=size, rate=rate, now=now)


def is_empty(database: Database, seconds: float) -> bool:
    with database.read() as tx:
        now = NOW + timedelta(seconds=seconds)
        return shared_limits.is_empty(tx, "failure", "10.0.0.1", size=3, rate=2.0, now=now)


def test_a_bucket_gives_its_size_at_once_and_then_what_flows_in(database: Database) -> None:
    assert not is_empty(database, 0)
    assert [take(database) for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 0.5]
    assert is_empty(database, 0.25)
    assert take(database, 0.25) == pytest.approx(0.25)
    assert not is_empty(database, 0.5)
    assert [take(database, 0.5) for _ in range(2)] == [0.0, 0.5]
    assert [take(database, 100) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_a_bucket_of_one_process_and_one_of_all_give_the_same(database: Database) -> None:
    mine = Buckets(5, 2.0)
    moments = [number * 0.125 for number in range(40)]
    apart = [mine.take("10.0.0.1", 1000 + one) for one in moments]
    assert [take(database, one, size=5) for one in moments] == pytest.approx(apart)


def test_places_and_what_is_limited_do_not_share(database: Database) -> None:
    assert [take(database) for _ in range(4)][-1] > 0
    assert take(database, place="10.0.0.2") == 0.0
    with database.begin() as tx:
        assert shared_limits.take(tx, "launch", "10.0.0.1", size=3, rate=2.0, now=NOW) == 0.0


def test_a_clock_that_was_put_back_bars_nobody_for_long(database: Database) -> None:
    assert [take(database, 30) for _ in range(4)][-1] > 0
    assert 0 < take(database) <= 0.5, "another machine's clock may be behind"
    assert take(database, 86_400) == 0.0
    assert [take(database, 1) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_many_at_once_get_no_more_than_one_by_one(database: Database) -> None:
    gate, found = threading.Barrier(6), list[float]()

    def ask() -> None:
        gate.wait(30)
        for _ in range(3):
            found.append(take(database, size=10, rate=0.001))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert len(found) == 18
    assert found.count(0.0) == 10


def passed(pair: list[Limits], act: Callable[[Limits], None], times: int) -> int:
    """How many of so many that are shown to each in turn are let pass; every other is told when to come back."""
    count, waits = 0, list[int]()
    for number in range(times):
        try:
            act(pair[number % 2])
        except TooMany as slowed:
            waits.append(int(slowed.retry_after or 0))
        else:
            count += 1
    assert all(one >= 1 for one in waits)
    return count


def test_two_servers_let_pass_no_more_than_one(database: Database, ready_url: str) -> None:
    met: list[str] = []
    with closing(Database.open(ready_url)) as other:
        pair = [Limits(0, met.append, InDatabase(one, lambda: NOW)) for one in (database, other)]
        assert passed(pair, lambda one: one.failure("10.0.0.1"), FAILURES + 20) == FAILURES
        assert passed(pair, lambda one: one.check_failures("10.0.0.1"), 2) == 0
        assert passed(pair, lambda one: one.check_failures("10.0.0.2"), 2) == 2
        assert set(met) == {"address"}
        assert passed(pair, lambda one: one.launch("10.0.0.1"), LAUNCHES + 20) == LAUNCHES
        assert set(met) == {"address", "launch"}
        pair = [Limits(0, shared=InDatabase(one, lambda: NOW + timedelta(minutes=1))) for one in (database, other)]
        assert passed(pair, lambda one: one.failure("10.0.0.1"), FAILURES) == FAILURES


def test_a_database_that_is_away_slows_nobody(database: Database) -> None:
    limits = Limits(0, shared=InDatabase(database))
    database.close()
    limits.check_failures("10.0.0.1")
    limits.failure("10.0.0.1")
