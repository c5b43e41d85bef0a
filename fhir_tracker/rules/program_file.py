"""Reads one YAML program file into a Program, or says everything that is wrong with it, with line and column."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Final, Literal, cast

from fhir_tracker.errors import Fault
from fhir_tracker.model.program import Action, Calendar, Condition, Duration, Eligibility, Program, TaskTemplate
from fhir_tracker.rules.calendar_section import read_calendar, weekly_hours
from fhir_tracker.rules.candidates import read_intake
from fhir_tracker.rules.control_section import read_change_control
from fhir_tracker.rules.draft import Draft, codes_in, title_of
from fhir_tracker.rules.form_section import read_forms
from fhir_tracker.rules.matches import read_match
from fhir_tracker.rules.move_section import read_completion, read_moves, read_reasons, read_stage_moves
from fhir_tracker.rules.outreach_section import default_outreach
from fhir_tracker.rules.ownership_section import read_ownership
from fhir_tracker.rules.plan_section import read_goals, read_pauses, read_team
from fhir_tracker.rules.renaming import renamed_from
from fhir_tracker.rules.rule_section import leaves, read_condition, read_ladders, read_rules
from fhir_tracker.rules.source import Fields, Node, Place, Problems, Table, Text, TooManyProblems, fields, load
from fhir_tracker.rules.status_section import DEFAULT_STAGES, check_reachable, read_stages, read_statuses
from fhir_tracker.rules.task_section import implied_tasks, read_documents, read_services, read_tasks

REQUIRED: Final = ("program", "statuses", "tasks")
OPTIONAL: Final = (
    "title",
    "description",
    "calendar",
    "eligible",
    "services",
    "stages",
    "stage_transitions",
    "reasons",
    "transitions",
    "completes",
    "ownership",
    "documents",
    "outreach",
    "forms",
    "intake",
    "pauses",
    "goals",
    "team",
    "rules",
    "ladders",
    "change_control",
)
SETS_STATUS: Final = ("set_status", "hold", "close_tasks")
ENDED: Final = ("revoked", "completed", "entered-in-error")
"""The CarePlan.status values of a plan that is over."""
_MOST_WEEKS: Final = 52 * 5


def read_program(text: str, *, name: str = "program") -> Program:
    """The program a YAML file describes, version 0; `name` is what errors call the file.

    Raises Incorrect with one issue for each problem found: `line L, column C: ...` and a path such as `tasks[1].due`.
    """
    return _read(text, name)


@lru_cache(maxsize=64)
def _read(text: str, name: str) -> Program:
    """Publishing reads one text several times, and a program is a value: the last ones read right are remembered."""
    problems = Problems()
    program = None
    with suppress(TooManyProblems):
        root = load(text, problems)
        given = fields(root, problems, REQUIRED, OPTIONAL) if root else None
        program = _program(given, problems) if given else None
    problems.check(name)
    if program is None:
        raise Fault("a program file was read without a problem and without a program")
    return replace(program, warnings=tuple(problems.warnings))


def _program(given: Fields, problems: Problems) -> Program | None:
    statuses_node, tasks_node = given.node("statuses"), given.node("tasks")
    if statuses_node is None or tasks_node is None:
        return None
    draft = _draft(given, problems)
    calendar = read_calendar(given.node("calendar"), draft)
    eligible = _eligible(given.node("eligible"), draft)
    stages = read_stages(given.node("stages"), draft)
    statuses = read_statuses(statuses_node, draft)
    draft.paused = tuple(one.code for one in statuses if one.clock == "paused")
    draft.closing = tuple(one.code for one in statuses if one.clock == "stopped")
    draft.ending = tuple(one.code for one in stages if one.fhir in ENDED)
    draft.reasons = read_reasons(given.node("reasons"), draft)
    moves = read_moves(given.node("transitions"), statuses, draft)
    stage_moves = read_stage_moves(given.node("stage_transitions"), stages, draft)
    draft.outreach = default_outreach(given.node("outreach"), draft)
    forms = read_forms(given.node("forms"), draft)
    documents = read_documents(given.node("documents"), draft)
    tasks = read_tasks(tasks_node, statuses, documents, draft)
    rules = read_rules(given.node("rules"), draft)
    ladders = read_ladders(given.node("ladders"), draft)
    code = given.code("program")
    program = Program(
        code=code,
        title=given.text("title", title_of(code)),
        description=given.text("description"),
        calendar=calendar,
        services=draft.services,
        eligible=eligible,
        stages=stages,
        statuses=statuses,
        moves=moves,
        tasks=tasks + implied_tasks(draft, tasks, statuses),
        documents=documents,
        rules=rules,
        ladders=ladders,
        reasons=draft.reasons,
        forms=forms,
        stage_moves=stage_moves,
    )
    program = _with_plans(program, given, draft)
    check_reachable(statuses_node, statuses, moves, _set_by_itself(program), draft)
    _check_intake(program, given)
    _check_working_time(program, given)
    return program


def _with_plans(program: Program, given: Fields, draft: Draft) -> Program:
    """The program with what it says of its plans, its people and its own versions."""
    return replace(
        program,
        pauses=read_pauses(given.node("pauses"), draft),
        goals=read_goals(given.node("goals"), draft),
        team=read_team(given.node("team"), draft),
        intake=read_intake(given.node("intake"), {one.code: one.fhir for one in program.stages}, draft),
        ownership=read_ownership(given.node("ownership"), draft),
        completes=read_completion(given.node("completes"), program.stages, draft),
        change_control=read_change_control(given.node("change_control"), draft),
        renamed=renamed_from(program.rules, ()),
    )


def _check_intake(program: Program, given: Fields) -> None:
    """The intake's task is made with a candidate, and no task is without an intake."""
    node, task_node = given.node("intake"), given.node("tasks")
    wanted = [task.code for task in program.tasks if task.on == "intake"]
    if program.intake and node and program.intake.task not in wanted:
        given.problems.add(node.place, f'the task "{program.intake.task}" must be made with "on: intake"')
    if wanted and program.intake is None and node is None and task_node:
        given.problems.add(task_node.place, f'"{wanted[0]}" is made on intake, and the program has no intake')


