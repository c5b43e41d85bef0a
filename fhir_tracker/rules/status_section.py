"""Reads `stages`, `statuses` and `transitions` of a program file: the status model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from fhir_tracker.model.moves import FIELDS
from fhir_tracker.model.program import Move, Stage, Status
from fhir_tracker.model.work import ClockState
from fhir_tracker.rules.draft import Draft, refuse_doubles, role_of, title_of
from fhir_tracker.rules.events import NAMES
from fhir_tracker.rules.source import Fields, Node, Table, Text, choice_of, fields, items_of

OPEN: Final = ("draft", "requested", "received", "accepted", "ready", "in-progress", "on-hold")
CLOSED: Final = ("completed", "failed", "cancelled", "rejected", "entered-in-error")
TASK_STATUSES: Final = (*OPEN, *CLOSED)
"""Task.status: https://hl7.org/fhir/R4/valueset-task-status.html"""
PLAN_STATUSES: Final = ("draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown")
NEEDS_REASON: Final = ("rejected", "cancelled", "on-hold", "failed")
CLOCKS: Final = ("running", "paused", "stopped")
DEFAULT_STAGES: Final = (
    Stage(code="enrolled", title="Enrolled", means="The plan is being worked", fhir="active"),
    Stage(
        code="completed", title="Completed", means="The program is over: its goals met or its time up", fhir="completed"
    ),
    Stage(code="withdrawn", title="Withdrawn", means="The patient left the program", fhir="revoked"),
)
DEFAULT_MOVES: Final[Mapping[str, tuple[str, ...]]] = {
    "draft": ("requested", "cancelled"),
    "requested": ("received", "accepted", "rejected", "ready", "in-progress", "cancelled", "completed", "failed"),
    "received": ("accepted", "rejected", "cancelled", "in-progress", "completed", "failed"),
    "accepted": ("ready", "in-progress", "cancelled", "completed", "failed"),
    "ready": ("in-progress", "cancelled", "on-hold"),
    "in-progress": ("on-hold", "ready", "completed", "failed", "cancelled"),
    "on-hold": ("ready", "in-progress", "completed", "failed", "cancelled"),
}
"""The R4 table for tasks outside programs; anything may also become entered-in-error."""


def read_stages(node: Node | None, draft: Draft) -> tuple[Stage, ...]:
    """The stages of a plan; absent gives enrolled, completed and withdrawn."""
    if node is None:
        return DEFAULT_STAGES
    stages = []
    for item in items_of(node, draft.problems):
        given = fields(item, draft.problems, ("code",), ("title", "means", "is"))
        if given is None:
            continue
        code = given.code("code")
        stages.append(
            Stage(
                code=code,
                title=given.text("title", title_of(code)),
                means=given.text("means"),
                fhir=given.choice("is", PLAN_STATUSES, "active"),
            )
        )
    if stages and stages[0].fhir not in ("active", "draft"):
        draft.problems.add(node.place, f'the first stage "{stages[0].code}" must be one in which a plan is active')
    refuse_doubles(node, draft)
    return tuple(stages) or DEFAULT_STAGES


def read_statuses(node: Node, draft: Draft) -> tuple[Status, ...]:
    """The task statuses; the first is where every task starts."""
    statuses = [status for item in items_of(node, draft.problems) if (status := _status(item, draft))]
    refuse_doubles(node, draft)
    if statuses and statuses[0].fhir not in OPEN:
        draft.problems.add(node.place, f'tasks start in the first status, and "{statuses[0].code}" is closed')
    if statuses and not any(status.fhir == "completed" for status in statuses):
        draft.problems.add(node.place, 'no status "is: completed": work could never be done')
    return tuple(statuses)


def read_moves(node: Node | None, statuses: tuple[Status, ...], draft: Draft) -> tuple[Move, ...]:
    """The allowed transitions, then the R4 ones into statuses that none names, and the way back out of holds."""
    moves = [move for item in items_of(node, draft.problems) if (move := _move(item, statuses, draft))]
    named = {move.to for move in moves}
    moves.extend(_resumptions(moves, statuses))
    for status in statuses[1:]:
        if status.code not in named:
            moves.extend(_default_moves(status, statuses, draft, node))
    return tuple(moves)


def check_reachable(
    node: Node, statuses: tuple[Status, ...], moves: tuple[Move, ...], also: set[str], draft: Draft
) -> None:
    """Note each status in which no task can ever be; `also` are statuses that rules and `done_by` set."""
    reached = {statuses[0].code, *also} if statuses else set()
    while more := {move.to for move in moves if reached.intersection(move.sources)} - reached:
        reached |= more
    left = {source for move in moves for source in move.sources}
    for item in items_of(node, draft.problems):
        code = item.entries.get("code") if isinstance(item, Table) else None
        status = next((one for one in statuses if isinstance(code, Text) and one.code == code.value), None)
        if status is None:
            continue
        if status.code not in reached:
            draft.problems.add(item.place, f'no task can ever reach the status "{status.code}": add a transition to it')
        if status.fhir in OPEN and status.code not in left:
            draft.problems.add(
                item.place, f'no task can ever leave the status "{status.code}": add a transition from it'
            )


