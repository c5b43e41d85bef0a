"""The way through a piece of work or a plan: where it was, where it stands, where it can end."""

from __future__ import annotations

from collections.abc import Sequence

from api.staff.names import status_title
from api.staff.shapes import Step
from fhir_tracker.model.program import Move, Program
from fhir_tracker.model.work import Transition, WorkItem

_MOST_PAST = 3


def steps_of(log: Sequence[Transition], item: WorkItem, program: Program | None, goal: Move | None) -> tuple[Step, ...]:
    """The last statuses before, the present one, and where the finishing move leads."""
    if item.kind in ("escalation", "outside"):
        return ()
    been = [row.before for row in log if row.what == "status" and row.before]
    past = [code for code in dict.fromkeys(been) if code != item.status][-_MOST_PAST:]
    steps = [Step(label=status_title(program, code), means=_means(program, code), past=True) for code in past]
    steps.append(Step(label=status_title(program, item.status), means=_means(program, item.status), now=True))
    if goal and item.open and goal.to != item.status:
        steps.append(Step(label=status_title(program, goal.to), means=_means(program, goal.to)))
    return tuple(steps)


def stages_of(item: WorkItem, program: Program | None) -> tuple[Step, ...]:
    """The stages of a plan in the program's order; ends it did not take are left out."""
    if program is None:
        return (Step(label=status_title(None, item.status), means="", now=True),)
    here = next((n for n, stage in enumerate(program.stages) if stage.code == item.status), 0)
    shown = [
        (n, stage)
        for n, stage in enumerate(program.stages)
        if n == here or stage.fhir in ("draft", "active", "on-hold") or (n > here and stage.fhir == "completed")
    ]
    return tuple(Step(label=stage.title, means=stage.means, now=n == here, past=n < here) for n, stage in shown)


def _means(program: Program | None, code: str) -> str:
    own = program.status(code) if program else None
    return own.means if own else ""
