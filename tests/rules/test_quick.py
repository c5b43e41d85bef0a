"""A sweep asks only the rules that can concern the work, and asks them quickly: the answers are those of all of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program
from fhir_tracker.rules.conditions import judge
from fhir_tracker.rules.engine import evaluate, look
from fhir_tracker.rules.quick import compiled, concerning
from tests.rules.samples import MONDAY, facts, item, plan_item, program
from tests.rules.situations import LEAVES, asking, conditions, moments, situations

NOW: Final = MONDAY + timedelta(days=5)
CODES: Final = ("first-call", "visit", "rebook", "touch", "of-an-older-version", "*", "", None)
LATE: Final = "overdue_by: 0 hours"
ABOUT: Final[dict[str, set[str | None]]] = {
    "{task: visit}": {"visit"},
    "{task: [visit, rebook]}": {"visit", "rebook"},
    f"{{all: [{{task: visit}}, {{{LATE}}}]}}": {"visit"},
    f"{{all: [{{{LATE}}}, {{all: [{{priority: urgent}}, {{task: [visit, touch]}}]}}]}}": {"visit", "touch"},
    "{all: [{task: [visit, rebook]}, {task: [rebook, touch]}]}": {"rebook"},
    "{all: [{task: visit}, {task: rebook}]}": set(),
    "{any: [{task: visit}, {task: rebook}]}": {"visit", "rebook"},
    f"{{any: [{{all: [{{task: visit}}, {{{LATE}}}]}}, {{task: touch}}]}}": {"visit", "touch"},
    f"{{any: [{{task: visit}}, {{{LATE}}}]}}": set(CODES),
    "{not: {task: visit}}": set(CODES),
    f"{{all: [{{not: {{task: visit}}}}, {{{LATE}}}]}}": set(CODES),
    "{all: [{not: {task: visit}}, {task: [visit, rebook]}]}": {"visit", "rebook"},
    "{not: {not: {task: visit}}}": set(CODES),
    f"{{{LATE}}}": set(CODES),
}
MANY: Final = "\n".join(
    f"  - {{id: r{number}, subject: task, when: {when}, do: {{raise_flag: f{number}}}}}"
    for number, when in enumerate(ABOUT)
)
"""Each of them as a rule of one program."""


def asked(demo: Program, known: Facts) -> list[str]:
    return [one.rule.id for one in concerning(demo, known.item)]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("when", ABOUT)
def test_a_rule_is_asked_about_the_work_it_names_and_about_no_other(when: str, code: str | None) -> None:
    known = facts(item(code=code, due_at=MONDAY))
    assert asked(asking(when), known) == (["r"] if code in ABOUT[when] else [])


@pytest.mark.parametrize("code", CODES)
def test_among_many_rules_those_for_one_kind_of_work_are_found_by_id(code: str | None) -> None:
    demo, known = program(MANY), facts(item(code=code, due_at=MONDAY))
    wanted = sorted(f"r{number}" for number, codes in enumerate(ABOUT.values()) if code in codes)
    assert asked(demo, known) == wanted
    assert look(demo, known, NOW).effects == evaluate(demo, known, NOW).effects
    holding = [one.rule for one in evaluate(demo, known, NOW).findings if one.verdict.holds]
    assert [one.rule for one in look(demo, known, NOW).findings if one.verdict.holds] == holding


def test_rules_about_plans_are_asked_of_plans_and_rules_about_tasks_of_tasks() -> None:
    demo = program(
        "  - {id: of-plans, subject: plan, when: {stage: enrolled}, do: {raise_flag: a}}\n"
        "  - {id: of-tasks, subject: task, when: {stage: enrolled}, do: {raise_flag: b}}\n"
    )
    assert asked(demo, facts(item())) == ["of-tasks"]
    assert asked(demo, facts(plan_item())) == ["of-plans"]
    assert asked(program(), facts(item())) == []
    assert compiled(program(), "plan") == ()


@given(known=situations(), when=conditions, now=moments, code=st.sampled_from(CODES))
@settings(max_examples=120, deadline=None)
def test_a_rule_that_is_not_asked_does_not_hold_and_no_time_makes_it_hold(
    known: Facts, when: str, now: datetime, code: str | None
) -> None:
    demo = asking(when)
    known = replace(known, item=known.item.having(code=code))
    if asked(demo, known):
        return
    for moment in (now, now + timedelta(days=1), now + timedelta(days=400)):
        answers = judge(demo, known, demo.rules[0].when, moment)
        assert [(one.holds, one.next_change) for one in answers] == [(False, None)]


@pytest.mark.parametrize("name", sorted(LEAVES))
@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_whatever_the_program_a_look_wants_what_the_evaluation_of_all_rules_wants(
    name: str, data: st.DataObject
) -> None:
    known, now = data.draw(situations(about=name)), data.draw(moments)
    of_visits = f"{{all: [{{task: visit}}, {{{name}: {data.draw(LEAVES[name])}}}]}}"
    demo = asking(f"{{any: [{of_visits}, {{all: [{{task: rebook}}, {{priority: urgent}}]}}]}}")
    whole, brief = evaluate(demo, known, now), look(demo, known, now)
    assert brief.effects == whole.effects
    until = brief.next_at or now + timedelta(days=90)
    for share in data.draw(st.lists(st.floats(0, 1), min_size=2, max_size=2)):
        moment = min(now + (until - now) * share, until - timedelta(microseconds=1))
        assert held(demo, known, moment) == held(demo, known, now)


def held(demo: Program, known: Facts, now: datetime) -> list[bool]:
    return [one.verdict.holds for one in evaluate(demo, known, now).findings]


def test_a_program_value_made_from_another_is_compiled_for_itself() -> None:
    demo = asking("{task: visit}")
    known = facts(item(code="visit", due_at=MONDAY))
    assert asked(demo, known) == ["r"]
    assert asked(replace(demo, rules=()), known) == []
    assert asked(replace(demo, rules=asking("{task: rebook}").rules), known) == []
    assert asked(demo, known) == ["r"]
