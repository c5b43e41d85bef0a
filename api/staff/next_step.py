"""Which one step helps this work on: the button of a row, and the first button of a task page."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from api.staff.shapes import Action
from fhir_tracker.model.program import Move, Program
from fhir_tracker.model.work import WorkItem

_ANSWERS = {
    "requested": ("Acknowledge", "acknowledge"),
    "received": ("Acknowledge", "acknowledge"),
    "accepted": ("Take over", "take-over"),
    "in-progress": ("Resolve", "resolve"),
}


def page_of(item: WorkItem) -> str:
    """The page of a task."""
    return f"/tasks/{item.ref.partition('/')[2]}"


def next_step(item: WorkItem, who: str, program: Program | None, moves: Sequence[Move], version: int | None) -> Action:
    """The most useful step: answer an escalation, claim what nobody has, log an attempt, move on; else just look."""
    page = page_of(item)
    look = Action(label="Open", href=page, primary=False)
    if not item.open or item.kind in ("outside", "plan"):
        return look
    if item.kind == "escalation" and not moves:
        return look
    if item.kind == "escalation":
        label, path = _ANSWERS.get(item.fhir_status, ("Resolve", "resolve"))
        return Action(label=label, href=f"{page}/{path}", post=True, version=version)
    if item.owner is None:
        return Action(label="Claim", href=f"{page}/claim", post=True, version=version)
    if item.owner != who:
        return look
    if item.clock == "running" and is_outreach(item, program):
        return Action(label="Log attempt", href=f"{page}?do=attempt")
    best = forward(program, moves)
    return Action(label=f"Move to {move_label(program, best)}", href=f"{page}?move={quote(best.to)}") if best else look


def is_outreach(item: WorkItem, program: Program | None) -> bool:
    """Whether the work is to reach the patient: its template says so, or its moves ask for an outcome."""
    template = program.task(item.code) if program else None
    return template is not None and template.outreach is not None


def forward(program: Program | None, moves: Sequence[Move]) -> Move | None:
    """The move that finishes the work, else the first there is."""
    done = [move for move in moves if fhir_status(program, move.to) == "completed"]
    return next(iter(done or moves), None)


def hold_move(program: Program | None, moves: Sequence[Move]) -> Move | None:
    """The first move that pauses the clock."""
    if program is None:
        return next((move for move in moves if move.to == "on-hold"), None)
    return next((move for move in moves if (own := program.status(move.to)) and own.clock == "paused"), None)


def fhir_status(program: Program | None, code: str) -> str:
    """The FHIR status that a status maps to."""
    own = program.status(code) if program else None
    return own.fhir if own else code


def move_label(program: Program | None, move: Move) -> str:
    """`Done`, `To do`: the name of where a move leads."""
    own = program.status(move.to) if program else None
    return own.title if own else move.to.replace("-", " ").capitalize()


def move_means(program: Program | None, move: Move) -> str:
    """The definition of where a move leads."""
    own = program.status(move.to) if program else None
    return own.means if own else ""
