"""PlanDefinitions and ActivityDefinitions applied: own small ones word by word, those of others for validity.

https://hl7.org/fhir/R4/plandefinition-operation-apply.html
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.errors import RuleBroken, TrackerError
from fhir_tracker.fhir.apply.contained import local_ids
from fhir_tracker.fhir.apply.periods import after, in_order, period_of, related_period
from fhir_tracker.fhir.apply.plan import DEEPEST, MOST_ACTIONS, apply_plan, contained
from fhir_tracker.fhir.apply.requests import KINDS, apply_activity
from fhir_tracker.fhir.apply.situation import Situation
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.json_types import Json, Resource
from tests.fhir.definitions import NOW, PATIENT, by_address, copied, definitions, situation

ALL = definitions()
HELD = by_address(ALL)
PLANS = sorted(name for name, one in ALL.items() if one["resourceType"] == "PlanDefinition")
ACTIVITIES = sorted(name for name, one in ALL.items() if one["resourceType"] == "ActivityDefinition")
BASE: Resource = {
    "resourceType": "PlanDefinition",
    "url": "https://example.org/plan",
    "version": "3",
    "status": "active",
}


def fhirpath(text: str) -> Resource:
    return {"language": "text/fhirpath", "expression": text}


def plan(*actions: Resource, **more: Json) -> Resource:
    return {**BASE, "title": "A plan", "action": list(actions), **more}


def made(definition: Resource, at: Situation | None = None) -> list[Resource]:
    return list(apply_plan(definition, at or situation(HELD)).requests)


def errors(resource: Resource) -> list[str]:
    return [one.message for one in check(resource) if one.severity in ("error", "fatal")]


@pytest.mark.requirement(135)
@pytest.mark.parametrize("name", PLANS)
def test_a_plan_of_others_gives_a_care_plan_that_is_as_valid_as_itself(name: str) -> None:
    at = situation(HELD, practitioner="Practitioner/synthetic")
    given_ = ALL[name]
    result = contained(apply_plan(given_, at), at)
    assert result["resourceType"] == "CarePlan"
    assert result["subject"] == {"reference": "Patient/synthetic"}
    assert result["text"]["status"] == "generated"
    if not errors(given_) and "order-set" not in name:
        assert errors(result) == []
    ids = {str(one["id"]) for one in result.get("contained", [])}
    named = {id_ for one in [result, *result["contained"]] for id_ in local_ids(one)}
    assert ids <= named, "a contained resource that nothing refers to"


@pytest.mark.requirement(135)
@pytest.mark.parametrize("name", ACTIVITIES)
def test_an_activity_of_others_gives_a_request_of_its_kind(name: str) -> None:
    at = situation(HELD)
    definition = ALL[name]
    result = apply_activity(definition, at)
    assert result["resourceType"] == definition.get("kind", "Task")
    if not name.startswith("order-set"):
        assert errors(result) == []


@pytest.mark.requirement(135)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_made_from_the_least_definition_is_valid(kind: str) -> None:
    least = {"resourceType": "ActivityDefinition", "status": "active", "kind": kind}
    assert errors(apply_activity(least, situation())) == []
    full = least | {
        "url": "https://example.org/a",
        "version": "1",
        "title": "Something to do",
        "description": "In detail",
        "code": {"text": "Do it"},
        "priority": "urgent",
        "doNotPerform": False,
        "timingPeriod": {"start": "2026-03-03", "end": "2026-03-05"},
        "participant": [{"type": "practitioner", "role": {"text": "Nurse"}}],
        "quantity": {"value": 2},
        "location": {"reference": "Location/synthetic"},
    }
    at = situation(practitioner="Practitioner/a", encounter="Encounter/a")
    assert errors(apply_activity(full, at)) == []


def test_a_kind_that_cannot_be_made_is_refused_and_in_a_plan_becomes_a_task_with_a_note() -> None:
    claim = {"resourceType": "ActivityDefinition", "status": "active", "kind": "Claim", "url": "https://example.org/c"}
    with pytest.raises(RuleBroken, match="Claim"):
        apply_activity(claim, situation())
    at = situation({"https://example.org/c": claim})
    (task,) = made(plan({"title": "Bill it", "definitionCanonical": "https://example.org/c"}), at)
    assert (task["resourceType"], task["code"]["text"]) == ("Task", "Bill it")
    assert any("Claim" in one.message for one in at.notes)


@pytest.mark.requirement(137)
def test_a_task_of_a_plan_says_who_when_and_why() -> None:
    activity = {
        "resourceType": "ActivityDefinition",
        "url": "https://example.org/call",
        "version": "2",
        "status": "active",
        "kind": "Task",
        "code": {"text": "Call"},
        "description": "Of the activity",
        "priority": "routine",
        "participant": [{"type": "practitioner", "role": {"text": "Coordinator"}}],
    }
    action = {
        "title": "Call the patient",
        "description": "Of the action",
        "priority": "urgent",
        "definitionCanonical": "https://example.org/call|2",
        "participant": [{"type": "practitioner", "role": {"text": "Nurse"}}],
        "timingDuration": {"value": 2, "unit": "d", "system": "http://unitsofmeasure.org", "code": "d"},
    }
    at = situation({"https://example.org/call": activity}, practitioner="Practitioner/a", encounter="Encounter/e")
    (task,) = made(plan(action), at)
    assert task["instantiatesCanonical"] == "https://example.org/call|2"
    assert (task["description"], task["priority"]) == ("Of the action", "urgent")
    assert task["performerType"] == [{"text": "Nurse"}]
    assert task["restriction"] == {"period": {"start": "2026-03-02T15:00:00.000Z", "end": "2026-03-04T15:00:00.000Z"}}
    assert (task["for"], task["encounter"]) == ({"reference": "Patient/synthetic"}, {"reference": "Encounter/e"})
    assert (task["requester"], task["status"]) == ({"reference": "Practitioner/a"}, "draft")


@pytest.mark.requirement(137)
@pytest.mark.parametrize(
    ("kind", "practitioner", "owner"),
    [("patient", None, "Patient/synthetic"), ("practitioner", "Practitioner/a", "Practitioner/a")],
)
def test_a_participant_without_a_role_owns_the_task(kind: str, practitioner: str | None, owner: str) -> None:
    at = situation(practitioner=practitioner)
    (task,) = made(plan({"title": "Read this", "participant": [{"type": kind}]}), at)
    assert task["owner"] == {"reference": owner}


@pytest.mark.requirement(137)
@pytest.mark.parametrize(
    ("expression", "applies"),
    [
        ("Patient.gender = 'female'", True),
        ("Patient.gender = 'male'", False),
        ("%patient.birthDate < @1960-01-01", True),
        ("Patient.deceased.exists()", False),
        ("Patient.contact", False),
    ],
)
def test_an_action_applies_when_its_conditions_hold(expression: str, applies: bool) -> None:
    condition = [{"kind": "applicability", "expression": fhirpath(expression)}]
    inner = {"title": "Inner"}
    assert len(made(plan({"title": "Outer", "condition": condition, "action": [inner, inner]}))) == (
        2 if applies else 0
    )


@pytest.mark.requirement(137)
@pytest.mark.parametrize("expression", [{"language": "text/cql", "expression": "Eligible"}, fhirpath("((")])
def test_a_condition_that_cannot_be_worked_out_stays_for_a_person_to_judge(expression: Resource) -> None:
    at = situation()
    applied = apply_plan(plan({"title": "A", "condition": [{"kind": "applicability", "expression": expression}]}), at)
    assert len(applied.requests) == 1
    assert applied.group is not None
    assert applied.group["action"][0]["condition"][0]["expression"] == expression
    result = contained(applied, at)
    assert result["supportingInfo"] == [{"reference": "#outcome"}]
    assert result["contained"][-1]["issue"][0]["severity"] == "warning"
    assert errors(result) == []


@pytest.mark.requirement(137)
def test_dynamic_values_come_after_those_of_the_activity_and_those_of_the_plan_last() -> None:
    activity = {
        "resourceType": "ActivityDefinition",
        "url": "https://example.org/a",
        "status": "active",
        "kind": "ServiceRequest",
        "code": {"text": "Test"},
        "priority": "routine",
        "dynamicValue": [
            {"path": "priority", "expression": fhirpath("'urgent'")},
            {"path": "category.coding.code", "expression": fhirpath("'108252007'")},
            {"path": "occurrence", "expression": fhirpath("'2026-03-09'")},
            {"path": "patientInstruction", "expression": fhirpath("'For ' & %subject.id")},
        ],
    }
    action = {
        "definitionCanonical": "https://example.org/a",
        "dynamicValue": [{"path": "ServiceRequest.priority", "expression": fhirpath("'stat'")}],
    }
    at = situation({"https://example.org/a": activity})
    (request,) = made(plan(action), at)
    assert request["priority"] == "stat"
    assert request["category"] == [{"coding": [{"code": "108252007"}]}]
    assert request["occurrenceDateTime"] == "2026-03-09"
    assert request["patientInstruction"] == "For synthetic"
    assert at.notes == []


@pytest.mark.parametrize(
    ("path", "expression"),
    [
        ("noSuchElement", "'a'"),
        ("status", "'no such status'"),
        ("code.coding[7].code", "'a'"),
        ("id", "'a'"),
        ("resourceType", "'Claim'"),
        ("", "'a'"),
        ("$this", "'a'"),
        ("restriction.period.start", "'someday'"),
        ("for", "'a'"),
        (".".join("a" * 20), "1"),
    ],
)
def test_a_dynamic_value_that_does_not_fit_leaves_the_request_as_it_was_and_is_noted(
    path: str, expression: str
) -> None:
    at = situation()
    action = {"title": "A", "dynamicValue": [{"path": path, "expression": fhirpath(expression)}]}
    (task,) = made(plan(action), at)
    (plain,) = made(plan({"title": "A"}))
    assert task == plain
    assert len(at.notes) == 1


@pytest.mark.requirement(137)
def test_actions_follow_each_other_by_their_offsets() -> None:
    def days(number: int) -> Resource:
        return {"value": number, "unit": "d", "system": "http://unitsofmeasure.org", "code": "d"}

    third = {"actionId": "second", "relationship": "after-end", "offsetRange": {"low": days(1), "high": days(3)}}
    actions: list[Resource] = [
        {"id": "third", "title": "Third", "relatedAction": [third]},
        {
            "id": "second",
            "title": "Second",
            "relatedAction": [{"actionId": "first", "relationship": "after-start", "offsetDuration": days(7)}],
        },
        {"id": "first", "title": "First", "timingDateTime": "2026-03-10T09:00:00Z"},
        {
            "id": "before",
            "title": "Before",
            "relatedAction": [{"actionId": "first", "relationship": "before-start", "offsetDuration": days(2)}],
        },
    ]
    applied = apply_plan(plan(*actions), situation())
    times = {one["code"]["text"]: one["restriction"]["period"] for one in applied.requests}
    assert times["First"] == {"start": "2026-03-10T09:00:00Z", "end": "2026-03-10T09:00:00Z"}
    assert times["Second"] == {"start": "2026-03-17T09:00:00.000Z"}
    assert times["Third"] == {"start": "2026-03-18T09:00:00.000Z", "end": "2026-03-20T09:00:00.000Z"}
    assert times["Before"] == {"end": "2026-03-08T09:00:00.000Z"}
    assert applied.group is not None
    assert applied.group["action"][0]["relatedAction"] == [third]


def test_a_relation_to_an_action_that_does_not_apply_is_left_out() -> None:
    never = {"id": "never", "condition": [{"kind": "applicability", "expression": fhirpath("false")}]}
    other = {"id": "other", "title": "Other", "relatedAction": [{"actionId": "never", "relationship": "after"}]}
    applied = apply_plan(plan(never, other), situation())
    assert applied.group is not None
    assert [one.get("relatedAction") for one in applied.group["action"]] == [None]


def test_actions_in_a_circle_are_applied_once_each() -> None:
    first = {"id": "a", "title": "A", "relatedAction": [{"actionId": "b", "relationship": "after"}]}
    second = {"id": "b", "title": "B", "relatedAction": [{"actionId": "a", "relationship": "after"}]}
    assert len(made(plan(first, second))) == 2
    assert sorted(in_order({"a": first, "b": second})) == ["a", "b"]


def test_a_plan_within_a_plan_brings_its_goals_and_actions() -> None:
    inner = plan({"title": "Inner"}, url="https://example.org/inner", goal=[{"description": {"text": "Be well"}}])
    at = situation({"https://example.org/inner": inner})
    applied = apply_plan(plan({"title": "Outer", "definitionCanonical": "https://example.org/inner"}), at)
    assert [one["code"]["text"] for one in applied.requests] == ["Inner"]
    assert [one["description"]["text"] for one in applied.goals] == ["Be well"]
    assert errors(contained(applied, at)) == []


def test_a_plan_that_holds_itself_or_too_much_is_refused() -> None:
    itself = plan({"definitionCanonical": "https://example.org/plan"})
    with pytest.raises(RuleBroken, match=str(DEEPEST)):
        apply_plan(itself, situation({"https://example.org/plan": itself}))
    with pytest.raises(RuleBroken, match=str(MOST_ACTIONS)):
        apply_plan(plan(*({"title": "A"} for _ in range(MOST_ACTIONS + 1))), situation())


def test_a_plan_is_for_a_patient_or_a_group() -> None:
    with pytest.raises(RuleBroken, match="Patient or a Group"):
        apply_plan(plan(), situation(subject={"resourceType": "Device"}, subject_ref="Device/d"))


def test_goals_have_their_targets() -> None:
    goal = {
        "description": {"text": "Lower weight"},
        "category": {"text": "dietary"},
        "priority": {"text": "high"},
        "start": {"text": "admission"},
        "target": [
            {"measure": {"text": "weight"}, "detailQuantity": {"value": 80}, "due": {"value": 3, "unit": "months"}},
            {"detailQuantity": {"value": 80}},
        ],
    }
    applied = apply_plan(plan(goal=[goal]), situation())
    (result,) = applied.goals
    assert result["target"] == [
        {"measure": {"text": "weight"}, "detailQuantity": {"value": 80}, "dueDuration": {"value": 3, "unit": "months"}}
    ]
    assert errors(result) == []


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ({"value": 90, "code": "min"}, timedelta(minutes=90)),
        ({"value": 2, "unit": "wk"}, timedelta(weeks=2)),
        ({"value": 1, "code": "mo"}, timedelta(days=31)),
        ({"value": 1, "code": "a"}, timedelta(days=365)),
        ({"value": 0.5, "code": "mo"}, None),
        ({"value": 1, "code": "fortnight"}, None),
        ({"value": 10**12, "code": "d"}, None),
        ({"value": 10**12, "code": "a"}, None),
        ({"value": "many", "code": "d"}, None),
        ({}, None),
        ("2 days", None),
    ],
)
def test_durations_are_added_by_their_ucum_units(duration: Json, expected: timedelta | None) -> None:
    assert after(NOW, duration) == (NOW + expected if expected is not None else None)


def test_months_end_on_the_last_day_there_is() -> None:
    assert after(NOW.replace(month=1, day=31), {"value": 1, "code": "mo"}) == NOW.replace(month=2, day=28)
    assert after(NOW.replace(month=3, day=31), {"value": 13, "code": "mo"}, -1) == NOW.replace(
        year=2025, month=2, day=28
    )


@pytest.mark.parametrize(
    ("holder", "expected"),
    [
        ({"timingAge": {"value": 80, "code": "a"}}, {"start": "2030-01-31T00:00:00.000Z"}),
        ({"timingTiming": {"event": ["2026-03-09", "2026-03-04"]}}, {"start": "2026-03-04"}),
        ({"timingTiming": {"repeat": {"boundsPeriod": {"start": "2026-03-04"}}}}, {"start": "2026-03-04"}),
        ({"timingTiming": {"repeat": {"frequency": 1}}}, None),
        ({"timingRange": {"low": {"value": 1, "code": "d"}}}, {"start": "2026-03-03T15:00:00.000Z"}),
        ({}, None),
    ],
)
def test_every_kind_of_timing_gives_a_period(holder: Resource, expected: Resource | None) -> None:
    found = period_of(holder, NOW, str(PATIENT["birthDate"]))
    assert (found if expected is None else {"start": (found or {})["start"]}) == expected


@pytest.mark.parametrize("relationship", ["concurrent", "after", "after-end"])
def test_an_action_beside_another_begins_where_that_one_ends(relationship: str) -> None:
    other = {"start": "2026-03-03T00:00:00Z", "end": "2026-03-05T00:00:00Z"}
    found = related_period({"relationship": relationship}, other, NOW)
    assert found == {"start": "2026-03-05T00:00:00.000Z"}


@given(data=st.data())
def test_a_definition_with_anything_in_it_is_applied_or_refused_and_never_breaks(data: st.DataObject) -> None:
    definition = copied(ALL[data.draw(st.sampled_from(PLANS + ACTIVITIES))])
    holders = [definition]
    for holder in holders:
        holders += [
            one
            for value in holder.values()
            for one in (value if isinstance(value, list) else [value])
            if isinstance(one, dict)
        ]
    for _ in range(data.draw(st.integers(1, 3))):
        holder = data.draw(st.sampled_from(holders))
        name = data.draw(st.sampled_from(sorted(holder) or ["action"]))
        if name not in ("resourceType", "kind"):
            holder[name] = data.draw(st.sampled_from([None, "", "#x", 7, [], {}, [{}], [None], {"a": 1}, True]))
    at = situation(HELD)
    try:
        if definition["resourceType"] == "PlanDefinition":
            contained(apply_plan(definition, at), at)
        else:
            apply_activity(definition, at)
    except TrackerError:
        pass
