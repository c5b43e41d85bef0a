"""When a process counts as hanging: only by the measure of others, and never since the whole machine stood still."""

from __future__ import annotations

from collections.abc import Iterable

from api.silences import Silences
from api.tally import Tally

SECONDS = 60.0
PLACES = range(3)


class Watched:
    """Three processes and the first one, which looks at them."""

    def __init__(self) -> None:
        self.tally = Tally(3)
        self.silences = Silences(self.tally, SECONDS)
        self.now = 1000.0
        self.pass_by(self.silences.interval, PLACES)

    def pass_by(self, seconds: float, turning: Iterable[int]) -> list[int]:
        """Let time pass in which only some of them turn; those that count as hanging at its end."""
        alive, until = list(turning), self.now + seconds
        found: list[int] = []
        while self.now < until:
            self.now += self.silences.interval
            for place in alive:
                self.tally.at(place).beat()
            found = self.silences.look(PLACES, self.now)
        return found


def test_one_that_hangs_beside_others_is_found_after_a_while_and_not_before() -> None:
    watched = Watched()
    assert watched.pass_by(SECONDS - 1, [0, 2]) in ([], [1])
    assert watched.pass_by(SECONDS / 4, [0, 2]) == [1]


def test_one_that_was_stopped_for_less_begins_anew() -> None:
    watched = Watched()
    for _ in range(5):
        assert watched.pass_by(SECONDS * 0.8, [0, 2]) == []
        assert watched.pass_by(watched.silences.interval, PLACES) == []


def test_when_all_stand_still_none_of_them_hangs() -> None:
    watched = Watched()
    assert watched.pass_by(10 * SECONDS, []) == []
    assert watched.pass_by(watched.silences.interval, [0]) == []
    assert watched.pass_by(watched.silences.interval, PLACES) == []


def test_a_long_time_without_a_look_counts_as_one_look() -> None:
    watched = Watched()
    watched.now += 100 * SECONDS
    watched.tally.at(0).beat()
    assert watched.silences.look(PLACES, watched.now) == []
    assert watched.pass_by(SECONDS / 2, [0]) == []


def test_whoever_takes_the_place_of_one_that_hung_may_take_long_to_begin() -> None:
    watched = Watched()
    assert watched.pass_by(SECONDS * 1.5, [0, 2]) == [1]
    watched.silences.forget(1)
    assert watched.pass_by(SECONDS * 5, [0, 2]) == []
    assert watched.pass_by(SECONDS, PLACES) == []
    assert watched.pass_by(SECONDS * 1.5, [0, 2]) == [1]
