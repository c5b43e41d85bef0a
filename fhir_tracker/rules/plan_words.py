"""What a program says of every plan and of when its work starts, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_tracker.model.program import GoalTemplate, Program, TaskTemplate
from fhir_tracker.rules.sla import PAUSES
from fhir_tracker.rules.words import listed


def pause_words(kinds: tuple[str, ...]) -> str:
    """What pauses clocks besides statuses: `clocks pause while the patient is in hospital`."""
    said = listed([PAUSES[kind] for kind in kinds])
    return f"clocks pause {said}" if said else "only a status pauses the clock"


def goal_words(goal: GoalTemplate) -> str:
    """One goal: `hba1c: HbA1c under control, at most 8 % (http://loinc.org|4548-4), within 90 days`."""
    bounds = [
        f"{word} {value} {goal.unit}".strip()
        for word, value in (("at least", goal.at_least), ("at most", goal.at_most))
        if value
    ]
    measure = f"({goal.measure})" if goal.measure else ""
    value = " ".join(part for part in (listed(bounds), measure) if part)
    parts = [f"{goal.code}: {goal.title}", value, f"within {goal.within}" if goal.within else ""]
    return ", ".join(part for part in parts if part)


def team_words(program: Program) -> str:
    """The roles of the care team: `Nurse (rn, primary), Coordinator (care-coordinator)`."""
    return ", ".join(f"{one.title} ({one.role}{', primary' if one.primary else ''})" for one in program.team)


def made_words(task: TaskTemplate) -> str:
    """When a task is made; "" for one that is made with the plan."""
    if task.every:
        where = " on the patient's clock" if task.zone == "patient" else ""
        ahead = f", made {task.horizon} ahead" if task.horizon else ""
        return f"every {task.every}{where}{ahead}"
    if task.starts:
        states = f"is {listed(task.starts.statuses, 'or')}" if task.starts.statuses else "is completed"
        which = f"each of {listed(task.starts.after)}" if len(task.starts.after) > 1 else task.starts.after[0]
        return f"once {which} {states}"
    return "" if task.on == "enrolment" else "when a rule asks for it"


def serving_words(task: TaskTemplate) -> Iterator[str]:
    """Whose it is, what it serves and what pauses it, as far as the task says so itself."""
    if task.owner:
        yield "owned by the primary of the care team" if task.owner == "primary" else f"owned by the team's {task.role}"
    if task.goal:
        yield f"for the goal {task.goal}"
    if task.part_of:
        yield f"part of {task.part_of}"
    if task.pauses is not None:
        yield pause_words(task.pauses)
