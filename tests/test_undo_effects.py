"""What a move brought about goes back with it or is named as left; nothing is erased; only one undoing wins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from fhir_tracker import outreach, transitions, undo
from fhir_tracker.errors import Conflict, RuleBroken
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Database
from tests.support.clinic import COORDINATOR, EVERYONE, MONDAY, NURSE, Clinic

NOW = MONDAY + timedelta(minutes=10)
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
PROGRAM = """
program: acts
eligible: {any: [{Encounter: {status: finished, class: IMP, within: 30 days}}]}
statuses:
  - {code: to-do, is: requested, means: "Nobody has begun"}
  - {code: trying, is: in-progress, means: "Being tried"}
  - {code: done, is: completed, means: "Done"}
  - {code: dropped, is: cancelled, means: "Not needed"}
transitions:
  - {from: to-do, to: trying, require: [outreach.outcome], do: {set_priority: urgent}}
  - from: [to-do, trying]
    to: dropped
    require: [reason]
    do: [{raise_flag: was-dropped}, {create_task: letter}, {notify: role/rn}, {create_task: survey}]
  - {from: [to-do, trying], to: done}
  - {from: done, to: to-do}
tasks:
  - {code: call, title: Call, role: care-coordinator}
  - {code: other, title: Other, role: care-coordinator}
  - {code: letter, title: Letter, role: front-desk, on: rule}
  - {code: survey, title: Survey, role: front-desk, on: rule}
rules:
  - {id: late, when: {all: [{task: call}, {in_status_for: {for: 1 hour}}]}, do: {escalate: late}}
ladders:
  late: {levels: [{to: role/rn}]}
