"""Turns at writing: one at a time, in the order they came, and nobody is forgotten when one gives up."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from fhir_tracker import clock
from fhir_tracker.errors import Busy, Fault
from fhir_tracker.storage.turns import Turns


def until(condition: threading.Event) -> None:
    assert condition.wait(60)


def waiting(turns: Turns, count: int) -> None:
    """Wait until `count` threads stand in the line."""
    for _ in range(12_000):
        if len(turns._waiting) >= count:
            return
        clock.pause(0.005)
    raise AssertionError("nobody waits")


def test_turns_come_in_the_order_they_were_asked_for() -> None:
    turns, order, threads = Turns(), [], []

    def work(number: int) -> None:
        with turns.take(60):
            order.append(number)

    with turns.take(1):
        for number in range(6):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            waiting(turns, number + 1)
    for one in threads:
        one.join()
    assert order == list(range(6))


def test_one_holds_at_a_time() -> None:
    turns, inside, most = Turns(), [], []

    def work() -> None:
        for _ in range(30):
            with turns.take(60):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (len(most), max(most)) == (180, 1)


def test_who_waits_too_long_hears_that_it_is_busy_and_the_next_goes_on() -> None:
    turns, said, went_on = Turns(), [], threading.Event()

    def impatient() -> None:
        with suppress(Busy), turns.take(0.02):
            said.append("went in")
        said.append("gave up")

    def patient() -> None:
        with turns.take(60):
            went_on.set()

    with turns.take(1):
        first = threading.Thread(target=impatient)
        first.start()
        first.join()
        second = threading.Thread(target=patient)
        second.start()
        waiting(turns, 1)
        assert not went_on.is_set()
    until(went_on)
    second.join()
    assert said == ["gave up"]
    with turns.take(0.01):
        pass


def test_a_turn_inside_a_turn_is_a_fault_and_leaves_the_outer_one() -> None:
    turns = Turns()
    with turns.take(1):
        with pytest.raises(Fault), turns.take(1):
            pass
        assert turns._holder == threading.get_ident()
    with turns.take(0.01):
        pass


def test_a_turn_ends_with_an_error_too() -> None:
    turns = Turns()
    with pytest.raises(LookupError), turns.take(1):
        raise LookupError
    with turns.take(0.01):
        pass
