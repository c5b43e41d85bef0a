"""The board of the demo: what is settled, what all was seen, and many threads writing on it at once."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from api.demo.board import Board, Happening, Sight, SightState, StepState
from api.demo.day import DAY
from api.demo.director import board_of

NOW = datetime(2026, 3, 11, 15, tzinfo=UTC)


def happening(number: int = 0, state: StepState = "planned", *sights: SightState) -> Happening:
    shown = tuple(Sight(title=f"s{n}", state=one) for n, one in enumerate(sights))
    return Happening(number=number, title="T", why="W", planned_for=1.0, state=state, sights=shown)


@pytest.mark.parametrize(
    ("one", "is_settled"),
    [
        (happening(0, "planned"), False),
        (happening(0, "planned", "seen"), False),
        (happening(0, "failed"), True),
        (happening(0, "failed", "waiting"), True),
        (happening(0, "done"), True),
        (happening(0, "done", "waiting"), False),
        (happening(0, "done", "seen", "waiting"), False),
        (happening(0, "done", "seen", "missed"), True),
        (happening(0, "done", "seen", "seen"), True),
    ],
)
def test_a_step_is_settled_when_nothing_more_is_to_come(one: Happening, is_settled: bool) -> None:
    assert one.is_settled is is_settled


@pytest.mark.parametrize(
    ("steps", "all_seen"),
    [
        ((), True),
        ((happening(0, "done", "seen"),), True),
        ((happening(0, "done", "seen"), happening(1, "planned")), False),
        ((happening(0, "done", "seen"), happening(1, "failed")), False),
        ((happening(0, "done", "missed"),), False),
        ((happening(0, "done", "waiting"),), False),
    ],
)
def test_all_is_seen_only_when_nothing_failed_or_was_missed(steps: tuple[Happening, ...], all_seen: bool) -> None:
    assert Board(steps).all_seen is all_seen


def test_a_note_changes_its_own_step_and_no_other() -> None:
    board = Board((happening(0), happening(1), happening(2)))
    board.note(1, lambda one: replace(one, state="done", at=NOW))
    assert [one.state for one in board.happenings()] == ["planned", "done", "planned"]
    board.note(9, lambda one: replace(one, state="failed"))
    assert [one.state for one in board.happenings()] == ["planned", "done", "planned"]


def test_a_sight_is_noted_by_its_title_within_its_step() -> None:
    board = Board((happening(0, "done", "waiting", "waiting"), happening(1, "done", "waiting")))
    board.note_sight(0, "s1", state="seen", after=2.5, detail="A call")
    board.note_sight(0, "unknown", state="missed", after=9.0)
    first, second = board.happenings()
    assert [(one.state, one.after, one.detail) for one in first.sights] == [
        ("waiting", None, ""),
        ("seen", 2.5, "A call"),
    ]
    assert [one.state for one in second.sights] == ["waiting"]


def test_the_phases_are_entered_one_after_the_other() -> None:
    board = Board(())
    seen = [board.phase]
    for phase in ("running", "over"):
        board.enter(phase)
        seen.append(board.phase)
    assert seen == ["loading", "running", "over"]


def test_no_note_is_lost_when_many_threads_write_at_once() -> None:
    board = Board(tuple(happening(number, "done", "waiting") for number in range(8)))
    together = threading.Barrier(8)

    def write(number: int) -> None:
        together.wait()
        for _ in range(100):
            board.note(number, lambda one: replace(one, planned_for=one.planned_for + 1))
        board.note_sight(number, "s0", state="seen", after=1.0)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [one.planned_for for one in board.happenings()] == [101.0] * 8
    assert board.all_seen


def test_what_was_read_stays_as_it_was() -> None:
    board = Board((happening(0),))
    before = board.happenings()
    board.note(0, lambda one: replace(one, state="failed"))
    assert before[0].state == "planned"


def test_a_board_of_the_day_names_patients_and_their_charts() -> None:
    names, cast = {"noshow": "Ada Example"}, {"noshow": "a1", "urgent": "b 2"}
    board = board_of(DAY, names, cast)
    by_who = {step.who: one for step, one in zip(DAY, board.happenings(), strict=True)}
    assert (by_who["noshow"].patient, by_who["noshow"].chart) == ("Ada Example", "a1")
    assert by_who["urgent"].patient == ""
    assert by_who["urgent"].chart == "b 2"
    assert by_who["discharged"].chart == ""
    assert [len(one.sights) for one in board.happenings()] == [len(step.expect) for step in DAY]
    assert not board.all_seen
