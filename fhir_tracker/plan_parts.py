"""What belongs to a plan besides its work: Goals and a CareTeam, made once and named by its CarePlan.

https://hl7.org/fhir/R4/goal.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fhir_tracker import care_team, provenance, records
from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at
from fhir_tracker.fhir.summary_text import with_text_in_step
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.plan import goals_of
from fhir_tracker.model.program import CANONICAL, GoalTemplate, Program
from fhir_tracker.model.vocabulary import GOAL_SYSTEM
from fhir_tracker.rules.calendar import add, local
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx

_UCUM = "http://unitsofmeasure.org"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Goals and a team about to be written, and the CarePlan's members that name them."""

    made: tuple[Resource, ...]
    named: Resource


def parts_of(program: Program, plan: Resource, patient: str, started: datetime, author: Author) -> Parts:
    """The goals and the care team that the plan lacks."""
    there = goals_of(plan)
    goals = [_goal(program, one, patient, started, author) for one in program.goals if one.code not in there]
    team = []
    if program.team and not objects_at(plan, "careTeam"):
        team = [care_team.new_team(program, records.fresh_id(author.at), patient)]
    named: Resource = {}
    if goals:
        named["goal"] = [*(plan.get("goal") or []), *(_named_goal(one) for one in goals)]
    if team:
        named["careTeam"] = [*(plan.get("careTeam") or []), {"reference": f"CareTeam/{team[0]['id']}"}]
    return Parts(made=(*goals, *team), named=named)


def equip(tx: Tx, program: Program, ref: str | None, patient: str | None, author: Author, why: Why) -> str | None:
    """Write the parts that a plan lacks; None when that was done, else why not."""
    stored = resources.find(tx, author.viewer, *ref.split("/")) if ref else None
    if stored is None or stored.deleted or patient is None:
        return "there is no plan any more"
    plan = records.resource_of(stored)
    parts = parts_of(program, plan, patient, author.at, author)
    if not parts.made:
        return "the plan has them already"
    made = [records.save(tx, one, author, why=why, fresh=True) for one in parts.made]
    made.append(records.save(tx, with_text_in_step(plan, plan | parts.named), author, why=why))
    provenance.record(tx, made, author, why, activity="CREATE")
    return None


def _named_goal(goal: Resource) -> Resource:
    return {
        "reference": f"Goal/{goal['id']}",
        "identifier": goal["identifier"][0],
        "display": goal["description"]["text"],
    }


def _goal(program: Program, goal: GoalTemplate, patient: str, started: datetime, author: Author) -> Resource:
    resource: Resource = {
        "resourceType": "Goal",
        "id": records.fresh_id(author.at),
        "meta": {"source": CANONICAL},
        "identifier": [{"system": GOAL_SYSTEM, "value": goal.code}],
        "lifecycleStatus": "active",
        "description": concept(f"{CANONICAL}/CodeSystem/{program.code}-goal", goal.code, goal.title, text=goal.title),
        "subject": {"reference": f"Patient/{patient}"},
        "startDate": local(program.calendar, started).date().isoformat(),
    }
    target = _target(program, goal, started)
    return resource | ({"target": [target]} if target else {})


def _target(program: Program, goal: GoalTemplate, started: datetime) -> Resource:
    target: Resource = {}
    if goal.measure:
        system, _, code = goal.measure.rpartition("|")
        target["measure"] = concept(system, code)
    if goal.at_least and goal.at_most:
        target["detailRange"] = {"low": _quantity(goal, goal.at_least), "high": _quantity(goal, goal.at_most)}
    elif goal.at_least or goal.at_most:
        comparator = ">=" if goal.at_least else "<="
        target["detailQuantity"] = _quantity(goal, goal.at_least or goal.at_most, comparator)
    if goal.within:
        due = add(program.calendar, started, goal.within)
        target["dueDate"] = local(program.calendar, due).date().isoformat()
    return target


def _quantity(goal: GoalTemplate, value: str, comparator: str = "") -> Resource:
    return {
        "value": Decimal(value),
        **({"comparator": comparator} if comparator else {}),
        **({"unit": goal.unit, "system": _UCUM, "code": goal.unit} if goal.unit else {}),
    }
