from __future__ import annotations

import pytest

from api.staff.steps import stages_of, steps_of
from fhir_tracker.model.work import Transition
from tests.api.staff.samples import ESCALATION, ITEM, MOVES, PROGRAM, item, row

GOAL = MOVES[1]


def told(log: tuple[Transition, ...], **changes: object) -> list[tuple[str, str]]:
    steps = steps_of(log, item(**changes), PROGRAM, GOAL)
    return [(one.label, "now" if one.now else "past" if one.past else "next") for one in steps]


def test_new_work_stands_at_its_first_status_with_the_goal_ahead() -> None:
    assert told(()) == [("To call", "now"), ("Reached", "next")]


def test_what_was_before_is_told_once_and_in_order() -> None:
    log = (
        row("status", None, "to-call"),
        row("status", "to-call", "calling"),
        row("status", "calling", "waiting"),
        row("status", "waiting", "calling"),
    )
    assert told(log, status="calling") == [
        ("To call", "past"),
        ("Waiting", "past"),
        ("Calling", "now"),
        ("Reached", "next"),
    ]


def test_only_the_last_three_before_are_told() -> None:
    log = tuple(row("status", f"s{n}", f"s{n + 1}") for n in range(9))
    assert [label for label, state in told(log, status="s9") if state == "past"] == ["S6", "S7", "S8"]


def test_closed_work_has_nothing_ahead() -> None:
    log = (row("status", "to-call", "reached"),)
    assert told(log, status="reached", open=False) == [("To call", "past"), ("Reached", "now")]


def test_each_step_says_what_its_status_means() -> None:
    assert [one.means for one in steps_of((), ITEM, PROGRAM, GOAL)] == ["Nobody has tried yet", "Two-way contact made"]
    assert [one.means for one in steps_of((), ITEM, None, None)] == [""]


@pytest.mark.parametrize("kind", ["outside", "escalation"])
def test_work_with_answers_of_its_own_has_no_way(kind: str) -> None:
    assert steps_of((), item(kind=kind) if kind == "outside" else ESCALATION, PROGRAM, GOAL) == ()


@pytest.mark.parametrize(
    ("stage", "shown"),
    [
        ("intake", [("Intake", "now"), ("Active", "next"), ("Done", "next")]),
        ("active", [("Intake", "past"), ("Active", "now"), ("Done", "next")]),
        ("done", [("Intake", "past"), ("Active", "past"), ("Done", "now")]),
        ("left", [("Intake", "past"), ("Active", "past"), ("Left", "now")]),
    ],
)
def test_a_plan_shows_its_stages_and_no_end_it_did_not_take(stage: str, shown: list[tuple[str, str]]) -> None:
    steps = stages_of(item(kind="plan", status=stage), PROGRAM)
    assert [(one.label, "now" if one.now else "past" if one.past else "next") for one in steps] == shown
    assert all(one.means for one in steps)


def test_a_plan_without_a_program_shows_where_it_is() -> None:
    (only,) = stages_of(item(kind="plan", status="on-hold"), None)
    assert (only.label, only.now, only.means) == ("On hold", True, "")


def test_exactly_one_step_is_now() -> None:
    for status in ("to-call", "calling", "waiting", "reached", "lost", "unheard-of"):
        assert sum(one.now for one in steps_of((), item(status=status), PROGRAM, GOAL)) == 1
    for stage in ("intake", "active", "done", "left", "unheard-of"):
        assert sum(one.now for one in stages_of(item(kind="plan", status=stage), PROGRAM)) == 1
