"""Which status changes are allowed, to whom, and what they need; the same words for pages and API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from fhir_tracker.errors import Incorrect, Issue, RuleBroken
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.model.moves import FIELDS, TASK_FIELD, MoveRequest
from fhir_tracker.model.program import Move, Program, Reason
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules.calendar import add
from fhir_tracker.rules.move_words import field_words, next_issue, status_words
from fhir_tracker.rules.occasions import kind_of
from fhir_tracker.rules.parties import BOTH, who_may_set
from fhir_tracker.rules.reasons import offered, wrong_code
from fhir_tracker.rules.status_section import DEFAULT_MOVES, NEEDS_REASON, OPEN, TASK_STATUSES
from fhir_tracker.rules.words import listed

PATHS: Final[Mapping[str, str]] = {
    "note": "Task.note",
    "reason": "Task.statusReason",
    "reason.code": "Task.statusReason",
    "owner": "Task.owner",
    "due": "Task.restriction.period.end",
    "hold.until": "Task.extension",
    "outreach.outcome": "Communication.statusReason",
    "attempt": "Communication.sent",
    "document": "Task.output",
    "output": "Task.output",
}
"""Where each required field lives in FHIR."""
MOMENTS: Final = ("due", "hold.until")
Table = Mapping[str, tuple[str, ...]]
"""Task.status -> what may follow."""


def check_move(
    program: Program,
    item: WorkItem,
    request: MoveRequest,
    *,
    roles: frozenset[str],
    given: Mapping[str, str],
    parties: frozenset[str] = BOTH,
    now: datetime | None = None,
) -> None:
    """Raise RuleBroken unless someone with `roles`, who is `parties` to the task, may move it as asked.

    `given` holds fields the item already has, by the names of `model.moves.FIELDS`; staying where it is is always
    allowed. The issues name the allowed next states, who may, or one missing field each, and what is possible instead.
    """
    if request.to == item.status:
        return
    instead = _instead(program, item, roles, parties)
    if program.status(request.to) is None:
        known = listed([one.code for one in program.statuses], "or")
        raise _broken(f'"{request.to}" is not a status of {program.title}; it has {known}.', instead)
    ways = [move for move in program.moves if item.status in move.sources and move.to == request.to]
    if not ways:
        before = status_words(program, item.status)
        raise _broken(f"{before} cannot become {status_words(program, request.to)}{_next(program, item)}", instead)
    open_ways = [move for move in ways if may(move, roles, parties)]
    if not open_ways:
        raise _broken(f"Only {_who(ways)} may move this to {status_words(program, request.to)}.", instead)
    reasons = reasons_for(program, item, request.to)
    issues = min((_lacking(move, item, request, given, reasons, program, now) for move in open_ways), key=len)
    if issues:
        raise RuleBroken(_told(status_words(program, request.to), issues), issues=(*issues, *instead))


def may(move: Move, roles: frozenset[str], parties: frozenset[str]) -> bool:
    """Whether somebody of these roles, who is `parties` to the task, may make the move."""
    return (not move.by or bool(roles.intersection(move.by))) and (
        not move.parties or bool(parties.intersection(move.parties))
    )


def reasons_for(program: Program | None, item: WorkItem, to: str) -> tuple[Reason, ...]:
    """The coded reasons offered for moving the item to a status of its program."""
    status = program.status(to) if program else None
    return offered(program, kind_of({item.fhir_status}, status.fhir if status else to))


def missing_fields(move: Move, given: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the fields that `move` requires and `given` lacks, in the order written."""
    return tuple(name for name in move.require if not given.get(name, "").strip())


def has_attempt(move: Move, item: WorkItem, program: Program, now: datetime | None) -> bool:
    """Whether the patient was tried, as lately as the move wants it."""
    if move.attempt_within is None or item.last_attempt_at is None or now is None:
        return move.attempt_within is None and item.last_attempt_at is not None
    return add(program.calendar, item.last_attempt_at, move.attempt_within) >= now


def allowed_moves(
    program: Program, item: WorkItem, roles: frozenset[str], parties: frozenset[str] = BOTH
) -> tuple[Move, ...]:
    """The moves someone with `roles` may make from here, one for each next state (the one asking for least)."""
    best: dict[str, Move] = {}
    for move in program.moves:
        if item.status not in move.sources or move.to == item.status or not may(move, roles, parties):
            continue
        if move.to not in best or len(move.require) < len(best[move.to].require):
            best[move.to] = move
    return tuple(best.values())


def default_moves(
    status: str, parties: frozenset[str] = BOTH, previous: str | None = None, table: Table = DEFAULT_MOVES
) -> tuple[Move, ...]:
    """The moves of a task outside any program, by Task.status; `previous` is where a hold was entered from.

    https://hl7.org/fhir/R4/task.html#statemachine
    """
    targets = _targets(status, previous, table) + (("entered-in-error",) if status in OPEN else ())
    return tuple(
        Move(sources=(status,), to=target, require=("reason",) if target in NEEDS_REASON else ())
        for target in targets
        if who_may_set(target) & parties
    )