"""


@pytest.fixture
def clinic(database: Database) -> Clinic:
    found = Clinic(database, PROGRAM)
    found.patient("ann")
    found.discharge("ann", MONDAY)
    return found


def take_back(clinic: Clinic, ref: str, at: Any, viewer: Viewer = NURSE) -> tuple[str, ...]:
    with clinic.acting(at, viewer) as (tx, by):
        return undo.undo(tx, ref, by, MINUTE).told


def call_of(clinic: Clinic) -> str:
    return clinic.task("ann", "call").ref


def drop(clinic: Clinic, at: Any) -> str:
    ref = call_of(clinic)
    clinic.move(ref, "dropped", at, NURSE, {"reason": "Not wanted"})
    return ref


@pytest.mark.requirement(132)
def test_each_effect_of_a_move_is_undone_or_left_and_none_is_erased(clinic: Clinic) -> None:
    ref = drop(clinic, NOW)
    letter, survey = clinic.task("ann", "letter").ref, clinic.task("ann", "survey").ref
    told = take_back(clinic, ref, NOW + SECOND)
    assert told == (
        "undone: raise flag was-dropped",
        f"undone: Letter ({letter})",
        "left: notify rn by in-app",
        f"undone: Survey ({survey})",
    )
    assert clinic.item(ref).status == "to-do"
    assert [clinic.item(one).fhir_status for one in (letter, survey)] == ["cancelled", "cancelled"]
    assert [one["status"] for one in clinic.stored("Flag")] == ["inactive"]
    row = next(one for one in reversed(clinic.log(ref)) if one.what == "status")
    assert (row.before, row.after, row.reason) == ("dropped", "to-do", "Undone")
    assert row.note == "; ".join(told)
    assert clinic.log(letter)[-1].reason == "Undone"


def test_work_that_somebody_has_begun_stays_and_the_undoing_says_who_began_it(clinic: Clinic) -> None:
    ref = drop(clinic, NOW)
    letter = clinic.task("ann", "letter").ref
    with clinic.acting(NOW + SECOND, COORDINATOR) as (tx, by):
        transitions.claim(tx, letter, by)
    told = take_back(clinic, ref, NOW + 2 * SECOND)
    (left,) = [one for one in told if letter in one]
    assert left.startswith(f"left: Letter ({letter}), for somebody has begun it: Practitioner/coordinator")
    assert clinic.item(letter).open
    assert clinic.item(letter).owner == COORDINATOR.who


def test_a_flag_that_stands_for_something_else_too_stays_up_for_that(clinic: Clinic) -> None:
    other = clinic.task("ann", "other").ref
    clinic.move(other, "dropped", NOW - MINUTE, NURSE, {"reason": "Not wanted"})
    (flag,) = clinic.stored("Flag")
    ref = drop(clinic, NOW)
    take_back(clinic, ref, NOW + SECOND)
    (after,) = clinic.stored("Flag")
    assert after["id"] == flag["id"]
    assert after["status"] == "active", "the other work still stands for it"


def test_an_attempt_written_down_with_the_move_is_entered_in_error_and_counts_no_more(clinic: Clinic) -> None:
    ref = call_of(clinic)
    clinic.attempt(ref, NOW - MINUTE)
    clinic.move(ref, "trying", NOW, NURSE, {"outreach.outcome": "left-message"})
    assert (clinic.item(ref).attempts, clinic.item(ref).priority) == (2, "urgent")
    told = take_back(clinic, ref, NOW + SECOND)
    assert len(told) == 1
    assert told[0].startswith("undone: the attempt Communication/")
    item = clinic.item(ref)
    assert (item.attempts, item.last_attempt_outcome, item.priority, item.status) == (
        1,
        "no-answer",
        "routine",
        "to-do",
    )
    states = sorted(one["status"] for one in clinic.stored("Communication"))
    assert states == ["entered-in-error", "not-done"]


def test_an_attempt_that_was_changed_since_stays_and_is_named(clinic: Clinic) -> None:
    ref = call_of(clinic)
    clinic.move(ref, "trying", NOW, NURSE, {"outreach.outcome": "left-message"})
    (made,) = clinic.stored("Communication")
    clinic.put(made | {"note": [{"text": "The daughter answered"}]}, NOW + SECOND, COORDINATOR)
    (told,) = take_back(clinic, ref, NOW + 2 * SECOND)
    assert told == f"left: the attempt Communication/{made['id']}, for it was changed since"
    assert [one["status"] for one in clinic.stored("Communication")] == ["not-done"]


def test_an_escalation_that_the_move_resolved_is_named_and_its_rule_asks_anew(clinic: Clinic) -> None:
    ref = call_of(clinic)
    clinic.sweep(NOW + 2 * HOUR)
    (raised,) = clinic.escalations("ann")
    at = NOW + 3 * HOUR
    clinic.move(ref, "done", at, NURSE)
    assert not clinic.item(raised.ref).open
    assert take_back(clinic, ref, at + SECOND) == (f"left: {raised.ref} stays resolved, its rule asks anew",)
    clinic.sweep(at + 2 * HOUR)
    assert [one.open for one in clinic.escalations("ann")] == [False, True]


def test_an_undoing_is_not_undone_and_the_step_can_be_made_again(clinic: Clinic) -> None:
    ref = drop(clinic, NOW)
    take_back(clinic, ref, NOW + SECOND)
    with pytest.raises(RuleBroken, match="taken back already"):
        take_back(clinic, ref, NOW + 2 * SECOND)
    drop(clinic, NOW + 3 * SECOND)
    assert clinic.item(ref).status == "dropped"
    letters = [one for one in clinic.items("ann") if one.code == "letter"]
    assert [one.open for one in letters] == [False, True], "made again the move has its effects again"
    assert any("undone: Letter" in one for one in take_back(clinic, ref, NOW + 4 * SECOND))


def test_a_refusal_says_what_somebody_else_changed(clinic: Clinic) -> None:
    ref = drop(clinic, NOW)
    clinic.move(clinic.task("ann", "letter").ref, "done", NOW + SECOND, COORDINATOR)
    with clinic.acting(NOW + SECOND, EVERYONE) as (tx, by):
        transitions.note(tx, ref, "Are you sure?", by)
    with pytest.raises(RuleBroken) as refused:
        take_back(clinic, ref, NOW + 2 * SECOND)
    assert (
        refused.value.message
        == "Call has changed since (Practitioner/all wrote version 3): it can no longer be undone."
    )
    other = clinic.task("ann", "other").ref
    clinic.move(other, "dropped", NOW + 3 * SECOND, NURSE, {"reason": "x"})
    clinic.move(clinic.task("ann", "other").ref, "entered-in-error", NOW + 4 * SECOND, EVERYONE, {"reason": "y"})
    with pytest.raises(RuleBroken, match="Practitioner/all changed status from dropped to entered-in-error"):
        take_back(clinic, other, NOW + 5 * SECOND)


@pytest.mark.parametrize("others", [2, 3])
def test_of_several_undoings_at_once_one_wins_and_its_effects_are_undone_once(clinic: Clinic, others: int) -> None:
    ref = drop(clinic, NOW)
    letter = clinic.task("ann", "letter").ref
    start = Barrier(others)

    def once(number: int) -> str:
        start.wait(30)
        try:
            take_back(clinic, ref, NOW + (1 + number) * SECOND)
        except (RuleBroken, Conflict) as error:
            return type(error).__name__
        return "done"

    with ThreadPoolExecutor(others) as pool:
        found = list(pool.map(once, range(others)))
    assert found.count("done") == 1
    assert clinic.item(ref).status == "to-do"
    assert [row.after for row in clinic.log(letter) if row.what == "status"].count("dropped") == 1


def test_attempts_of_other_work_and_other_moments_are_not_touched(clinic: Clinic) -> None:
    ref, other = call_of(clinic), clinic.task("ann", "other").ref
    clinic.move(ref, "trying", NOW, NURSE, {"outreach.outcome": "left-message"})
    with clinic.acting(NOW, COORDINATOR) as (tx, by):
        item = transitions.find_task(tx, COORDINATOR, other).item
        outreach.log_attempt(tx, item, outreach.Attempt(channel="sms", outcome="bounced", at=NOW), by)
    take_back(clinic, ref, NOW + SECOND)
    assert clinic.item(other).attempts == 1
