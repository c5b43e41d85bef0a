"""The goals and actions of a program's PlanDefinition: what is to be done by whom, when, for which goal, after what else.

https://hl7.org/fhir/R4/plandefinition-definitions.html#PlanDefinition.action
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.program import Duration, GoalTemplate, Program, TaskTemplate
from fhir_tracker.model.vocabulary import ROLE_SYSTEM, activity_canonical

UNITS: Final = {"seconds": "s", "minutes": "min", "hours": "h", "days": "d", "weeks": "wk", "months": "mo"}
_UCUM: Final = "http://unitsofmeasure.org"


def goals(program: Program) -> list[Resource]:
    """The goals that every plan of the program has."""
    return [_goal(one) for one in program.goals]


def actions(program: Program) -> list[Resource]:
    """One action a kind of work, in the order of the file."""
    return [_action(program, task) for task in program.tasks]


def _goal(goal: GoalTemplate) -> Resource:
    due = _quantity(goal.within) if goal.within and not goal.within.working else None
    target: Resource = {}
    if goal.measure:
        system, _, code = goal.measure.rpartition("|")
        target["measure"] = {"coding": [{**({"system": system} if system else {}), "code": code}]}
    bounds = {"low": goal.at_least, "high": goal.at_most}
    detail = {name: _value(amount, goal.unit) for name, amount in bounds.items() if amount}
    if detail:
        target["detailRange"] = detail
    if due:
        target["due"] = due
    return {"id": goal.code, "description": {"text": goal.title}, **({"target": [target]} if target else {})}


def _value(amount: str, unit: str) -> Resource:
    coded = {"unit": unit, "system": _UCUM, "code": unit} if unit else {}
    return {"value": Decimal(amount), **coded}


def _action(program: Program, task: TaskTemplate) -> Resource:
    made_by = [rule for rule in program.rules if any(_makes(one.kind, one.value, task.code) for one in rule.do)]
    triggers = [{"type": "named-event", "name": rule.id} for rule in made_by]
    goal = next((one.code for one in program.goals if one.code == task.goal), None)
    before = [one for one in (task.starts.after if task.starts else ()) if program.task(one)]
    return {
        "id": task.code,
        "title": task.title,
        **({"description": task.what} if task.what else {}),
        "textEquivalent": _words(task, [rule.title for rule in made_by]),
        "priority": task.priority,
        **({"goalId": [goal]} if goal else {}),
        **({"trigger": triggers} if triggers else {}),
        **({"relatedAction": [{"actionId": one, "relationship": "after-end"} for one in before]} if before else {}),
        **_timing(task.every),
        "participant": [{"type": "practitioner", "role": concept(ROLE_SYSTEM, task.role)}],
        "definitionCanonical": activity_canonical(program.code, task.code, program.version),
    }


def _makes(kind: str, value: str, code: str) -> bool:
    return kind == "create_task" and value == code


def _timing(every: Duration | None) -> Mapping[str, Resource]:
    """How often recurring work comes; business days are in the words only, for FHIR has none."""
    if every is None or every.working or not every.amount:
        return {}
    repeat = {"frequency": 1, "period": every.amount, "periodUnit": UNITS[every.unit]}
    return {"timingTiming": {"repeat": repeat}}


def _words(task: TaskTemplate, made_by: list[str]) -> str:
    told = {"enrolment": "when the plan begins", "rule": "when a rule asks for it", "after": "after other work"}
    when = f"every {task.every}" if task.every else told.get(task.on, "")
    parts = [
        f"for {task.role}",
        f"{when}: {', '.join(made_by)}" if made_by else when,
        f"due {task.due.within} after {task.due.anchor}" if task.due else "",
        f"{task.outreach.attempts} attempts over {task.outreach.over}" if task.outreach else "",
    ]
    return ", ".join(part for part in parts if part)


def _quantity(duration: Duration) -> Resource:
    """A Duration in UCUM, whose codes of time are those of Timing."""
    return {
        "value": duration.amount,
        "unit": duration.unit,
        "system": _UCUM,
        "code": UNITS[duration.unit],
    }
