"""Which status changes are allowed, to whom, and what they need; the same words for pages and API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fhir_tracker.errors import Incorrect, Issue, RuleBroken
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.model.moves import FIELDS, MoveRequest
from fhir_tracker.model.program import Move, Program
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules.status_section import DEFAULT_MOVES, NEEDS_REASON, OPEN, TASK_STATUSES
from fhir_tracker.rules.words import listed

PATHS: Final[Mapping[str, str]] = {
    "note": "Task.note",
    "reason": "Task.statusReason",
    "owner": "Task.owner",
    "due": "Task.restriction.period.end",
    "hold.until": "Task.extension",
    "outreach.outcome": "Communication.statusReason",
    "document": "Task.output",
    "output": "Task.output",
}
"""Where each required field lives in FHIR."""
MOMENTS: Final = ("due", "hold.until")


def check_move(
    program: Program, item: WorkItem, request: MoveRequest, *, roles: frozenset[str], given: Mapping[str, str]
) -> None:
    """Raise RuleBroken unless someone with `roles` may move the item as asked; staying where it is is always allowed.

    `given` holds fields the item already has, by the names of `model.moves.FIELDS`. The issues name the allowed next
    states, the roles that may, or one missing field each.
    """
    if request.to == item.status:
        return
    if program.status(request.to) is None:
        known = listed([one.code for one in program.statuses], "or")
        raise _broken(f'"{request.to}" is not a status of {program.title}; it has {known}.')
    ways = [move for move in program.moves if item.status in move.sources and move.to == request.to]
    if not ways:
        raise _broken(
            f"{_named(program, item.status)} cannot become {_named(program, request.to)}{_next(program, item)}"
        )
    open_ways = [move for move in ways if not move.by or roles.intersection(move.by)]
    if not open_ways:
        who = listed(sorted({role for move in ways for role in move.by}), "or")
        raise _broken(f"Only {who} may move this to {_named(program, request.to)}.")
    issues = min((_lacking(move, request, given) for move in open_ways), key=len)
    if issues:
        what = listed([issue.message.removesuffix(" is missing.") for issue in issues])
        raise RuleBroken(f"To move this to {_named(program, request.to)}: {what} must be given.", issues=issues)


def missing_fields(move: Move, given: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the fields that `move` requires and `given` lacks, in the order written."""
    return tuple(name for name in move.require if not given.get(name, "").strip())


def allowed_moves(program: Program, item: WorkItem, roles: frozenset[str]) -> tuple[Move, ...]:
    """The moves someone with `roles` may make from here, one for each next state (the one asking for least)."""
    best: dict[str, Move] = {}
    for move in program.moves:
        if item.status not in move.sources or move.to == item.status or (move.by and not roles.intersection(move.by)):
            continue
        if move.to not in best or len(move.require) < len(best[move.to].require):
            best[move.to] = move
    return tuple(best.values())


def default_moves(status: str) -> tuple[Move, ...]:
    """The moves of a task outside any program, by Task.status: https://hl7.org/fhir/R4/task.html#statemachine"""
    targets = DEFAULT_MOVES.get(status, ()) + (("entered-in-error",) if status in OPEN else ())
    return tuple(
        Move(sources=(status,), to=target, require=("reason",) if target in NEEDS_REASON else ()) for target in targets
    )


def check_default_move(before: str, after: str) -> None:
    """Raise RuleBroken unless the R4 table lets Task.status `before` become `after`; anything may be entered in error."""
    if before == after or after == "entered-in-error":
        return
    if after not in TASK_STATUSES:
        raise _broken(f'"{after}" is not a Task.status; use {listed(TASK_STATUSES, "or")}.')
    targets = DEFAULT_MOVES.get(before, ())
    if after not in targets:
        states = f"allowed next: {listed(targets, 'or')}" if targets else "nothing may follow"
        raise _broken(f"{before} cannot become {after}; {states}.")


def _lacking(move: Move, request: MoveRequest, given: Mapping[str, str]) -> tuple[Issue, ...]:
    fields = {**given, **{name: text for name, text in request.fields.items() if text.strip()}}
    issues = [
        Issue(message=f"{FIELDS.get(name, name)} is missing.", code="required", expression=PATHS.get(name, "Task"))
        for name in missing_fields(move, fields)
    ]
    for name in MOMENTS:
        if request.fields.get(name, "").strip() and not _is_moment(request.fields[name]):
            text = f"{FIELDS[name]} must be a moment such as 2026-03-09T17:00:00-05:00."
            issues.append(Issue(message=text, code="value", expression=PATHS[name]))
    return tuple(issues)


def _is_moment(text: str) -> bool:
    try:
        parse_datetime(text.strip())
    except Incorrect:
        return False
    return True


def _next(program: Program, item: WorkItem) -> str:
    targets = dict.fromkeys(move.to for move in program.moves if item.status in move.sources)
    return f"; allowed next: {listed(list(targets), 'or')}." if targets else "; nothing may follow."


def _named(program: Program, code: str) -> str:
    status = program.status(code)
    return f'"{status.title}" ({code})' if status else f'"{code}"'


def _broken(message: str) -> RuleBroken:
    return RuleBroken(message, expression="Task.businessStatus")
