"""`task`, `stage`, `priority` and `flag`: which work a rule is about, and when a flag stops counting."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fhir_tracker.model.work import Event
from tests.rules.samples import MONDAY, event, facts, hours, item, plan, plan_item, verdict


@pytest.mark.parametrize(
    ("when", "code", "holds"),
    [
        ("{task: first-call}", "first-call", True),
        ("{task: [visit, first-call]}", "first-call", True),
        ("{task: visit}", "first-call", False),
        ("{task: first-call}", "", False),
        ("{task: first-call}", "first-call-2", False),
        ("{task: rebook}", "rebook", True),
    ],
)
def test_task_asks_for_the_kind_of_work(when: str, code: str, holds: bool) -> None:
    found = verdict(when, facts(item(code=code)), MONDAY)
    assert (found.holds, found.next_change) == (holds, None)


def test_task_says_what_the_work_is_and_what_it_is_not() -> None:
    assert verdict("{task: visit}", facts(), MONDAY).why == "the work is first-call, not visit"
    assert verdict("{task: first-call}", facts(), MONDAY).why == "the work is first-call"


@pytest.mark.parametrize(
    ("priority", "when", "holds"),
    [
        ("stat", "{priority: [urgent, stat]}", True),
        ("urgent", "{priority: urgent}", True),
        ("routine", "{priority: urgent}", False),
        ("", "{priority: routine}", False),
    ],
)
def test_priority_asks_for_the_works_own(priority: str, when: str, holds: bool) -> None:
    assert verdict(when, facts(item(priority=priority)), MONDAY).holds is holds


@pytest.mark.parametrize(
    ("known", "subject", "holds"),
    [
        (facts(), "task", True),
        (facts(plan=None), "task", False),
        (facts(plan_item()), "plan", True),
        (facts(plan_item(), plan=None), "plan", True),
        (facts(plan_item(status="completed"), plan=None), "plan", False),
        (facts(plan_item(open=False)), "plan", False),
    ],
)
def test_stage_asks_for_the_plans(known: object, subject: str, holds: bool) -> None:
    assert verdict("{stage: enrolled}", known, MONDAY, subject).holds is holds  # type: ignore[arg-type]
    assert not verdict("{stage: withdrawn}", known, MONDAY, subject).holds  # type: ignore[arg-type]


def flagged(
    name: str = "f", status: str = "active", code: str = "urn:f|risk", end: datetime | None = None, **changes: object
) -> Event:
    return event(f"Flag/{name}", status, MONDAY - hours(1), codes=(code,), end=end, **changes)


END = MONDAY + hours(10)


@pytest.mark.parametrize(
    ("when", "flags", "holds", "next_change"),
    [
        ("{flag: risk}", (flagged(),), True, None),
        ("{flag: risk}", (flagged(end=END),), True, END),
        ("{flag: 'urn:f|risk'}", (flagged(),), True, None),
        ("{flag: 'urn:g|risk'}", (flagged(),), False, None),
        ("{flag: [fall, risk]}", (flagged(),), True, None),
        ("{flag: risk}", (), False, None),
        ("{flag: risk}", (flagged(status="inactive"),), False, None),
        ("{flag: risk}", (flagged(status="entered-in-error"),), False, None),
        ("{flag: risk}", (flagged(code="urn:f|fall"),), False, None),
        ("{flag: risk}", (flagged(end=MONDAY),), False, None),
        ("{flag: risk}", (flagged(end=MONDAY + timedelta(seconds=1)),), True, MONDAY + timedelta(seconds=1)),
        ("{flag: risk}", (event("Condition/c", "active", MONDAY, codes=("risk",)),), False, None),
        ("{flag: risk}", (flagged("a", end=MONDAY), flagged("b")), True, None),
    ],
)
def test_a_flag_counts_while_it_is_active_and_not_over(
    when: str, flags: tuple[Event, ...], holds: bool, next_change: datetime | None
) -> None:
    for subject, known in (("task", facts(events=flags)), ("plan", facts(plan_item(), events=flags))):
        found = verdict(when, known, MONDAY, subject)
        assert (found.holds, found.next_change) == (holds, next_change)


def test_two_flags_of_one_code_are_one_case() -> None:
    both = facts(events=(flagged("a", end=END), flagged("b", end=END + hours(5))))
    found = verdict("{flag: risk}", both, MONDAY)
    assert (found.holds, found.occurrence) == (True, "")
    assert verdict("{flag: risk}", both, END).holds
    assert not verdict("{flag: risk}", both, END + hours(5)).holds


def test_a_plan_without_a_discharge_has_its_enrolment() -> None:
    assert verdict("{stage: enrolled}", facts(plan=plan(MONDAY)), MONDAY).holds
