"""The moves there are for a task or a plan, each with what it needs, what is missing and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fhir_tracker import plan_moves, transitions
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.program import Move, Program, Reason
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.rules.move_words import field_words
from fhir_tracker.rules.moves import has_attempt, missing_fields
from fhir_tracker.rules.stage_moves import stage_reasons
from fhir_tracker.storage.database import Tx
from fhir_tracker.transitions import OpenTask


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One move: `to` is the program's own code, `fhir` the status it maps to, `require` names of fields, `missing` the
    words for those that are not there yet, `reasons` the coded ones to choose from.
    """

    to: str
    fhir: str
    title: str
    means: str = ""
    require: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    reason_system: str = ""


def of_task(tx: Tx, viewer: Viewer, ref: str, now: datetime) -> tuple[tuple[Offer, ...], str | None]:
    """The moves that the viewer may make with a Task, and whose it is; raises NotFound or Gone."""
    task = transitions.find_task(tx, viewer, ref)
    return tuple(_of_task(task, move, now) for move in transitions.options_of(task, viewer)), task.item.patient


def of_plan(tx: Tx, viewer: Viewer, ref: str) -> tuple[tuple[Offer, ...], str | None]:
    """The moves that the viewer may make with a plan, and whose it is; raises NotFound or Gone."""
    plan = plan_moves.find_plan(tx, viewer, ref)
    moves = plan_moves.options(tx, viewer, ref)
    return tuple(_of_plan(plan, move) for move in moves), plan.item.patient


def missing_of(task: OpenTask, move: Move, now: datetime) -> tuple[str, ...]:
    """The names of the fields that a move of the task requires and that are not there yet."""
    known = transitions.given(task, MoveRequest(to=move.to), task.resource)
    if task.program and has_attempt(move, task.item, task.program, now):
        known["attempt"] = "present"
    return missing_fields(move, known)


def _of_task(task: OpenTask, move: Move, now: datetime) -> Offer:
    status = task.program.status(move.to) if task.program else None
    return Offer(
        to=move.to,
        fhir=status.fhir if status else move.to,
        title=status.title if status else move.to.replace("-", " ").capitalize(),
        means=status.means if status else "",
        require=move.require,
        missing=tuple(field_words(name, move) for name in missing_of(task, move, now)),
        reasons=task.reasons(move.to),
        reason_system=_system(task.program or task.about),
    )


def _of_plan(plan: plan_moves.OpenPlan, move: Move) -> Offer:
    stage = plan.program.stage(move.to)
    return Offer(
        to=move.to,
        fhir=stage.fhir if stage else "",
        title=stage.title if stage else move.to,
        means=stage.means if stage else "",
        require=move.require,
        missing=tuple(field_words(name, move) for name in move.require),
        reasons=stage_reasons(plan.program, plan.item, move.to),
        reason_system=_system(plan.program),
    )


def _system(program: Program | None) -> str:
    return program.reason_system if program else ""
