"""Each event counts once, in whichever order; gaps show, and so does a server that begins to count anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriptions.event_numbers import MOST_MISSING, Numbers, counted
from subscriptions.notifications import Event, Notification

FRESH = Numbers(highest=0)


def told(*numbers: int, since: int | None = None, mark: str = "", kind: str = "event") -> Notification:
    events = tuple(Event(number=number, mark=mark or f"m{number}") for number in numbers)
    return Notification(kind=kind, events=events, since=max(numbers) if numbers and since is None else since)


def after(*notifications: Notification, held: Numbers = FRESH) -> tuple[Numbers, list[int], bool]:
    """The numbers at the end, the events that were fresh, in order, and whether everything was asked for."""
    fresh: list[int] = []
    pull = False
    for one in notifications:
        found = counted(held, one)
        held, pull = found.numbers, pull or found.pull
        fresh += [event.number for event in found.fresh]
    return held, fresh, pull


@pytest.mark.requirement(73)
@given(order=st.lists(st.integers(1, 30), max_size=60))
def test_duplicates_and_disorder_give_each_event_once_and_show_what_never_came(order: list[int]) -> None:
    numbers, fresh, pull = after(*(told(one) for one in order))
    assert sorted(fresh) == sorted(set(order))
    assert numbers.highest == max(order, default=0)
    assert numbers.missing == set(range(1, max(order, default=0) + 1)) - set(order)
    assert not pull


@pytest.mark.requirement(74)
def test_a_jump_shows_what_is_missing_until_it_comes() -> None:
    numbers, _, _ = after(told(1), told(4))
    assert numbers.missing == {2, 3}
    numbers, fresh, _ = after(told(3), told(2), held=numbers)
    assert (numbers.missing, fresh) == (frozenset(), [3, 2])


@pytest.mark.requirement(74)
@pytest.mark.parametrize("kind", ["heartbeat", "handshake", "event"])
def test_the_servers_own_count_shows_a_gap_too(kind: str) -> None:
    numbers, _, _ = after(told(1), Notification(kind=kind, since=3))
    assert numbers.missing == {2, 3}


@pytest.mark.requirement(74)
def test_a_server_that_began_anew_is_followed_from_there_and_asked_for_everything() -> None:
    numbers, fresh, pull = after(*(told(one) for one in range(1, 60)), told(1, mark="another"))
    assert (numbers.highest, numbers.missing, fresh[-1], pull) == (1, frozenset(), 1, True)
    numbers, fresh, pull = after(told(2, mark="another"), held=numbers)
    assert (numbers.highest, fresh, pull) == (2, [2], False)


@pytest.mark.requirement(74)
@pytest.mark.parametrize(("kind", "since"), [("handshake", 0), ("heartbeat", 0), ("heartbeat", 3)])
def test_a_count_far_behind_means_that_it_began_anew(kind: str, since: int) -> None:
    numbers, _, pull = after(*(told(one) for one in range(1, 20)), Notification(kind=kind, since=since))
    assert (numbers.highest, pull) == (since, True)


def test_a_heartbeat_that_events_have_overtaken_is_no_new_beginning() -> None:
    numbers, _, pull = after(*(told(one) for one in range(1, 20)), Notification(kind="heartbeat", since=17))
    assert (numbers.highest, pull) == (19, False)


def test_a_server_that_begins_anew_with_each_notification_is_not_counted_any_more() -> None:
    numbers, fresh, _ = after(*(told(1, mark=f"m{number}") for number in range(10)))
    assert not numbers.is_trusted
    assert fresh == [1] * 10
    assert not counted(numbers, told(5)).pull
    assert counted(numbers, told(5)).numbers.missing == frozenset()


def test_a_gap_too_wide_to_be_filled_is_pulled() -> None:
    numbers, fresh, pull = after(told(1), told(MOST_MISSING + 10))
    assert (numbers.missing, fresh, pull) == (frozenset(), [1, MOST_MISSING + 10], True)


def test_where_the_count_stood_is_not_known_after_a_renewal() -> None:
    numbers, fresh, pull = after(told(40), told(42), held=Numbers())
    assert (numbers.highest, numbers.missing, fresh, pull) == (42, frozenset({41}), [40, 42], False)


def test_events_without_number_are_always_fresh() -> None:
    numbers, fresh, _ = after(told(0, since=0), told(0, since=0))
    assert (numbers.highest, fresh) == (0, [0, 0])