def _draft(given: Fields, problems: Problems) -> Draft:
    stages = given.node("stages")
    ladders = given.node("ladders")
    draft = Draft(
        problems=problems,
        statuses=codes_in(given.node("statuses")),
        stages=codes_in(stages) if stages else tuple(one.code for one in DEFAULT_STAGES),
        tasks=codes_in(given.node("tasks")),
        documents=codes_in(given.node("documents")),
        ladders=tuple(ladders.entries) if isinstance(ladders, Table) else (),
        goals=codes_in(given.node("goals")),
        has_team=given.node("team") is not None,
        rules=codes_in(given.node("rules"), "id"),
        roles=tuple(one.removeprefix("role/") for one in codes_in(given.node("tasks"), "role")),
    )
    named = given.node("program")
    draft.program = named.value if isinstance(named, Text) else ""
    draft.services = read_services(given.node("services"), draft)
    anchor = _anchor(given.node("eligible"))
    draft.anchors = tuple(dict.fromkeys(("enrolment", anchor)))
    return draft


def _anchor(node: Node | None) -> str:
    """The name of the matched event's end: as given, else `discharge` when an Encounter can bring the patient in."""
    if not isinstance(node, Table):
        return "enrolment"
    named = node.entries.get("anchor")
    if isinstance(named, Text):
        return named.value
    return "discharge" if "Encounter" in _keys(node) else "enrolment"


def _keys(node: Node) -> Iterator[str]:
    if isinstance(node, Table):
        yield from node.entries
        for child in node.entries.values():
            yield from _keys(child)
    elif not isinstance(node, Text):
        for child in node.items:
            yield from _keys(child)


def _eligible(node: Node | None, draft: Draft) -> Eligibility | None:
    if node is None:
        return None
    if not isinstance(node, Table):
        draft.problems.add(node.place, "must be one test, or all:, any: or not: with tests under it")
        return None
    entries = {name: inner for name, inner in node.entries.items() if name not in ("anchor", "once")}
    rest = Table(place=node.place, entries=entries, keys=node.keys)
    condition = read_condition(rest, draft, _match)
    given = Fields(table=node, problems=draft.problems)
    anchor = given.code("anchor") or _anchor(node)
    once = given.choice("once", ("event", "each", "patient"), "event")
    if condition is None:
        return None
    if not _brings_in(condition):
        draft.problems.add(node.place, "only says who stays out: name at least one thing that brings a patient in")
    return Eligibility(condition=condition, anchor=anchor, once=cast('Literal["event", "each", "patient"]', once))


def _brings_in(condition: Condition) -> bool:
    return condition.op != "not" and (condition.op == "match" or any(_brings_in(one) for one in condition.children))


def _match(kind: str, place: Place, node: Node, draft: Draft) -> Condition | None:
    match = read_match(kind, place, node, draft)
    return Condition(op="match", match=match) if match else None


def _set_by_itself(program: Program) -> set[str]:
    by_rules = {action.value for action in _actions(program) if action.kind in SETS_STATUS}
    by_tasks = {task.done_by.status for task in program.tasks if task.done_by}
    return by_rules | by_tasks | {task.initial for task in program.tasks}


def _actions(program: Program) -> Iterator[Action]:
    """What rules and transitions do."""
    yield from (action for rule in program.rules for action in rule.do)
    yield from (action for move in (*program.moves, *program.stage_moves) for action in move.do)


def _check_working_time(program: Program, given: Fields) -> None:
    """Refuse a calendar so sparse that some duration of working time would take more than five years."""
    for calendar in (program.calendar, *program.calendar.sites.values()):
        _check_hours(calendar, program, given)


def _check_hours(calendar: Calendar, program: Program, given: Fields) -> None:
    weekly = weekly_hours(calendar)
    days = sum(1 for spans in calendar.hours.values() if spans)
    node = given.node("calendar")
    if node is None or not weekly:
        return
    for duration in _durations(program):
        if not duration.working:
            continue
        seconds = {"seconds": 1, "minutes": 60, "hours": 3600}.get(duration.unit, 0)
        weeks = duration.amount / days if not seconds else timedelta(seconds=duration.amount * seconds) / weekly
        if weeks > _MOST_WEEKS:
            where = f" in {calendar.site}" if calendar.site else ""
            given.problems.add(node.place, f"{duration} would take {weeks:.0f} weeks with so few hours{where}")


def _durations(program: Program) -> Iterator[Duration]:
    for task in program.tasks:
        yield from _task_durations(task)
    yield from (document.within for document in program.documents)
    yield from (level.after for ladder in program.ladders for level in ladder.levels if level.after)
    yield from (action.within for action in _actions(program) if action.within)
    yield from (move.attempt_within for move in program.moves if move.attempt_within)
    for rule in program.rules:
        for leaf in leaves(rule.when):
            yield from (value for value in leaf.args.values() if isinstance(value, Duration))


def _task_durations(task: TaskTemplate) -> Iterator[Duration]:
    found = (task.due.within if task.due else None, task.every, task.outreach.over if task.outreach else None)
    yield from (one for one in found if one)
