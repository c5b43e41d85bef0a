"""Every official invariant is asked or listed; those of the types people write are broken here one by one.

https://hl7.org/fhir/R4/conformance-rules.html#constraints
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.definitions.registry import Constraint, constrained, constraints, elements, is_complex
from fhir_tracker.fhir.invariants.by_hand import BY_HAND
from fhir_tracker.fhir.invariants.rules import CORRECTED, NOT_COMPILABLE, STRUCTURAL, expression_of, rule_of
from fhir_tracker.fhir.invariants.syntax import NotCompilable, parse
from fhir_tracker.fhir.invariants.values import Scope, order
from fhir_tracker.fhir.json_types import Json, Resource
from tests.fhir.examples import example, example_names

NARRATIVE = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Synthetic</div>'}
PATIENT = {"reference": "Patient/p1"}
WORDS = {"text": "words"}
UCUM = "http://unitsofmeasure.org"


def leaf_of(path: str) -> str:
    """The type of the values that the invariants of a path are asked of."""
    if is_complex(path):
        return path
    holder, _, name = path.rpartition(".")
    return next(leaf for leaf in reversed(elements(holder)[name].types) if is_complex(leaf) or name != "probability[x]")


def rows() -> list[tuple[str, Constraint]]:
    return [(path, row) for path in constrained() for row in constraints(path)]


@pytest.mark.requirement(4)
@pytest.mark.parametrize(("path", "row"), rows(), ids=lambda item: item if isinstance(item, str) else item.key)
def test_an_invariant_compiles_or_is_listed_with_the_reason(path: str, row: Constraint) -> None:
    if row.key in STRUCTURAL or row.key == "eld-3":
        return
    if row.key in NOT_COMPILABLE:
        with pytest.raises(NotCompilable):
            rule_of(row, leaf_of(path))
        return
    rule = rule_of(row, leaf_of(path))
    assert rule.human == row.human
    assert rule.severity in ("error", "warning")
    assert rule.test({}, Scope({}, {})) is True or not rule.guard


def test_what_is_not_compiled_is_little_and_known() -> None:
    assert len(rows()) > 230
    keys = {row.key for _, row in rows()}
    assert NOT_COMPILABLE.keys() == {"cid-0", "eld-3"}
    assert STRUCTURAL.keys() == {"ele-1", "txt-1", "txt-2"}
    assert keys >= NOT_COMPILABLE.keys() | STRUCTURAL.keys() | CORRECTED.keys() | BY_HAND.keys()


def task(**members: Json) -> Resource:
    return {"resourceType": "Task", "text": NARRATIVE, "status": "requested", "intent": "order", **members}


def appointment(**members: Json) -> Resource:
    base: Resource = {
        "resourceType": "Appointment",
        "status": "proposed",
        "participant": [{"status": "accepted", "actor": PATIENT}],
    }
    return base | members


def plan(**members: Json) -> Resource:
    return {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": PATIENT, **members}


def goal(**members: Json) -> Resource:
    return {"resourceType": "Goal", "lifecycleStatus": "active", "description": WORDS, "subject": PATIENT, **members}


def patient(**members: Json) -> Resource:
    return {"resourceType": "Patient", **members}


def observation(**members: Json) -> Resource:
    return {"resourceType": "Observation", "status": "final", "code": WORDS, **members}


def question(**members: Json) -> Resource:
    return {"resourceType": "Questionnaire", "status": "active", "item": [{"linkId": "1", "type": "string", **members}]}


def answers(**members: Json) -> Resource:
    return {"resourceType": "QuestionnaireResponse", "status": "completed", "item": [{"linkId": "1", **members}]}


def bundle(type_: str, *entries: Resource, **members: Json) -> Resource:
    return {"resourceType": "Bundle", "type": type_, **({"entry": list(entries)} if entries else {}), **members}


def entry(id_: str = "1", **members: Json) -> Resource:
    return {"fullUrl": f"http://example.org/fhir/Patient/{id_}", "resource": patient(id=id_), **members}


def contained(*inner: Resource, **members: Json) -> Resource:
    return patient(contained=list(inner), **members)


def clinic(**members: Json) -> Resource:
    return {"resourceType": "Organization", "id": "o", "name": "Synthetic clinic", **members}


AT_CLINIC = {"managingOrganization": {"reference": "#o"}}
PUT = {"method": "PUT", "url": "Patient/1"}
IN_TABLE = {"system": UCUM, "code": "a"}

# key, where it is broken, a resource that breaks it, one that keeps it
BROKEN: list[tuple[str, str, Resource, Resource]] = [
    (
        "inv-1",
        "Task",
        task(authoredOn="2024-03-02", lastModified="2024-03-01"),
        task(authoredOn="2024-03-01", lastModified="2024-03-01"),
    ),
    (
        "inv-1",
        "Task",
        task(authoredOn="2024-03-01T10:00:00Z", lastModified="2024-03-01T10:30:00+02:00"),
        task(authoredOn="2024-03-01T10:00:00Z", lastModified="2024-03-01T12:00:00+02:00"),
    ),
    (
        "per-1",
        "Task.restriction.period",
        task(restriction={"period": {"start": "2024-02", "end": "2024-01"}}),
        task(restriction={"period": {"start": "2024-01", "end": "2024-02-01"}}),
    ),
    (
        "per-1",
        "Task.restriction.period",
        task(restriction={"period": {"start": "2024", "end": "2024-01"}}),
        task(restriction={"period": {"start": "2024"}}),
    ),
    (
        "app-1",
        "Appointment.participant[0]",
        appointment(participant=[{"status": "accepted"}]),
        appointment(participant=[{"status": "accepted", "type": [WORDS]}]),
    ),
    (
        "app-2",
        "Appointment",
        appointment(start="2024-01-01T10:00:00Z"),
        appointment(start="2024-01-01T10:00:00Z", end="2024-01-01T11:00:00Z"),
    ),
    ("app-3", "Appointment", appointment(status="booked"), appointment(status="waitlist")),
    (
        "app-4",
        "Appointment",
        appointment(cancelationReason=WORDS),
        appointment(status="cancelled", cancelationReason=WORDS),
    ),
    (
        "cpl-3",
        "CarePlan.activity[0]",
        plan(activity=[{"reference": {"reference": "Task/1"}, "detail": {"status": "scheduled"}}]),
        plan(activity=[{"detail": {"status": "scheduled"}}]),
    ),
    (
        "gol-1",
        "Goal.target[0]",
        goal(target=[{"detailString": "x"}]),
        goal(target=[{"detailString": "x", "measure": WORDS}]),
    ),
    (
        "qrs-1",
        "QuestionnaireResponse.item[0]",
        answers(answer=[{"valueString": "x"}], item=[{"linkId": "2"}]),
        answers(answer=[{"valueString": "x", "item": [{"linkId": "2"}]}]),
    ),
    (
        "que-1",
        "Questionnaire.item[0]",
        question(type="group"),
        question(type="group", item=[{"linkId": "2", "type": "string"}]),
    ),
    ("que-2", "Questionnaire", question(type="group", item=[{"linkId": "1", "type": "string"}]), question()),
    ("que-3", "Questionnaire.item[0]", question(type="display", code=[{"code": "x"}]), question(code=[{"code": "x"}])),
    (
        "que-4",
        "Questionnaire.item[0]",
        question(type="choice", answerOption=[{"valueString": "x"}], answerValueSet="http://x.example/v"),
        question(type="choice", answerValueSet="http://x.example/v"),
    ),
    (
        "que-7",
        "Questionnaire.item[0].enableWhen[0]",
        question(enableWhen=[{"question": "2", "operator": "exists", "answerString": "x"}]),
        question(enableWhen=[{"question": "2", "operator": "exists", "answerBoolean": True}]),
    ),
    ("que-10", "Questionnaire.item[0]", question(type="date", maxLength=3), question(maxLength=3)),
    (
        "que-12",
        "Questionnaire.item[0]",
        question(enableWhen=[{"question": one, "operator": "exists", "answerBoolean": True} for one in "23"]),
        question(
            enableBehavior="all",
            enableWhen=[{"question": one, "operator": "exists", "answerBoolean": True} for one in "23"],
        ),
    ),
    (
        "que-13",
        "Questionnaire.item[0]",
        question(initial=[{"valueString": "x"}, {"valueString": "y"}]),
        question(repeats=True, initial=[{"valueString": "x"}, {"valueString": "y"}]),
    ),
    ("pat-1", "Patient.contact[0]", patient(contact=[{"gender": "other"}]), patient(contact=[{"name": WORDS}])),
    (
        "cpt-2",
        "Patient.telecom[0]",
        patient(telecom=[{"value": "1"}]),
        patient(telecom=[{"system": "phone", "value": "1"}]),
    ),
    (
        "att-1",
        "Patient.photo[0]",
        patient(photo=[{"data": "AAAA"}]),
        patient(photo=[{"data": "AAAA", "contentType": "image/png"}]),
    ),
    (
        "ext-1",
        "Patient.extension[0]",
        patient(extension=[{"url": "http://x.example/a"}]),
        patient(extension=[{"url": "http://x.example/a", "valueString": "x"}]),
    ),
    (
        "ext-1",
        "Patient.name[0].extension[0]",
        patient(
            name=[
                {
                    "extension": [
                        {
                            "url": "http://x.example/a",
                            "valueString": "x",
                            "extension": [{"url": "b", "valueString": "x"}],
                        }
                    ]
                }
            ]
        ),
        patient(name=[{"extension": [{"url": "http://x.example/a", "extension": [{"url": "b", "valueString": "x"}]}]}]),
    ),
    ("ele-1", "Patient.gender", patient(_gender={"id": "a"}), patient(gender="other", _gender={"id": "a"})),
    ("ref-1", "Patient.managingOrganization", patient(**AT_CLINIC), contained(clinic(), **AT_CLINIC)),
    (
        "dom-2",
        "Patient",
        contained(clinic(contained=[clinic(id="p")], partOf={"reference": "#o"}), **AT_CLINIC),
        contained(clinic(), **AT_CLINIC),
    ),
    (
        "dom-3",
        "Patient",
        contained(clinic()),
        contained(
            clinic(), {"resourceType": "Basic", "id": "b", "code": WORDS, "subject": {"reference": "#"}}, **AT_CLINIC
        ),
    ),
    (
        "dom-4",
        "Patient",
        contained(clinic(meta={"versionId": "1"}), **AT_CLINIC),
        contained(clinic(meta={"tag": [{"code": "x"}]}), **AT_CLINIC),
    ),
    (
        "dom-5",
        "Patient",
        contained(clinic(meta={"security": [{"code": "x"}]}), **AT_CLINIC),
        contained(clinic(), **AT_CLINIC),
    ),
    (
        "qty-3",
        "Observation.value",
        observation(valueQuantity={"value": 1, "code": "g"}),
        observation(valueQuantity={"value": 1, "code": "g", "system": UCUM}),
    ),
    (
        "sqty-1",
        "Observation.referenceRange[0].low",
        observation(referenceRange=[{"low": {"value": 1, "comparator": "<"}}]),
        observation(referenceRange=[{"low": {"value": 1}}]),
    ),
    (
        "rng-2",
        "Observation.value",
        observation(valueRange={"low": {"value": 2, "unit": "g"}, "high": {"value": 1, "unit": "g"}}),
        observation(valueRange={"low": {"value": 1, "unit": "g"}, "high": {"value": 2, "unit": "g"}}),
    ),
    (
        "rat-1",
        "Observation.value",
        observation(valueRatio={"numerator": {"value": 1}}),
        observation(valueRatio={"numerator": {"value": 1}, "denominator": {"value": 2}}),
    ),
    (
        "obs-3",
        "Observation.referenceRange[0]",
        observation(referenceRange=[{"type": WORDS}]),
        observation(referenceRange=[{"text": "x"}]),
    ),
    ("obs-6", "Observation", observation(valueString="x", dataAbsentReason=WORDS), observation(dataAbsentReason=WORDS)),
    (
        "obs-7",
        "Observation",
        observation(
            code={"coding": [{"code": "x"}]}, valueString="x", component=[{"code": {"coding": [{"code": "x"}]}}]
        ),
        observation(
            code={"coding": [{"code": "y"}]}, valueString="x", component=[{"code": {"coding": [{"code": "x"}]}}]
        ),
    ),
    (
        "tim-1",
        "Observation.effective.repeat",
        observation(effectiveTiming={"repeat": {"duration": 1}}),
        observation(effectiveTiming={"repeat": {"duration": 1, "durationUnit": "h"}}),
    ),
    (
        "tim-5",
        "Observation.effective.repeat",
        observation(effectiveTiming={"repeat": {"period": -1, "periodUnit": "h"}}),
        observation(effectiveTiming={"repeat": {"period": 1, "periodUnit": "h"}}),
    ),
    (
        "tim-9",
        "Observation.effective.repeat",
        observation(effectiveTiming={"repeat": {"offset": 1, "when": ["C"]}}),
        observation(effectiveTiming={"repeat": {"offset": 1, "when": ["AC"]}}),
    ),
    (
        "tim-10",
        "Observation.effective.repeat",
        observation(effectiveTiming={"repeat": {"timeOfDay": ["10:00:00"], "when": ["AC"]}}),
        observation(effectiveTiming={"repeat": {"when": ["AC"]}}),
    ),
    (
        "age-1",
        "Patient.extension[0].value",
        patient(extension=[{"url": "http://x.example/a", "valueAge": {"value": -1, **IN_TABLE}}]),
        patient(extension=[{"url": "http://x.example/a", "valueAge": {"value": 1, **IN_TABLE}}]),
    ),
    (
        "drt-1",
        "Goal.target[0].due",
        goal(target=[{"dueDuration": {"code": "d"}}]),
        goal(target=[{"dueDuration": {"value": 3, "code": "d", "system": UCUM}}]),
    ),
    (
        "cnt-3",
        "Patient.extension[0].value",
        patient(extension=[{"url": "http://x.example/a", "valueCount": {"value": 2, "code": "x", "system": UCUM}}]),
        patient(extension=[{"url": "http://x.example/a", "valueCount": {"value": 2, "code": "1", "system": UCUM}}]),
    ),
    ("bdl-1", "Bundle", bundle("collection", total=1), bundle("searchset", total=1)),
    (
        "bdl-2",
        "Bundle",
        bundle("collection", entry(search={"mode": "match"})),
        bundle("searchset", entry(search={"mode": "match"})),
    ),
    ("bdl-3", "Bundle", bundle("transaction", entry()), bundle("transaction", entry(request=PUT))),
    (
        "bdl-4",
        "Bundle",
        bundle("collection", entry(response={"status": "200"})),
        bundle("history", entry(request=PUT, response={"status": "200"})),
    ),
    (
        "bdl-5",
        "Bundle.entry[0]",
        bundle("collection", {"fullUrl": "http://example.org/x"}),
        bundle("collection", entry()),
    ),
    ("bdl-7", "Bundle", bundle("collection", entry(), entry()), bundle("collection", entry(), entry("2"))),
    (
        "bdl-8",
        "Bundle.entry[0]",
        bundle("collection", {"fullUrl": "http://example.org/Patient/1/_history/1", "resource": patient()}),
        bundle("batch", {"resource": patient(), "request": PUT}),
    ),
    ("org-1", "Organization", {"resourceType": "Organization", "active": True}, clinic()),
    ("org-2", "Organization.address[0]", clinic(address=[{"use": "home"}]), clinic(address=[{"use": "work"}])),
    (
        "inv-1",
        "Parameters.parameter[0]",
        {"resourceType": "Parameters", "parameter": [{"name": "x"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "x", "valueString": "y"}]},
    ),
    (
        "trd-3",
        "PlanDefinition.action[0].trigger[0]",
        {"resourceType": "PlanDefinition", "status": "draft", "action": [{"trigger": [{"type": "named-event"}]}]},
        {
            "resourceType": "PlanDefinition",
            "status": "draft",
            "action": [{"trigger": [{"type": "named-event", "name": "x"}]}],
        },
    ),
    (
        "exp-1",
        "PlanDefinition.action[0].condition[0].expression",
        {
            "resourceType": "PlanDefinition",
            "status": "draft",
            "action": [{"condition": [{"kind": "start", "expression": {"language": "text/cql"}}]}],
        },
        {
            "resourceType": "PlanDefinition",
            "status": "draft",
            "action": [{"condition": [{"kind": "start", "expression": {"language": "text/cql", "expression": "x"}}]}],
        },
    ),
    (
        "con-5",
        "Condition",
        {
            "resourceType": "Condition",
            "subject": PATIENT,
            "clinicalStatus": {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]
            },
            "verificationStatus": {
                "coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "entered-in-error"}
                ]
            },
        },
        {"resourceType": "Condition", "subject": PATIENT},
    ),
]


@pytest.mark.requirement(4)
@pytest.mark.parametrize(("key", "where", "broken", "kept"), BROKEN, ids=[f"{row[0]} {row[1]}" for row in BROKEN])
def test_a_broken_invariant_is_named_in_its_place(key: str, where: str, broken: Resource, kept: Resource) -> None:
    found = [issue for issue in check(broken) if issue.message.startswith(f"{where} breaks {key}: ")]
    assert [(issue.expression, issue.code, issue.severity) for issue in found] == [(where, "invariant", "error")]
    assert check(kept) == ()


def test_what_only_warns_is_left_out_unless_asked_for() -> None:
    named = {"resourceType": "Questionnaire", "status": "active", "name": "not a name"}
    assert check(named) == ()
    found = [(issue.expression, issue.severity, issue.message.split()[2]) for issue in check(named, warnings=True)]
    assert found == [("Questionnaire", "warning", "que-0:"), ("Questionnaire", "warning", "dom-6:")]
    assert check(task(), warnings=True) == ()


def test_an_invariant_is_not_asked_of_what_has_a_wrong_shape() -> None:
    (issue,) = check(appointment(status="booked", start=5))
    assert (issue.expression, issue.code) == ("Appointment.start", "value")


@pytest.mark.parametrize("name", example_names())
def test_asking_never_changes_a_resource(name: str) -> None:
    before = copy.deepcopy(example(name))
    check(example(name), warnings=True)
    assert example(name) == before


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("2024", "2025", -1),
        ("2024", "2024", 0),
        ("2024", "2024-01", None),
        ("2024-02", "2024-01-31", 1),
        ("2024-01-01", "2024-01-01T10:00:00Z", None),
        ("2024-01-01T10:00:00Z", "2024-01-01T12:00:00+02:00", 0),
        ("2024-01-01T10:00:00Z", "2024-01-01T11:00:00+02:00", 1),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00.5Z", -1),
        ("2024-01-01T10:00:00.50Z", "2024-01-01T10:00:00.5Z", 0),
        ("2024-01-01T10:00:60Z", "2024-01-01T10:01:00Z", -1),
    ],
)
def test_dates_are_compared_as_far_as_both_go(one: str, other: str, expected: int | None) -> None:
    assert order(one, other, dates=True) == expected
    assert order(other, one, dates=True) == (None if expected is None else -expected)


@pytest.mark.parametrize(
    "expression", ["", "a.", "a(", "a and", "'x", "a b", "a[0", "1 +", "a.b(,", "a = = b", "{}", "a.nonsense()", "%nonsense"]
)  # fmt: skip
def test_what_is_outside_of_the_subset_is_refused(expression: str) -> None:
    row = Constraint(key="x-1", severity="error", human="x", expression=expression)
    with pytest.raises(NotCompilable):
        rule_of(row, "Task")


def test_every_expression_in_use_is_read_to_its_end() -> None:
    for _, row in rows():
        if row.key not in STRUCTURAL:
            parse(expression_of(row))


def test_hostile_shapes_never_raise() -> None:
    wrong: list[Any] = [None, 5, "x", True, [], {}, [None], [[]], {"reference": 5}, {"contained": {"id": 1}}, "#"]
    for path, row in rows():
        if row.key in STRUCTURAL or row.key in NOT_COMPILABLE:
            continue
        rule = rule_of(row, leaf_of(path))
        names = sorted({name.removeprefix("_") for name in rule.guard})[:4] or ["contained"]
        for value in wrong:
            held = dict.fromkeys(names, value)
            assert rule.test(held, Scope(held, held)) in (True, False, None), row.key
