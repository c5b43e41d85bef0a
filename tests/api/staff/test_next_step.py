from __future__ import annotations

from dataclasses import replace

import pytest

from api.staff.next_step import (
    fhir_status,
    forward,
    hold_move,
    is_outreach,
    move_label,
    move_means,
    next_step,
    page_of,
)
from fhir_tracker.model.program import Move
from fhir_tracker.rules.moves import allowed_moves, default_moves
from tests.api.staff.samples import ESCALATION, ITEM, MOVES, NURSE, PROGRAM, item

ME = NURSE.who


def moves_of(status: str) -> tuple[Move, ...]:
    return allowed_moves(PROGRAM, item(status=status), NURSE.roles)


def test_the_page_of_a_task_is_named_by_its_id() -> None:
    assert page_of(ITEM) == "/tasks/call-1"


def test_what_nobody_has_is_claimed_against_the_version_seen() -> None:
    step = next_step(ITEM, ME, PROGRAM, MOVES, 7)
    assert (step.label, step.href, step.post, step.version, step.primary) == (
        "Claim",
        "/tasks/call-1/claim",
        True,
        7,
        True,
    )


def test_ones_own_outreach_work_asks_for_an_attempt() -> None:
    step = next_step(item(owner=ME), ME, PROGRAM, MOVES, 1)
    assert (step.label, step.href, step.post) == ("Log attempt", "/tasks/call-1?do=attempt", False)


def test_ones_own_other_work_is_moved_to_where_it_is_done() -> None:
    step = next_step(item(owner=ME, code="visit"), ME, PROGRAM, moves_of("to-call"), 1)
    assert (step.label, step.href) == ("Move to Reached", "/tasks/call-1?move=reached")


def test_a_paused_call_is_moved_on_and_not_tried() -> None:
    step = next_step(item(owner=ME, clock="paused", status="waiting"), ME, PROGRAM, (MOVES[0],), 1)
    assert (step.label, step.href) == ("Move to Calling", "/tasks/call-1?move=calling")


@pytest.mark.parametrize(
    "changes",
    [
        {"owner": "Practitioner/other"},
        {"open": False, "status": "reached"},
        {"open": False, "owner": ME},
        {"kind": "outside"},
        {"kind": "plan", "ref": "CarePlan/plan-1"},
    ],
)
def test_what_is_not_mine_to_do_is_only_opened(changes: dict[str, object]) -> None:
    step = next_step(item(**changes), ME, PROGRAM, MOVES, 1)
    assert (step.label, step.post, step.primary) == ("Open", False, False)


def test_my_work_without_any_move_is_only_opened() -> None:
    assert next_step(item(owner=ME, code="visit"), ME, PROGRAM, (), 1).label == "Open"


@pytest.mark.parametrize(
    ("state", "label", "path"),
    [
        ("requested", "Acknowledge", "acknowledge"),
        ("received", "Acknowledge", "acknowledge"),
        ("accepted", "Take over", "take-over"),
        ("in-progress", "Resolve", "resolve"),
        ("ready", "Resolve", "resolve"),
        ("on-hold", "Resolve", "resolve"),
    ],
)
def test_an_escalation_is_answered_step_by_step(state: str, label: str, path: str) -> None:
    step = next_step(replace(ESCALATION, fhir_status=state), ME, None, MOVES, 4)
    assert (step.label, step.href, step.post, step.version) == (label, f"/tasks/esc-1/{path}", True, 4)


def test_a_closed_escalation_is_only_opened() -> None:
    assert next_step(ESCALATION, ME, None, (), 4).label == "Open", "who may not answer is not asked to"
    assert next_step(replace(ESCALATION, open=False, fhir_status="completed"), ME, None, (), 4).label == "Open"


@pytest.mark.parametrize(
    ("code", "program", "expected"),
    [
        ("first-call", PROGRAM, True),
        ("visit", PROGRAM, False),
        ("unknown", PROGRAM, False),
        ("first-call", None, False),
    ],
)
def test_outreach_work_is_what_its_template_says(code: str, program: object, expected: bool) -> None:
    assert is_outreach(item(code=code), PROGRAM if program else None) is expected


def test_forward_prefers_what_completes_and_else_takes_the_first() -> None:
    assert forward(PROGRAM, MOVES) == MOVES[1]
    assert forward(PROGRAM, (MOVES[3], MOVES[0])) == MOVES[3]
    assert forward(PROGRAM, ()) is None
    bare = forward(None, default_moves("requested"))
    assert bare is not None
    assert bare.to == "completed"


def test_a_hold_is_the_move_that_pauses() -> None:
    assert hold_move(PROGRAM, MOVES) == MOVES[2]
    assert hold_move(PROGRAM, MOVES[:2]) is None
    own = hold_move(None, default_moves("in-progress"))
    assert own is not None
    assert own.to == "on-hold"
    assert hold_move(None, default_moves("requested")) is None


@pytest.mark.parametrize(
    ("to", "label", "fhir"),
    [
        ("reached", "Reached", "completed"),
        ("lost", "Unreachable", "failed"),
        ("entered-in-error", "Entered in error", "entered-in-error"),
    ],
)
def test_a_move_is_named_by_where_it_leads(to: str, label: str, fhir: str) -> None:
    assert move_label(PROGRAM, Move(sources=(), to=to)) == label
    assert fhir_status(PROGRAM, to) == fhir
    assert fhir_status(None, to) == to
    own = PROGRAM.status(to)
    assert move_means(PROGRAM, Move(sources=(), to=to)) == (own.means if own else "")
    assert move_means(None, Move(sources=(), to=to)) == ""


def test_a_code_with_odd_letters_stays_one_value_of_the_address() -> None:
    odd = Move(sources=("to-call",), to="a&b=c#d e")
    step = next_step(item(owner=ME, code="visit"), ME, PROGRAM, (odd,), 1)
    assert step.href == "/tasks/call-1?move=a%26b%3Dc%23d%20e"
