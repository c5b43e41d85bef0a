"""A program and its rules in plain words, for people who approve it without reading YAML."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_tracker.model.program import (
    Action,
    Calendar,
    Condition,
    DoneBy,
    Ladder,
    Match,
    Move,
    Program,
    TaskTemplate,
)
from fhir_tracker.rules.action_words import describe_action
from fhir_tracker.rules.catalog import PREDICATES
from fhir_tracker.rules.durations import DAYS
from fhir_tracker.rules.words import listed


def program_summary(program: Program) -> list[str]:
    """The whole program as lines of text, for `program show`."""
    return [
        f"{program.title} ({program.code}, version {program.version})",
        *([program.description] if program.description else []),
        f"Calendar: {_calendar(program.calendar)}",
        f"Comes in: {_eligible(program)}",
        f"Stages: {', '.join(f'{one.code} ({one.fhir})' for one in program.stages)}",
        *_section("Statuses", (f"{one.code} = {one.fhir}, clock {one.clock}: {one.means}" for one in program.statuses)),
        *_section("Transitions", (_move(one) for one in program.moves)),
        *_section("Tasks", (_task(one) for one in program.tasks)),
        *_section(
            "Documents",
            (f"{one.code}: {one.title}, within {one.within} after {one.after}" for one in program.documents),
        ),
        *_section("Rules", (_rule(one.id, one.when, one.do) for one in program.rules)),
        *_section("Ladders", (_ladder(one) for one in program.ladders)),
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


def describe_match(match: Match) -> str:
    """A test on one resource: `Encounter finished with code IMP within 30 days`."""
    codes = [code.rpartition("|")[2] for code in match.codes]
    shown = listed(codes[:4], "or") + (f" or {len(codes) - 4} more" if len(codes) > 4 else "")
    words = [
        f"at least {match.count} different" if match.count > 1 else "",
        match.type,
        listed(match.status, "or"),
        listed(match.outcomes, "or"),
        f"with code {shown}" if codes else "",
        f"within {match.within}" if match.within else "",
    ]
    return " ".join(word for word in words if word)


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


def _eligible(program: Program) -> str:
    if program.eligible is None:
        return "by hand only"
    since = f"from its {program.eligible.anchor} on"
    once = {"patient": "once a patient", "each": f"each anew, {since}", "event": since}[program.eligible.once]
    return f"{describe(program.eligible.condition)}; {once}"


def _move(move: Move) -> str:
    by = listed(move.by, "or") if move.by else "anyone"
    needs = f", with {listed(move.require)}" if move.require else ""
    return f"{listed(move.sources, 'or')} -> {move.to} by {by}{needs}"


def _task(task: TaskTemplate) -> str:
    parts = [
        f"{task.code}: {task.title}, for {task.role}",
        f"every {task.every}" if task.every else "" if task.on == "enrolment" else "when a rule asks for it",
        f"due {task.due.within} after {task.due.anchor}" if task.due else "no due time",
        f"{task.outreach.attempts} attempts over {task.outreach.over}" if task.outreach else "",
        _done_by(task.done_by) if task.done_by else "",
    ]
    return ", ".join(part for part in parts if part)


def _done_by(done: DoneBy) -> str:
    return f"becomes {done.status} by {describe_match(done.match)}"


def _rule(rule_id: str, when: Condition, do: tuple[Action, ...]) -> str:
    return f"{rule_id}: when {describe(when)}: {listed([describe_action(one) for one in do])}"


def _ladder(ladder: Ladder) -> str:
    levels = (f"{one.number} {one.to} {'after ' + str(one.after) if one.after else 'at once'}" for one in ladder.levels)
    return f"{ladder.code}: {'; '.join(levels)}; stops when {listed(ladder.stop_when, 'or')}"
