"""A PlanDefinition made into a CarePlan for one subject: its goals, its requests and the structure of its actions.

https://hl7.org/fhir/R4/plandefinition.html#12.18.3.4
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fhir_tracker.errors import RuleBroken
from fhir_tracker.fhir.apply.contained import moved_up, with_contained
from fhir_tracker.fhir.apply.dynamic_values import with_dynamic_values
from fhir_tracker.fhir.apply.periods import in_order, period_of, related_period
from fhir_tracker.fhir.apply.requests import apply_activity, with_performers, with_period
from fhir_tracker.fhir.apply.situation import Situation, canonical_of
from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.definitions.registry import elements
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.narrative import narrative
from fhir_tracker.fhir.outcome import operation_outcome
from fhir_tracker.fhir.reading import at, objects_at, text_at

CATEGORY = concept("http://hl7.org/fhir/us/core/CodeSystem/careplan-category", "assess-plan")
MOST_ACTIONS = 500
DEEPEST = 8
_KEPT = (
    "id prefix title description textEquivalent priority code documentation type groupingBehavior selectionBehavior "
    "requiredBehavior precheckBehavior cardinalityBehavior timingDateTime timingAge timingPeriod timingDuration "
    "timingRange timingTiming"
).split()


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What a PlanDefinition gives: goals and requests have ids that `plan` and `group` refer to as `#id`."""

    plan: Resource
    group: Resource | None
    requests: tuple[Resource, ...]
    goals: tuple[Resource, ...]


@dataclass
class _Making:
    situation: Situation
    requests: dict[str, Resource] = field(default_factory=dict)
    goals: list[Resource] = field(default_factory=list)
    acted: dict[str, Resource] = field(default_factory=dict)
    made_by: dict[str, str] = field(default_factory=dict)
    actions: int = 0


def apply_plan(definition: Resource, situation: Situation) -> Applied:
    """Apply every action whose conditions hold; what could not be done is in the situation's notes.

    Raises RuleBroken for a subject of another kind than a plan can have, and for more actions or a deeper nesting than
    are followed.
    """
    if situation.subject["resourceType"] not in ("Patient", "Group"):
        raise RuleBroken("A plan is made for a Patient or a Group.", expression="Parameters.parameter")
    making = _Making(situation)
    actions = list(_definition(definition, making, 1))
    _settle_times(making)
    requests = tuple(making.requests.values())
    group = _group(definition, actions, situation) if actions else None
    plan = _care_plan(definition, situation, requests, making.goals, group)
    return Applied(plan=plan, group=group, requests=requests, goals=tuple(making.goals))


def contained(applied: Applied, situation: Situation) -> Resource:
    """One CarePlan that holds everything else, the notes as an OperationOutcome among it."""
    parts = [*applied.goals, *([applied.group] if applied.group else [])]
    for request in applied.requests:
        alone, inner = moved_up(request, str(request["id"]))
        parts += [alone, *inner]
    plan = dict(applied.plan)
    if situation.notes:
        parts.append(operation_outcome(situation.notes) | {"id": "outcome"})
        plan["supportingInfo"] = [{"reference": "#outcome"}]
    return plan | {"contained": parts} if parts else plan


def _definition(definition: Resource, making: _Making, depth: int) -> Iterator[Resource]:
    if depth > DEEPEST:
        raise RuleBroken(f"PlanDefinitions are nested deeper than {DEEPEST}.")
    for goal in objects_at(definition, "goal"):
        making.goals.append(_goal(goal, len(making.goals) + 1, making.situation))
    for action in objects_at(definition, "action"):
        yield from _action(action, definition, making, depth)