def check_default_move(
    before: str,
    after: str,
    parties: frozenset[str] = BOTH,
    previous: str | None = None,
    table: Table = DEFAULT_MOVES,
) -> None:
    """Raise RuleBroken unless the R4 table lets Task.status `before` become `after`, by this party.

    Anything may be entered in error.
    """
    if before == after:
        return
    if after not in TASK_STATUSES:
        raise _broken(f'"{after}" is not a Task.status; use {listed(TASK_STATUSES, "or")}.')
    targets = _targets(before, previous, table)
    moves = default_moves(before, parties, previous, table)
    instead = next_issue(moves, [move.to for move in moves])
    if after not in targets and after != "entered-in-error":
        states = f"allowed next: {listed(targets, 'or')}" if targets else "nothing may follow"
        raise _broken(f"{before} cannot become {after}; {states}.", instead)
    if not who_may_set(after) & parties:
        raise _broken(f"Only the {listed(sorted(who_may_set(after)), 'or')} may move this to {after}.", instead)


def lacking_reason(to: str, reasons: tuple[Reason, ...], fields: Mapping[str, str]) -> None:
    """Raise RuleBroken where a reason is missing, or a coded one is not among those that are offered."""
    issues = [] if fields.get("reason", "").strip() else [_missing("reason", None, reasons)]
    issues += wrong_code(reasons, fields, PATHS["reason.code"])
    if issues:
        raise RuleBroken(_told(to, issues), issues=tuple(issues))


def _lacking(
    move: Move,
    item: WorkItem,
    request: MoveRequest,
    given: Mapping[str, str],
    reasons: tuple[Reason, ...],
    program: Program,
    now: datetime | None,
) -> tuple[Issue, ...]:
    fields = {**given, **{name: text for name, text in request.fields.items() if text.strip()}}
    if "outreach.outcome" in request.fields or has_attempt(move, item, program, now):
        fields.setdefault("attempt", "present")
    issues = [_missing(name, move, reasons) for name in missing_fields(move, fields)]
    for name in MOMENTS:
        if request.fields.get(name, "").strip() and not _is_moment(request.fields[name]):
            text = f"{FIELDS[name]} must be a moment such as 2026-03-09T17:00:00-05:00."
            issues.append(Issue(message=text, code="value", expression=PATHS[name]))
    return (*issues, *wrong_code(reasons, fields, PATHS["reason.code"]))


def _missing(name: str, move: Move | None, reasons: tuple[Reason, ...]) -> Issue:
    what = field_words(name, move)
    if name == "reason.code" and reasons:
        what = f"{what} ({', '.join(one.code for one in reasons)})"
    path = f"Task.{name.removeprefix(TASK_FIELD)}" if name.startswith(TASK_FIELD) else PATHS.get(name, "Task")
    return Issue(message=f"{what} is missing.", code="required", expression=path)


def _told(to: str, issues: tuple[Issue, ...] | list[Issue]) -> str:
    missing = [one.message.removesuffix(" is missing.") for one in issues if one.message.endswith(" is missing.")]
    wrong = [one.message for one in issues if not one.message.endswith(" is missing.")]
    must = f"To move this to {to}: {listed(missing)} must be given." if missing else f"This cannot move to {to}."
    return " ".join([must, *wrong])


def _is_moment(text: str) -> bool:
    try:
        parse_datetime(text.strip())
    except Incorrect:
        return False
    return True


def _targets(status: str, previous: str | None, table: Table) -> tuple[str, ...]:
    """Where the R4 table leads; out of a hold also back to where it was entered from."""
    back = (previous,) if status == "on-hold" and previous in OPEN and previous != status else ()
    return tuple(dict.fromkeys((*(one for one in back if one), *table.get(status, ()))))


def _next(program: Program, item: WorkItem) -> str:
    targets = dict.fromkeys(move.to for move in program.moves if item.status in move.sources)
    return f"; allowed next: {listed(list(targets), 'or')}." if targets else "; nothing may follow."


def _who(ways: list[Move]) -> str:
    """The roles that may, else the parties: `rn`, `the owner`, `rn as owner`."""
    told = []
    for move in ways:
        roles, parties = listed(move.by, "or"), listed(move.parties, "or")
        told.append(f"{roles} as {parties}" if roles and parties else roles or f"the {parties}")
    if all(not move.parties for move in ways):
        return listed(sorted({role for move in ways for role in move.by}), "or")
    return listed(list(dict.fromkeys(told)), "or")


def _instead(program: Program, item: WorkItem, roles: frozenset[str], parties: frozenset[str]) -> tuple[Issue, ...]:
    moves = allowed_moves(program, item, roles, parties)
    return next_issue(moves, [status_words(program, move.to) for move in moves])


def _broken(message: str, instead: tuple[Issue, ...] = ()) -> RuleBroken:
    path = "Task.businessStatus"
    return RuleBroken(message, issues=(Issue(message=message, code="business-rule", expression=path), *instead))
