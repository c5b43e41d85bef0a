"""Reads `stages` and `statuses` of a program file: the status model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from fhir_tracker.model.program import Move, Stage, Status
from fhir_tracker.model.work import ClockState
from fhir_tracker.rules.draft import Draft, refuse_doubles, title_of
from fhir_tracker.rules.events import NAMES
from fhir_tracker.rules.source import Fields, Node, Table, Text, choice_of, fields, items_of

OPEN: Final = ("draft", "requested", "received", "accepted", "ready", "in-progress", "on-hold")
CLOSED: Final = ("completed", "failed", "cancelled", "rejected", "entered-in-error")
TASK_STATUSES: Final = (*OPEN, *CLOSED)
"""Task.status: https://hl7.org/fhir/R4/valueset-task-status.html"""
PLAN_STATUSES: Final = ("draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown")
NEEDS_REASON: Final = ("rejected", "cancelled", "on-hold", "failed")
CLOCKS: Final = ("running", "paused", "stopped")
MOST_STATUSES: Final = 200
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
ESCALATION_MOVES: Final[Mapping[str, tuple[str, ...]]] = {
    **DEFAULT_MOVES,
    "accepted": (*DEFAULT_MOVES["accepted"], "rejected"),
    "in-progress": (*DEFAULT_MOVES["in-progress"], "rejected"),
}
"""The same for escalations, which can be sent back also by who has acknowledged them or taken them over."""


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
    if len(items_of(node, draft.problems)) > MOST_STATUSES:
        draft.problems.add(node.place, f"more than {MOST_STATUSES} statuses")
        return ()
    statuses = [status for item in items_of(node, draft.problems) if (status := _status(item, draft))]
    refuse_doubles(node, draft)
    if statuses and statuses[0].fhir not in OPEN:
        draft.problems.add(node.place, f'tasks start in the first status, and "{statuses[0].code}" is closed')
    if statuses and not any(status.fhir == "completed" for status in statuses):
        draft.problems.add(node.place, 'no status "is: completed": work could never be done')
    return tuple(statuses)


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