def _action(action: Resource, definition: Resource, making: _Making, depth: int) -> Iterator[Resource]:
    """The RequestGroup.action of an action that applies."""
    making.actions += 1
    if making.actions > MOST_ACTIONS:
        raise RuleBroken(f"The plan has more than {MOST_ACTIONS} actions.")
    if not _applies(action, making.situation):
        return
    made: Resource = {name: action[name] for name in _KEPT if name in action}
    conditions = [{**_part(one, "kind"), **_part(one, "expression")} for one in objects_at(action, "condition")]
    if conditions:
        made["condition"] = conditions
    inner = [made_ for child in objects_at(action, "action") for made_ in _action(child, definition, making, depth)]
    target = _target(action, definition, making.situation)
    if target is not None and target["resourceType"] == "PlanDefinition":
        inner += _definition(target, making, depth + 1)
        target = None
        has_request = False
    else:
        has_request = target is not None or _names_definition(action) or not objects_at(action, "action")
    if has_request:
        id_ = _request(action, target, making)
        making.acted[id_] = action
        if text_at(action, "id"):
            making.made_by[str(action["id"])] = id_
        resource = {"reference": f"#{id_}"}
        if not inner:
            yield made | {"resource": resource}
            return
        inner.insert(0, {"resource": resource})
    if inner:
        yield made | {"action": inner}


def _applies(action: Resource, situation: Situation) -> bool:
    """False only when a condition of applicability was worked out and does not hold."""
    for condition in objects_at(action, "condition"):
        if text_at(condition, "kind") == "applicability" and "expression" in condition:
            values = situation.values(condition["expression"])
            if values is not None and values[:1] != [True]:
                return False
    return True


def _names_definition(action: Resource) -> bool:
    return bool(text_at(action, "definitionCanonical") or text_at(action, "definitionUri"))


def _target(action: Resource, definition: Resource, situation: Situation) -> Resource | None:
    canonical = text_at(action, "definitionCanonical")
    if canonical is None:
        return None
    if canonical.startswith("#"):
        around = objects_at(definition, "contained")
        inside = [one for one in around if text_at(one, "id") == canonical[1:]]
        found = inside[0] | {"contained": list(around)} if inside else None
    else:
        found = situation.find(canonical)
    if found is None:
        situation.note("A definition that an action names is not known here; the action became a Task.", "not-found")
    return found


def _request(action: Resource, target: Resource | None, making: _Making) -> str:
    """Make the request of an action, overridden by what the action itself says; its id among the contained."""
    situation = making.situation
    resource = _of_target(action, target, situation)
    known = elements(str(resource["resourceType"]))
    for name, types in (("description", ("string",)), ("priority", ("code",))):
        if name in action and name in known and known[name].types == types:
            resource = resource | {name: action[name]}
    resource = with_performers(resource, at(action, "participant"), situation)
    period = period_of(action, situation.now, text_at(situation.subject, "birthDate"))
    resource = with_dynamic_values(with_period(resource, period) if period else resource, action, situation)
    id_ = f"request-{len(making.requests) + 1}"
    making.requests[id_] = {"resourceType": resource["resourceType"], "id": id_} | resource
    return id_


def _of_target(action: Resource, target: Resource | None, situation: Situation) -> Resource:
    if target is not None and target["resourceType"] == "ActivityDefinition":
        try:
            return apply_activity(target, situation)
        except RuleBroken as error:
            situation.note(error.message)
    return _plain_task(action, target, situation)


def _plain_task(action: Resource, target: Resource | None, situation: Situation) -> Resource:
    """A Task for a person: the action's own words, with the form or definition it names."""
    name = text_at(action, "title") or text_at(action, "description") or text_at(target, "title") or "Plan action"
    task = apply_activity({"kind": "Task", "code": {"text": name}}, situation)
    named = text_at(action, "definitionCanonical") or ""
    canonical = named if named.startswith("#") else canonical_of(target or {}) or named
    if target is not None and target["resourceType"] == "Questionnaire":
        form = task | {"input": [{"type": {"text": "Questionnaire"}, "valueCanonical": canonical}]}
        return with_contained(form, target) if canonical.startswith("#") else form
    if ":" in canonical:
        return task | {"instantiatesCanonical": canonical}
    return task | ({"instantiatesUri": action["definitionUri"]} if "definitionUri" in action else {})


def _settle_times(making: _Making) -> None:
    """Give each request the time that its relation to other actions says."""
    by_id = {name: making.acted[id_] for name, id_ in making.made_by.items()}
    by_id |= {id_: action for id_, action in making.acted.items() if not text_at(action, "id")}
    periods: dict[str, Resource] = {}
    for name in in_order(by_id):
        action, id_ = by_id[name], making.made_by.get(name, name)
        own = period_of(action, making.situation.now, text_at(making.situation.subject, "birthDate"))
        for related in objects_at(action, "relatedAction"):
            found = related_period(related, periods.get(str(related.get("actionId"))), making.situation.now)
            own = {**(own or {}), **(found or {})} or None
        if own:
            periods[name] = own
            making.requests[id_] = with_period(making.requests[id_], own)


