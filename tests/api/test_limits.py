"""Buckets empty and fill, keep to their memory, and slow only whom they are for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.context import Access
from api.limits import FAILURES, LAUNCHES, LAUNCHES_A_SECOND, LOGINS, Buckets, Limits
from fhir_tracker.errors import TooMany
from fhir_tracker.storage.database import Database
from tests.support.contexts import context_of

pytestmark = pytest.mark.security("S56", "M3")


def test_a_bucket_gives_its_size_at_once_and_then_what_flows_in() -> None:
    one = Buckets(3, 2.0)
    assert [one.take("a", 100.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 0.5]
    assert one.take("a", 100.4) == pytest.approx(0.1)
    assert one.take("a", 100.5) == 0.0
    assert one.take("a", 100.5) > 0
    assert [one.take("a", 200.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_a_refusal_takes_nothing_so_that_who_waits_comes_in() -> None:
    one = Buckets(1, 1.0)
    one.take("a", 0.0)
    for moment in range(50):
        one.take("a", moment / 100)
    assert one.take("a", 1.0) == 0.0


def test_keys_do_not_share_and_a_clock_that_goes_back_gives_nothing_away() -> None:
    one = Buckets(1, 1.0)
    assert (one.take("a", 10.0), one.take("b", 10.0)) == (0.0, 0.0)
    assert one.take("a", 0.0) > 0
    assert one.is_empty("a", 0.0)
    assert not one.is_empty("c", 0.0)


def test_the_memory_is_bounded_and_those_met_longest_ago_are_let_go() -> None:
    one = Buckets(1, 0.001, most=10)
    for number in range(1000):
        one.take(f"k{number}", 0.0)
    assert len(one) == 10
    assert one.take("k999", 0.0) > 0
    assert one.take("k0", 0.0) == 0.0


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200), st.integers(1, 20), st.floats(0.5, 50))
def test_over_any_time_no_more_is_given_than_the_size_and_what_flowed_in(
    pauses: list[float], size: int, rate: float
) -> None:
    one, now, given_out = Buckets(float(size), rate), 0.0, 0
    for pause in pauses:
        now += pause
        wait = one.take("a", now)
        given_out += wait == 0.0
        assert wait <= 1 / rate + 1e-9
    assert given_out <= size + now * rate + 1e-6


def test_each_limit_tells_when_to_come_back_and_that_it_was_met() -> None:
    met: list[str] = []
    limits = Limits(1, met.append)
    for _ in range(2):
        limits.request("a")
    with pytest.raises(TooMany) as caught:
        limits.request("a")
    assert caught.value.retry_after == 1
    limits.request("b")
    for _ in range(LOGINS):
        limits.login("10.0.0.1")
    with pytest.raises(TooMany) as caught:
        limits.login("10.0.0.1")
    assert 1 <= caught.value.retry_after <= 10
    assert met == ["client", "login"]


def test_a_whole_clinic_begins_its_day_behind_one_address_and_a_flood_does_not() -> None:
    met: list[str] = []
    limits = Limits(0, met.append)
    for _ in range(LAUNCHES):
        limits.launch("10.0.0.1")
    with pytest.raises(TooMany) as caught:
        list(map(limits.launch, ["10.0.0.1"] * LAUNCHES))
    assert caught.value.retry_after == 1
    assert met == ["launch"]
    assert LAUNCHES_A_SECOND >= 1
    limits.launch("10.0.0.2")
    limits.login("10.0.0.1")
    limits.failure("10.0.0.1")


def test_no_limit_is_none() -> None:
    limits = Limits(0)
    for _ in range(10_000):
        limits.request("a")


def test_failures_are_counted_by_network_and_looked_at_before_others_are_asked() -> None:
    limits = Limits(0)
    for number in range(FAILURES):
        limits.check_failures("2001:db8:1:2::1")
        limits.failure(f"2001:db8:1:2::{number:x}")
    with pytest.raises(TooMany):
        limits.check_failures("2001:db8:1:2:ffff::1")
    with pytest.raises(TooMany):
        limits.failure("2001:db8:1:2::1")
    limits.check_failures("2001:db8:1:3::1")
    limits.failure("192.0.2.1")
    limits.failure("")
    limits.failure("testclient")


def test_what_was_slowed_is_a_number_of_its_own(database: Database) -> None:
    context = context_of(database, access=Access.LOCKED)
    for _ in range(LOGINS + 3):
        try:
            context.limits.login("10.0.0.1")
        except TooMany:
            continue
    rows = [(row.method, row.route, sum(row.buckets)) for row in context.tally.rows()]
    assert rows == [("SLOWED", "login", 3)]
    assert context.tally.answered(0) == 0
