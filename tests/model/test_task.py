"""A Task as a work item, and the rows between two of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.task import (
    What,
    changes_between,
    next_cycle,
    notes_of,
    task_code,
    task_item,
    task_status,
    with_history,
)
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.vocabulary import ROLE_SYSTEM, WORK_SYSTEM
from fhir_tracker.model.work import LONGEST, Event, Firing, FiringKey, FiringState, Transition, WorkItem
from fhir_tracker.rules.program_file import read_program
from tests.support.clinic import MONDAY, RING

PROGRAM = replace(read_program(RING), version=3)
HOUR = timedelta(hours=1)
BASE = "https://fhir-tracker.example"
AUTHOR = Author(viewer=worker_viewer("test"), origin="rules", at=MONDAY)


def task(**members: object) -> dict[str, Any]:
    return {"resourceType": "Task", "id": "t", "status": "requested", "intent": "order", **members}


def item(**members: object) -> WorkItem:
    return task_item(task(authoredOn=instant(MONDAY), **members), None, mirrored=False, created_at=MONDAY)


def row(what: What, before: str | None, after: str | None, at: timedelta, cycle: int = 0) -> Transition:
    made = Transition(
        item="Task/t",
        what=what,
        before=before,
        after=after,
        recorded_at=MONDAY,
        effective_at=MONDAY,
        who="x",
        cycle=cycle,
    )
    return replace(made, recorded_at=MONDAY + at, effective_at=MONDAY + at)


def fired(level: int, state: FiringState = "open", kind: str = "escalate") -> Firing:
    key = FiringKey(item="Task/t", rule="late", cycle="0", level=level)
    return Firing(key=key, fired_at=MONDAY, kind=kind, state=state, reason=f"because {level}")


@pytest.mark.parametrize(
    ("business", "fhir", "status"),
    [
        ({"coding": [{"code": "calling"}]}, "in-progress", "calling"),
        ({"coding": [{"code": "other"}, {"code": "calling"}]}, "in-progress", "calling"),
        ({"coding": [{"code": "other"}]}, "in-progress", "calling"),
        (None, "failed", "unreachable"),
        (None, "entered-in-error", "entered-in-error"),
        ("nonsense", "requested", "to-call"),
    ],
)
def test_the_status_is_the_programs_own_where_it_can_be_told(business: object, fhir: str, status: str) -> None:
    assert task_status(task(businessStatus=business, status=fhir), PROGRAM) == status


def test_outside_programs_the_status_is_what_the_task_says() -> None:
    assert task_status(task(), None) == "requested"
    assert task_status(task(businessStatus={"coding": [{"code": "own"}]}), None) == "own"


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"instantiatesCanonical": f"{BASE}/ActivityDefinition/ring.first-call|3"}, "first-call"),
        ({"instantiatesCanonical": f"{BASE}/ActivityDefinition/ring.first-call"}, "first-call"),
        ({"code": {"coding": [{"system": f"{BASE}/CodeSystem/ring-task", "code": "reschedule"}]}}, "reschedule"),
        (
            {"code": {"coding": [{"code": "x"}, {"system": f"{BASE}/CodeSystem/ring-task", "code": "reschedule"}]}},
            "reschedule",
        ),
        ({"code": {"coding": [{"code": "first-call"}]}}, "first-call"),
        ({"code": {"coding": [{"code": "unknown"}]}}, "unknown"),
        ({"instantiatesCanonical": 7, "code": []}, ""),
    ],
)
def test_the_code_is_that_of_the_programs_work(members: dict[str, Any], code: str) -> None:
    assert task_code(task(**members), PROGRAM) == code


def test_clock_and_openness_follow_the_programs_status() -> None:
    held = task_item(task(status="on-hold"), PROGRAM, mirrored=False, created_at=MONDAY)
    assert (held.status, held.clock, held.open) == ("waiting", "paused", True)
    done = task_item(task(status="completed"), PROGRAM, mirrored=False, created_at=MONDAY)
    assert (done.clock, done.open) == ("stopped", False)


def test_a_role_is_read_from_our_system_before_any_other() -> None:
    concept = {"coding": [{"system": "http://snomed.info/sct", "code": "1"}, {"system": ROLE_SYSTEM, "code": "rn"}]}
    assert item(performerType=[concept]).role == "rn"
    assert item(performerType=[{"coding": [{"code": "nurse"}]}]).role == "nurse"


def test_an_escalation_is_told_by_its_code() -> None:
    code = {"coding": [{"system": WORK_SYSTEM, "code": "escalation"}]}
    assert item(code=code).kind == "escalation"
    assert task_item(task(code=code), None, mirrored=True, created_at=MONDAY).kind == "outside"


def test_texts_that_an_index_holds_are_cut() -> None:
    assert len(item(owner={"reference": "Practitioner/" + "x" * 5000}).owner or "") == LONGEST


def test_a_new_item_has_rows_for_what_it_has_and_no_cycle() -> None:
    new = item(owner={"reference": "Practitioner/n"}, restriction={"period": {"end": instant(MONDAY)}})
    rows = changes_between(None, new, AUTHOR)
    assert [one.what for one in rows] == ["status", "owner", "due"]
    assert {one.cycle for one in rows} == {0}


def test_rows_carry_who_why_and_since_when() -> None:
    why = Why(reason="Late", note="n", rule="ring|1#late", effective_at=MONDAY - HOUR)
    (one,) = changes_between(item(), item(status="accepted"), AUTHOR, why)
    assert (one.who, one.reason, one.note, one.rule) == ("Device/test", "Late", "n", "ring|1#late")
    assert (one.recorded_at, one.effective_at) == (MONDAY, MONDAY - HOUR)


def test_a_plans_status_is_its_stage() -> None:
    before, after = replace(item(), kind="plan"), replace(item(), kind="plan", status="active")
    assert [one.what for one in changes_between(before, after, AUTHOR)] == ["stage"]


def test_the_cycle_grows_with_a_new_due_time_or_a_reopening() -> None:
    first = replace(item(), cycle=4, due_at=MONDAY)
    assert next_cycle(first, replace(first, priority="stat")) == 4
    assert next_cycle(first, replace(first, due_at=MONDAY + HOUR)) == 5
    assert next_cycle(first, replace(first, open=False)) == 4
    assert next_cycle(replace(first, open=False), first) == 5


def test_history_adds_since_when_cycle_levels_and_attempts() -> None:
    log = [
        row("status", None, "requested", 0 * HOUR),
        row("owner", None, "n", HOUR),
        row("status", "requested", "accepted", 2 * HOUR, 2),
    ]
    attempt = Event(
        ref="Communication/1",
        type="Communication",
        status="not-done",
        patient="p",
        start=MONDAY,
        seen_at=MONDAY,
        detail={"outcome": "no-answer"},
    )
    whole = with_history(
        item(owner={"reference": "n"}), log, [fired(1), fired(2), fired(0, kind="create-task")], [attempt]
    )
    assert (whole.status_since, whole.assigned_since, whole.cycle) == (MONDAY + 2 * HOUR, MONDAY + HOUR, 2)
    assert (whole.escalation_level, whole.escalation_reason) == (2, "because 2")
    assert (whole.attempts, whole.last_attempt_at, whole.last_attempt_outcome) == (1, MONDAY, "no-answer")


def test_resolved_levels_and_closed_work_show_no_escalation() -> None:
    assert with_history(item(), [], [fired(1), fired(2, "resolved")], []).escalation_level == 1
    assert with_history(item(status="completed"), [], [fired(1)], []).escalation_level == 0


def test_notes_are_the_texts_that_are_texts() -> None:
    assert notes_of(task(note=[{"text": "a"}, {"text": 1}, "x", {"text": "b"}])) == ("a", "b")