def _goal(goal: Resource, number: int, situation: Situation) -> Resource:
    resource: Resource = {
        "resourceType": "Goal",
        "id": f"goal-{number}",
        "lifecycleStatus": "proposed",
        **({"category": [goal["category"]]} if "category" in goal else {}),
        **_part(goal, "priority"),
        "description": goal.get("description") or {"text": "Goal"},
        "subject": {"reference": situation.subject_ref},
        **({"startCodeableConcept": goal["start"]} if "start" in goal else {}),
    }
    targets = []
    for target in objects_at(goal, "target"):
        detail = {name: value for name, value in target.items() if name.startswith("detail")}
        due = {"dueDuration": target["due"]} if "due" in target else {}
        if "measure" in target or due:
            targets.append({**_part(target, "measure"), **(detail if "measure" in target else {}), **due})
    return resource | ({"target": targets} if targets else {})


def _group(definition: Resource, actions: list[Resource], situation: Situation) -> Resource:
    canonical = canonical_of(definition)
    known = set(_ids(actions))
    return {
        "resourceType": "RequestGroup",
        "id": "request-group",
        **({"instantiatesCanonical": [canonical]} if canonical else {}),
        "status": "draft",
        "intent": situation.intent,
        "subject": {"reference": situation.subject_ref},
        **({"encounter": {"reference": situation.encounter}} if situation.encounter else {}),
        "authoredOn": situation.stamp,
        **({"author": {"reference": situation.practitioner}} if situation.practitioner else {}),
        "action": [_related(one, definition, known) for one in actions],
    }


def _related(made: Resource, definition: Resource, known: set[str]) -> Resource:
    """With the relations to those actions that are there too."""
    own = {text_at(one, "id"): one for one in _walk(definition)}.get(text_at(made, "id")) if "id" in made else None
    kept = [one for one in objects_at(own, "relatedAction") if text_at(one, "actionId") in known]
    inner = [_related(one, definition, known) for one in objects_at(made, "action")]
    return made | ({"relatedAction": kept} if kept else {}) | ({"action": inner} if inner else {})


def _walk(holder: Resource) -> Iterator[Resource]:
    for action in objects_at(holder, "action"):
        yield action
        yield from _walk(action)


def _ids(actions: list[Resource]) -> Iterator[str]:
    for action in actions:
        if "id" in action:
            yield str(action["id"])
        yield from _ids(list(objects_at(action, "action")))


def _care_plan(
    definition: Resource,
    situation: Situation,
    requests: tuple[Resource, ...],
    goals: list[Resource],
    group: Resource | None,
) -> Resource:
    canonical, title = canonical_of(definition), text_at(definition, "title") or text_at(definition, "name") or ""
    author = situation.practitioner or situation.organization
    words = [("Goal", text_at(one, "description", "text") or "") for one in goals]
    words += [("Work", text_at(one, "code", "text") or text_at(one, "description") or "") for one in requests]
    return {
        "resourceType": "CarePlan",
        "text": narrative("CarePlan", title, [row for row in words if row[1]]),
        **({"instantiatesCanonical": [canonical]} if canonical else {}),
        "status": "draft",
        "intent": situation.intent,
        "category": [CATEGORY],
        **({"title": title} if title else {}),
        **_part(definition, "description"),
        "subject": {"reference": situation.subject_ref},
        **({"encounter": {"reference": situation.encounter}} if situation.encounter else {}),
        "created": situation.stamp,
        **({"author": {"reference": author}} if author else {}),
        **({"goal": [{"reference": f"#{one['id']}"} for one in goals]} if goals else {}),
        **({"activity": [{"reference": {"reference": "#request-group"}}]} if group else {}),
    }


def _part(holder: Resource, name: str) -> Resource:
    return {name: holder[name]} if name in holder else {}
