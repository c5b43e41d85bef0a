"""The programs shipped with the product: nothing in them is a dead end, and every rule, level and closing can happen."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import pytest

from fhir_tracker.model.effects import CreateTask, Escalate, SetStatus
from fhir_tracker.model.program import Duration, Match, Program
from fhir_tracker.model.viewer import ROLES
from fhir_tracker.model.work import Event, Firing
from fhir_tracker.rules.action_words import describe_action
from fhir_tracker.rules.calendar import add
from fhir_tracker.rules.closing import done_by
from fhir_tracker.rules.due import due_at
from fhir_tracker.rules.engine import evaluate
from fhir_tracker.rules.moves import allowed_moves
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.starters import starter_programs
from fhir_tracker.rules.summary import describe, program_summary
from tests.rules.samples import MONDAY, event, fired, hours
from tests.rules.satisfying import DAY, facts_of, satisfying, work

PROGRAMS: Final = {code: read_program(text) for code, text in starter_programs().items()}
TASKS: Final = [(code, task.code) for code, one in PROGRAMS.items() for task in one.tasks]
RULES: Final = [(code, rule.id) for code, one in PROGRAMS.items() for rule in one.rules]
NEVER = MONDAY + timedelta(days=4000)


def matching(match: Match, name: str, at: datetime) -> Event:
    """An event that fits."""
    detail = {"outcome": match.outcomes[0], "channel": "phone"} if match.outcomes else {}
    status = match.status[0] if match.status else "completed" if match.type == "Communication" else "current"
    return event(f"{match.type}/{name}", status, at, codes=match.codes[:1], detail=detail, about=("Task/t1",))


@pytest.mark.parametrize("code", PROGRAMS)
def test_it_is_read_without_a_warning_and_told_in_words(code: str) -> None:
    demo = PROGRAMS[code]
    assert (demo.code, demo.warnings) == (code, ())
    lines = program_summary(demo)
    assert lines[0] == f"{demo.title} ({code}, version 0)"
    text = "\n".join(lines)
    named = [*(one.code for one in demo.statuses), *(one.code for one in demo.tasks), *(one.id for one in demo.rules)]
    assert [name for name in named if name not in text] == []
    assert all(describe(rule.when) in text for rule in demo.rules)
    assert all(describe_action(action) in text for rule in demo.rules for action in rule.do)
    assert "None" not in text


@pytest.mark.parametrize("code", PROGRAMS)
def test_every_status_and_stage_says_what_it_means(code: str) -> None:
    demo = PROGRAMS[code]
    assert all(len(one.means) > 10 and one.title for one in demo.statuses)
    assert all(len(one.means) > 10 and one.title for one in demo.stages)
    assert all(task.what for task in demo.tasks)


@pytest.mark.parametrize(("code", "task"), TASKS)
def test_the_role_of_each_task_can_close_it_from_every_open_status(code: str, task: str) -> None:
    demo = PROGRAMS[code]
    template = demo.task(task)
    assert template is not None
    assert template.role in ROLES
    for status in (one for one in demo.statuses if one.clock != "stopped"):
        item = work(demo, template, status.code)
        targets = {move.to for move in allowed_moves(demo, item, frozenset({template.role}))}
        closed = {one.code for one in demo.statuses if one.clock == "stopped"}
        reachable = targets | {
            move.to
            for step in targets - closed
            for move in allowed_moves(demo, replace(item, status=step), frozenset({template.role}))
        }
        assert reachable & {one.code for one in demo.statuses if one.fhir == "completed"}, status.code


@pytest.mark.parametrize("code", PROGRAMS)
def test_every_status_can_be_reached_by_somebody(code: str) -> None:
    demo = PROGRAMS[code]
    reached = {task.initial for task in demo.tasks} | {task.done_by.status for task in demo.tasks if task.done_by}
    while True:
        more = {move.to for move in demo.moves if reached.intersection(move.sources)} - reached
        if not more:
            break
        reached |= more
    assert {one.code for one in demo.statuses} - reached == set()
    assert all(set(move.by) <= set(ROLES) for move in demo.moves)


@pytest.mark.parametrize(("code", "task"), TASKS)
def test_a_task_that_closes_itself_does_so_on_what_it_waits_for_and_on_nothing_else(code: str, task: str) -> None:
    demo = PROGRAMS[code]
    template = demo.task(task)
    assert template is not None
    if template.done_by is None:
        return
    item = work(demo, template)
    seen = matching(template.done_by.match, "good", MONDAY + hours(1))
    found = done_by(demo, facts_of(demo, item, [seen]))
    assert found is not None
    effect = found[0]
    assert isinstance(effect, SetStatus)
    assert (effect.status, effect.evidence) == (template.done_by.status, (seen.ref,))
    wrong = [
        replace(seen, ref=f"{seen.type}/w1", status="entered-in-error"),
        replace(seen, ref=f"{seen.type}/w2", start=MONDAY - 99 * DAY),
        replace(seen, ref="Basic/w3", type="Basic"),
        *([replace(seen, ref=f"{seen.type}/w4", codes=("urn:x|other",))] if template.done_by.match.codes else []),
        *([replace(seen, ref=f"{seen.type}/w5", detail={})] if template.done_by.match.outcomes else []),
    ]
    for one in wrong:
        assert done_by(demo, facts_of(demo, item, [one])) is None, one.ref


@pytest.mark.parametrize(("code", "rule_id"), RULES)
def test_every_rule_can_fire_and_climb_its_whole_ladder(code: str, rule_id: str) -> None:
    demo = PROGRAMS[code]
    rule = next(one for one in demo.rules if one.id == rule_id)
    known, now = satisfying(demo, rule)
    alone = replace(demo, rules=(rule,), tasks=tuple(replace(task, done_by=None) for task in demo.tasks))
    found = evaluate(alone, known, now)
    finding = next(one for one in found.findings if one.rule == rule_id)
    assert finding.verdict.holds, finding.verdict.why
    mine = [one for one in found.effects if one.key.rule == rule_id]
    assert len(mine) == len(rule.do)
    escalate = next((one for one in rule.do if one.kind == "escalate"), None)
    if escalate is None:
        return
    ladder = demo.ladder(escalate.value)
    assert ladder is not None
    rows: tuple[Firing, ...] = ()
    climbed: list[int] = []
    while True:
        levels = [one for one in evaluate(alone, replace(known, fired=rows), now).effects if isinstance(one, Escalate)]
        if not levels:
            break
        climbed.append(levels[0].level)
        assert levels[0].to_role in ROLES
        rows += (Firing(key=levels[0].key, fired_at=now, kind="escalate"),)
        now += 10 * DAY
    assert climbed == [level.number for level in ladder.levels]


@pytest.mark.parametrize("code", PROGRAMS)
def test_what_a_rule_makes_is_in_the_program_and_has_a_due_time(code: str) -> None:
    demo = PROGRAMS[code]
    made = {action.value for rule in demo.rules for action in rule.do if action.kind == "create_task"}
    by_rule = {task.code for task in demo.tasks if task.on == "rule"}
    assert made == by_rule
    for task in demo.tasks:
        assert due_at(demo, task, {"enrolment": MONDAY}, MONDAY) is not None or task.every is not None, task.code


@pytest.mark.parametrize("code", PROGRAMS)
def test_late_work_of_every_kind_is_escalated(code: str) -> None:
    demo = PROGRAMS[code]
    for task in demo.tasks:
        item = work(demo, task)
        item = replace(item, due_at=item.due_at or MONDAY)
        found = evaluate(demo, facts_of(demo, item), MONDAY + 400 * DAY)
        assert any(isinstance(one, Escalate) for one in found.effects), task.code


@pytest.mark.parametrize("code", PROGRAMS)
def test_its_durations_are_plausible(code: str) -> None:
    demo = PROGRAMS[code]
    for task in demo.tasks:
        if task.due:
            least = hours(1) if task.priority == "stat" else DAY / 4
            assert least <= _length(demo, task.due.within) <= 400 * DAY, task.code
        if task.every:
            assert 7 * DAY <= _length(demo, task.every) <= 400 * DAY
        if task.outreach:
            assert task.outreach.attempts <= 5
            assert _length(demo, task.outreach.over) >= DAY / 4
    for ladder in demo.ladders:
        assert 2 <= len(ladder.levels) <= 5
        assert all(_length(demo, one.after) >= hours(1) for one in ladder.levels if one.after)
        assert len({one.to for one in ladder.levels}) == len(ladder.levels), "each level goes to somebody else"


def _length(demo: Program, duration: Duration) -> timedelta:
    return add(demo.calendar, MONDAY, duration) - MONDAY


@pytest.mark.parametrize("code", PROGRAMS)
def test_a_new_plan_comes_to_rest_and_wants_nothing_twice(code: str) -> None:
    demo = PROGRAMS[code]
    item = replace(work(demo, demo.tasks[0]), ref="CarePlan/p1", kind="plan", status=demo.stages[0].code, code="")
    known = facts_of(demo, item)
    first = evaluate(demo, known, MONDAY)
    done = tuple(Firing(key=one.key, fired_at=MONDAY, kind=type(one).__name__) for one in first.effects)
    assert evaluate(demo, replace(known, fired=done), MONDAY).effects == ()
    assert {one.template for one in first.effects if isinstance(one, CreateTask)} <= {task.code for task in demo.tasks}
    assert fired(1, MONDAY).key not in {one.key for one in done}