def _status(node: Node, draft: Draft) -> Status | None:
    given = fields(node, draft.problems, ("code", "is", "means"), ("clock", "title", "hold"))
    if given is None:
        return None
    code, fhir = given.code("code"), given.choice("is", TASK_STATUSES, "")
    clock = given.choice("clock", CLOCKS, "paused" if fhir == "on-hold" else "stopped" if fhir in CLOSED else "running")
    if fhir in CLOSED and clock != "stopped":
        draft.problems.add(given.table.keys["clock"], f'a {fhir} task is closed: its clock is "stopped"')
    if fhir in OPEN and clock == "stopped":
        draft.problems.add(given.table.keys["clock"], f'a {fhir} task is open: its clock is "running" or "paused"')
    holds, event = _hold(given, draft)
    return Status(
        code=code,
        fhir=fhir,
        clock=cast(ClockState, clock),
        means=given.text("means"),
        title=given.text("title", title_of(code)),
        holds=holds,
        hold_event=event,
    )


def _hold(given: Fields, draft: Draft) -> tuple[bool, str]:
    node = given.node("hold")
    if node is None:
        return False, ""
    hold = fields(node, draft.problems, ("until",), ("or",))
    if hold is None:
        return False, ""
    event = hold.node("or")
    name = event_name(event, draft) if event else ""
    return hold.choice("until", ("required", "optional"), "required") == "required", name


def event_name(node: Node, draft: Draft) -> str:
    """A name of an event such as `document.arrived` or `document.CODE`; "" with a problem noted otherwise."""
    return choice_of(node, (*NAMES, *(f"document.{code}" for code in draft.documents)), draft.problems, "event")


def _move(node: Node, statuses: tuple[Status, ...], draft: Draft) -> Move | None:
    given = fields(node, draft.problems, ("from", "to"), ("by", "require"))
    target = given.node("to") if given else None
    if given is None or target is None or given.node("from") is None:
        return None
    to = draft.reference(target, "status", draft.statuses)
    sources = tuple(_source(text, draft) for text in given.texts("from"))
    if "any" in sources:
        sources = tuple(one.code for one in statuses if one.fhir in OPEN and one.code != to)
    if to and to in sources:
        draft.problems.add(target.place, f'a transition from "{to}" to itself changes nothing')
    status = next((one for one in statuses if one.code == to), None)
    if status is None or not all(sources):
        return None
    by = tuple(role_of(text, draft) for text in given.texts("by"))
    return Move(sources=sources, to=to, by=by, require=_required(given, status, draft))


def _required(given: Fields, status: Status, draft: Draft) -> tuple[str, ...]:
    if given.node("require") is None:
        names = ["reason"] if status.fhir in NEEDS_REASON else []
    else:
        names = [choice_of(text, FIELDS, draft.problems, "field") for text in given.texts("require")]
    if status.holds and "hold.until" not in names:
        names.append("hold.until")
    return tuple(name for name in names if name)


def _source(text: Text, draft: Draft) -> str:
    return "any" if text.value == "any" else draft.reference(text, "status", draft.statuses)


def _resumptions(moves: list[Move], statuses: tuple[Status, ...]) -> list[Move]:
    """From each hold that no transition leaves, back to where it was entered from."""
    left = {source for move in moves for source in move.sources}
    holds = {one.code for one in statuses if one.fhir == "on-hold" and one.code not in left}
    back = {(move.to, source): None for move in moves if move.to in holds for source in move.sources}
    return [Move(sources=(hold,), to=source) for hold, source in back]


def _default_moves(status: Status, statuses: tuple[Status, ...], draft: Draft, node: Node | None) -> list[Move]:
    sources = tuple(
        one.code
        for one in statuses
        if one.code != status.code and status.fhir in (*DEFAULT_MOVES.get(one.fhir, ()), _error_of(one))
    )
    if not sources:
        return []
    if node is not None:
        message = f'no transition leads to "{status.code}": anyone may enter it from {", ".join(sources)}'
        draft.problems.warn(node.place, message)
    require = (("reason",) if status.fhir in NEEDS_REASON else ()) + (("hold.until",) if status.holds else ())
    return [Move(sources=sources, to=status.code, require=require)]


def _error_of(status: Status) -> str:
    return "entered-in-error" if status.fhir in OPEN else ""
