"""`all`, `any` and `not`: truth tables, whose `since` and `next_change` count, and how cases combine."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import Fault
from fhir_tracker.model.program import Condition
from fhir_tracker.rules.catalog import PREDICATES
from fhir_tracker.rules.conditions import MAX_OCCURRENCES, judge
from tests.rules.samples import (
    MONDAY,
    event,
    facts,
    hours,
    item,
    judged,
    ny,
    plan_item,
    program,
    verdict,
    visit,
    with_rule,
)

DUE = ny("2026-03-09 17:00")
LATE = facts(item(due_at=DUE))
YES, NO = "{task: first-call}", "{task: visit}"


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        (f"{{all: [{YES}, {YES}]}}", True),
        (f"{{all: [{YES}, {NO}]}}", False),
        (f"{{all: [{NO}, {NO}]}}", False),
        (f"{{all: [{YES}]}}", True),
        (f"{{any: [{YES}, {NO}]}}", True),
        (f"{{any: [{NO}, {YES}]}}", True),
        (f"{{any: [{NO}, {NO}]}}", False),
        (f"{{any: [{NO}]}}", False),
        (f"{{not: {YES}}}", False),
        (f"{{not: {NO}}}", True),
        (f"{{not: {{not: {YES}}}}}", True),
        (f"{{not: {{all: [{YES}, {NO}]}}}}", True),
        (f"{{not: {{any: [{YES}, {NO}]}}}}", False),
        (f"{{all: [{{any: [{NO}, {YES}]}}, {{not: {NO}}}]}}", True),
        (f"{{any: [{{all: [{YES}, {NO}]}}, {{not: {YES}}}]}}", False),
    ],
)
def test_truth(when: str, holds: bool) -> None:
    assert verdict(when, LATE, DUE).holds is holds


@pytest.mark.parametrize(
    ("when", "now", "holds", "next_change", "since"),
    [
        ("{all: [{overdue_by: 0 hours}, {unassigned_for: 2 hours}]}", 0, False, 8, None),
        ("{all: [{overdue_by: 0 hours}, {unassigned_for: 2 hours}]}", 3, False, 8, None),
        ("{all: [{overdue_by: 0 hours}, {unassigned_for: 2 hours}]}", 8, True, None, 8),
        ("{any: [{overdue_by: 0 hours}, {unassigned_for: 2 hours}]}", 1, False, 2, None),
        ("{any: [{overdue_by: 0 hours}, {unassigned_for: 2 hours}]}", 3, True, 8, 2),
        ("{any: [{overdue_by: 0 hours}, {unassigned_for: 2 hours}]}", 9, True, None, 2),
        ("{not: {overdue_by: 0 hours}}", 0, True, 8, None),
        ("{not: {overdue_by: 0 hours}}", 8, False, None, None),
        ("{all: [{due_within: 4 hours}, {not: {unassigned_for: 6 hours}}]}", 3, False, 4, None),
        ("{all: [{due_within: 4 hours}, {not: {unassigned_for: 6 hours}}]}", 5, True, 6, 4),
        ("{all: [{due_within: 4 hours}, {not: {unassigned_for: 6 hours}}]}", 7, False, None, None),
    ],
)
def test_when_it_began_and_when_it_could_change(
    when: str, now: float, holds: bool, next_change: float | None, since: float | None
) -> None:
    found = verdict(when, LATE, MONDAY + hours(now))
    expected = tuple(None if one is None else MONDAY + hours(one) for one in (next_change, since))
    assert (found.holds, found.next_change, found.since) == (holds, *expected)


def test_which_work_a_rule_is_about_is_not_repeated_in_why() -> None:
    found = verdict("{all: [{task: first-call}, {overdue_by: 0 hours}]}", LATE, DUE + hours(2))
    assert found.why == "First call is 2 h late: due Mon 9 Mar 2026 17:00, still to call"
    assert (found.facts["task"], found.facts["status"]) == ("first-call", "to-call")


def test_why_names_only_what_fails_and_each_reason_once() -> None:
    found = verdict(f"{{all: [{NO}, {{overdue_by: 0 hours}}, {NO}]}}", LATE, DUE)
    assert found.why == "the work is first-call, not visit"
    both = verdict(f"{{any: [{NO}, {{overdue_by: 0 hours}}]}}", LATE, MONDAY)
    assert both.why == (
        "the work is first-call, not visit; First call is due Mon 9 Mar 2026 17:00, late from Mon 9 Mar 2026 17:00"
    )


VISITS = (visit("a", "fulfilled", MONDAY), visit("b", "fulfilled", MONDAY + hours(1)))
FLAG = event("Flag/f", "active", MONDAY, codes=("risk",))
END = MONDAY + timedelta(days=9)


@pytest.mark.parametrize(
    ("when", "cases"),
    [
        ("{document_missing: note}", ["Appointment/a", "Appointment/b"]),
        ("{all: [{document_missing: note}, {flag: risk}]}", ["Appointment/a", "Appointment/b"]),
        ("{all: [{flag: risk}, {document_missing: note}]}", ["Appointment/a", "Appointment/b"]),
        ("{any: [{document_missing: note}, {flag: risk}]}", ["Appointment/a", "Appointment/b", ""]),
        ("{any: [{document_missing: note}, {document_missing: note}]}", ["Appointment/a", "Appointment/b"]),
        ("{all: [{document_missing: note}, {document_missing: summary}]}", ["Appointment/a", "Appointment/b"]),
        ("{any: [{document_missing: note}, {flag: gone}]}", ["Appointment/a", "Appointment/b"]),
        ("{not: {not: {document_missing: note}}}", [""]),
    ],
)
def test_each_happening_stays_a_case_of_its_own(when: str, cases: list[str]) -> None:
    found = judged(when, facts(plan_item(), events=(*VISITS, FLAG)), END, "plan")
    assert [one.occurrence for one in found] == cases
    assert all(one.holds for one in found)


def test_two_kinds_of_happening_make_a_case_of_each_pair() -> None:
    missed = visit("m", "noshow", MONDAY + hours(5))
    found = judged(
        "{all: [{document_missing: note}, {appointment_missed: visit}]}",
        facts(plan_item(), events=(*VISITS, missed)),
        END,
        "plan",
    )
    assert [one.occurrence for one in found] == ["Appointment/a Appointment/m", "Appointment/b Appointment/m"]


def test_one_item_has_no_more_cases_than_can_be_looked_at() -> None:
    many = tuple(visit(f"v{number:04}", "fulfilled", MONDAY + timedelta(minutes=number)) for number in range(150))
    found = judged(
        "{all: [{document_missing: note}, {flag: risk}]}", facts(plan_item(), events=(*many, FLAG)), END, "plan"
    )
    assert len(found) == MAX_OCCURRENCES
    assert found[0].occurrence == "Appointment/v0000"


@pytest.mark.parametrize(
    "when", ["{overdue_by: 0 hours}", YES, "{not: {overdue_by: 9 days}}", "{unassigned_for: 0 hours}"]
)
def test_closed_work_never_holds(when: str) -> None:
    found = verdict(when, facts(item(due_at=DUE, status="reached", open=False)), DUE + hours(50))
    assert (found.holds, found.why, found.facts, found.next_change) == (
        False,
        "the work is closed",
        {"status": "reached"},
        None,
    )


def test_a_tree_no_program_file_can_hold_is_a_fault() -> None:
    with pytest.raises(Fault):
        judge(program(), LATE, Condition(op="match"), DUE)


def test_every_predicate_says_what_it_takes_and_means() -> None:
    assert all(one.takes and one.says and one.subjects for one in PREDICATES.values())
    assert all(one.name == name for name, one in PREDICATES.items())


trees = st.recursive(
    st.sampled_from((YES, NO, "{overdue_by: 0 hours}", "{unassigned_for: 1 hour}")),
    lambda inner: st.lists(inner, min_size=1, max_size=3),
    max_leaves=6,
)


def spelled(tree: object, operators: tuple[str, str]) -> str:
    """Lists alternate between the two operators."""
    if isinstance(tree, str):
        return tree
    assert isinstance(tree, list)
    inner = ", ".join(spelled(one, operators[::-1]) for one in tree)
    return f"{{{operators[0]}: [{inner}]}}"


def denied(tree: object, operators: tuple[str, str]) -> str:
    """The same by De Morgan: every leaf denied, the operators exchanged."""
    if isinstance(tree, str):
        return f"{{not: {tree}}}"
    assert isinstance(tree, list)
    inner = ", ".join(denied(one, operators[::-1]) for one in tree)
    return f"{{{operators[1]}: [{inner}]}}"


@given(tree=trees, now=st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_de_morgan_holds_and_neither_side_promises_too_much(tree: object, now: int) -> None:
    moment = MONDAY + hours(now)
    one = verdict(f"{{not: {spelled(tree, ('all', 'any'))}}}", LATE, moment)
    other = verdict(denied(tree, ("all", "any")), LATE, moment)
    assert one.holds == other.holds
    until = max((at for at in (one.next_change, other.next_change) if at), default=moment + hours(40))
    later = max(moment, until - timedelta(seconds=1))
    assert one.holds == verdict(f"{{not: {spelled(tree, ('all', 'any'))}}}", LATE, later).holds
    assert with_rule(spelled(tree, ("all", "any"))).rules[0].subject == "task"
