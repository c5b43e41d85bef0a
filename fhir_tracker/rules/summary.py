"""A program and its rules in plain words, for people who approve it without reading YAML."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_tracker.model.program import (
    Calendar,
    Condition,
    DoneBy,
    Ladder,
    Program,
    Rule,
    TaskTemplate,
)
from fhir_tracker.rules.action_words import describe_action
from fhir_tracker.rules.catalog import PREDICATES
from fhir_tracker.rules.durations import DAYS
from fhir_tracker.rules.form_section import form_words
from fhir_tracker.rules.match_words import describe_match
from fhir_tracker.rules.move_words import describe_move
from fhir_tracker.rules.outreach_section import policy_words
from fhir_tracker.rules.ownership_section import ownership_words
from fhir_tracker.rules.plan_words import goal_words, made_words, pause_words, serving_words, team_words
from fhir_tracker.rules.words import listed


def program_summary(program: Program) -> list[str]:
    """The whole program as lines of text, for `program show`."""
    return [
        f"{program.title} ({program.code}, version {program.version})",
        *([program.description] if program.description else []),
        f"Calendar: {_calendar(program.calendar)}",
        *_section("Sites", (_site(one) for one in program.calendar.sites.values())),
        *([f"Pauses: {pause_words(program.pauses)}"] if program.pauses else []),
        f"Comes in: {_eligible(program)}",
        *_section("Goals", (goal_words(one) for one in program.goals)),
        *([f"Care team: {team_words(program)}"] if program.team else []),
        f"Stages: {', '.join(f'{one.code} ({one.fhir})' for one in program.stages)}",
        *_section("Statuses", (f"{one.code} = {one.fhir}, clock {one.clock}: {one.means}" for one in program.statuses)),
        *_section("Transitions", (describe_move(one) for one in program.moves)),
        *_section("Transitions of plans", (describe_move(one) for one in program.stage_moves)),
        *([f"Ownership: {ownership_words(program.ownership)}"] if program.ownership.is_set else []),
        *([_completes(program)] if program.completes else []),
        *_section(
            "Reasons",
            (
                f"{one.code} ({listed(one.kinds, 'or') or 'anything'}): {one.means or one.title}"
                for one in program.reasons
            ),
        ),
        *_section("Tasks", (_task(one) for one in program.tasks)),
        *_section(
            "Documents",
            (f"{one.code}: {one.title}, within {one.within} after {one.after}" for one in program.documents),
        ),
        *([_intake(program)] if program.intake else []),
        *_section("Forms", (form_words(one) for one in program.forms)),
        *_section("Rules", (_rule(one) for one in program.rules)),
        *_section("Ladders", (_ladder(one) for one in program.ladders)),
        *([f"A new version needs: {needs}"] if (needs := _needs(program)) else []),
        *_section("Warnings", program.warnings),
    ]


def describe(condition: Condition) -> str:
    """A condition as a clause: `the task is first-call and it is overdue`."""
    if condition.op == "predicate":
        return PREDICATES[condition.name].describe(condition.args)
    if condition.match is not None:
        return describe_match(condition.match)
    if condition.op == "not":
        return f"not ({describe(condition.children[0])})"
    parts = [
        f"({describe(one)})" if one.op in ("all", "any") and len(one.children) > 1 else describe(one)
        for one in condition.children
    ]
    return listed(parts, "and" if condition.op == "all" else "or")


def _needs(program: Program) -> str:
    control = program.change_control
    return listed(["a second person's approval"] * control.approver + ["a reason"] * control.reason)


def _section(name: str, lines: Iterator[str] | tuple[str, ...]) -> list[str]:
    found = list(lines)
    return [f"{name}:", *(f"  {line}" for line in found)] if found else []


def _calendar(calendar: Calendar) -> str:
    spans = (
        f"{DAYS[day]} {' '.join(f'{opening:%H:%M}-{closing:%H:%M}' for opening, closing in hours)}"
        for day, hours in calendar.hours.items()
    )
    holidays = f"holidays {calendar.holidays}" if calendar.holidays else "no holidays"
    closed = f", closed {', '.join(map(str, calendar.closed))}" if calendar.closed else ""
    return f"{calendar.zone}, {', '.join(spans)}, {holidays}{closed}"


def _site(calendar: Calendar) -> str:
    places = f", for {listed(calendar.locations, 'or')}" if calendar.locations else ""
    return f"{calendar.site}: {_calendar(calendar)}{places}"


def _eligible(program: Program) -> str:
    if program.eligible is None:
        return "by hand only"
    since = f"from its {program.eligible.anchor} on"
    once = {"patient": "once a patient", "each": f"each anew, {since}", "event": since}[program.eligible.once]
    return f"{describe(program.eligible.condition)}; {once}"


def _intake(program: Program) -> str:
    if program.intake is None:
        return ""
    ways = listed([f"{status} leads to {stage}" for status, stage in program.intake.outcomes.items()])
    again = "again after a new event" if program.intake.again else "never again"
    return f"Intake: candidates wait in {program.intake.stage} for {program.intake.task}: {ways}; turned down, {again}"


def _completes(program: Program) -> str:
    if program.completes is None:
        return ""
    which = listed(program.completes.tasks) if program.completes.tasks else "all"
    return f"Completes: when {which} tasks are closed, the plan becomes {program.completes.stage}"


def _task(task: TaskTemplate) -> str:
    parts = [
        f"{task.code}: {task.title}, for {task.role}",
        made_words(task),
        f"due {task.due.within} after {task.due.anchor}" if task.due else "no due time",
        policy_words(task.outreach) if task.outreach else "",
        _done_by(task.done_by) if task.done_by else "",
        *serving_words(task),
    ]
    return ", ".join(part for part in parts if part)


def _done_by(done: DoneBy) -> str:
    return f"becomes {done.status} by {describe_match(done.match)}"


def _rule(rule: Rule) -> str:
    was = f" (was {listed(rule.was)})" if rule.was else ""
    return f"{rule.id}{was}: when {describe(rule.when)}: {listed([describe_action(one) for one in rule.do])}"


def _ladder(ladder: Ladder) -> str:
    levels = (
        f"{one.number} {one.to} {'after ' + str(one.after) if one.after else 'at once'}"
        + (f", answered by {listed(one.by, 'or')}" if one.by else "")
        for one in ladder.levels
    )
    return f"{ladder.code}: {'; '.join(levels)}; stops when {listed(ladder.stop_when, 'or')}"
