"""Resources of a wrong shape are found out, right ones are not (https://hl7.org/fhir/R4/validation.html)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.checks import MOST_ISSUES, check
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.primitives import PRIMITIVES
from tests.fhir.examples import example, example_names

TASK: Resource = {
    "resourceType": "Task",
    "id": "t1",
    "status": "requested",
    "intent": "order",
    "for": {"reference": "Patient/p1"},
    "owner": {"reference": "Practitioner/d1"},
    "authoredOn": "2024-03-01T10:00:00Z",
    "restriction": {"repetitions": 1, "period": {"end": "2024-03-05"}},
    "input": [{"type": {"text": "x"}, "valuePositiveInt": 2}],
    "note": [{"text": "a", "time": "2024-03-01"}],
    "identifier": [{"use": "official", "system": "urn:x", "value": "7"}],
}


class Drop:
    """In place of a value: take the element away. Its name in a test's id is always the same."""

    def __repr__(self) -> str:
        return "DROP"


DROP = Drop()


# Official examples that break official rules, as HL7's validator says too: name, where, why.
BROKEN_EXAMPLES = {
    "ActivityDefinition-blood-tubes-supply": [
        ("ActivityDefinition.text.div", "value"),
        ("ActivityDefinition.transform", "value"),
    ],
    "EventDefinition-example": [("EventDefinition.text.div", "value")],
    "QuestionnaireResponse-gcs": [("QuestionnaireResponse.questionnaire", "value")],
}


@pytest.mark.parametrize("name", example_names())
def test_an_official_example_has_no_issue(name: str) -> None:
    found = [(issue.expression, issue.code) for issue in check(example(name))]
    assert found == BROKEN_EXAMPLES.get(name, [])


def test_the_base_of_the_mutations_has_no_issue() -> None:
    assert check(TASK) == ()


# path to change, value to put there (or DROP), where the issue is, its code
MUTATIONS: list[tuple[tuple[str | int, ...], Any, str, str]] = [
    (("status",), DROP, "Task.status", "required"),
    (("status",), "nonsense", "Task.status", "code-invalid"),
    (("status",), "Requested", "Task.status", "code-invalid"),
    (("status",), ["requested"], "Task.status", "value"),
    (("status",), None, "Task.status", "value"),
    (("status",), "", "Task.status", "value"),
    (("status",), 5, "Task.status", "value"),
    (("intent",), {"code": "order"}, "Task.intent", "value"),
    (("bogus",), "x", "Task", "structure"),
    (("Status",), "x", "Task", "structure"),
    (("_for",), {"id": "x"}, "Task", "structure"),
    (("<script>",), "x", "Task", "structure"),
    (("id",), "a b", "Task.id", "value"),
    (("id",), "x" * 65, "Task.id", "value"),
    (("for",), "Patient/p1", "Task.for", "structure"),
    (("for",), [{"reference": "Patient/p1"}], "Task.for", "structure"),
    (("for",), {}, "Task.for", "structure"),
    (("for", "reference"), "no good", "Task.for.reference", "value"),
    (("for", "reference"), "http://evil.example/x y", "Task.for.reference", "value"),
    (("for", "type"), "Nope", "Task.for.type", "code-invalid"),
    (("owner", "type"), "Observation", "Task.owner.type", "structure"),
    (("for", "reference"), "#", "Task.for.reference", "value"),
    (("owner", "reference"), "Observation/1", "Task.owner.reference", "structure"),
    (("owner", "reference"), "https://ehr.example/fhir/Observation/1", "Task.owner.reference", "structure"),
    (("owner", "bogus"), 1, "Task.owner", "structure"),
    (("identifier",), {"value": "7"}, "Task.identifier", "structure"),
    (("identifier",), [], "Task.identifier", "structure"),
    (("identifier", 0), None, "Task.identifier[0]", "structure"),
    (("identifier", 0, "use"), "mine", "Task.identifier[0].use", "code-invalid"),
    (("authoredOn",), "yesterday", "Task.authoredOn", "value"),
    (("authoredOn",), "2024-02-30", "Task.authoredOn", "value"),
    (("authoredOn",), "2024-03-01T10:00", "Task.authoredOn", "value"),
    (("authoredOn",), "2024-03-01T10:00:00", "Task.authoredOn", "value"),
    (("authoredOn",), 1709287200, "Task.authoredOn", "value"),
    (("restriction", "repetitions"), 0, "Task.restriction.repetitions", "value"),
    (("restriction", "repetitions"), "1", "Task.restriction.repetitions", "value"),
    (("restriction", "repetitions"), True, "Task.restriction.repetitions", "value"),
    (("restriction", "repetitions"), 2**31, "Task.restriction.repetitions", "value"),
    (("restriction", "period", "end"), "2024-13-01", "Task.restriction.period.end", "value"),
    (("restriction", "period"), "2024", "Task.restriction.period", "structure"),
    (("input", 0, "valuePositiveInt"), DROP, "Task.input[0].value", "required"),
    (("input", 0, "valueString"), "x", "Task.input[0].value", "structure"),
    (("input", 0, "valueNope"), "x", "Task.input[0]", "structure"),
    (("input", 0, "type"), DROP, "Task.input[0].type", "required"),
    (("note", 0, "text"), DROP, "Task.note[0].text", "required"),
    (("note", 0, "text"), "", "Task.note[0].text", "value"),
    (("extension",), [{"valueString": "x"}], "Task.extension[0].url", "required"),
    (("extension",), [{"url": "has space", "valueCode": "x"}], "Task.extension[0].url", "value"),
    (("contained",), [{"resourceType": "Nope", "id": "x"}], "Task.contained[0]", "structure"),
    (
        ("contained",),
        [{"resourceType": "Patient", "id": "x", "gender": "x"}],
        "Task.contained[0].gender",
        "code-invalid",
    ),
    (("contained",), ["x"], "Task.contained[0]", "structure"),
    (("text",), {"status": "generated"}, "Task.text.div", "required"),
    (("text",), {"status": "generated", "div": "plain"}, "Task.text.div", "value"),
    (("text",), {"status": "generated", "div": "<div><script>x</script></div>"}, "Task.text.div", "value"),
    (("text",), {"status": "generated", "div": '<div><b onclick="x">y</b></div>'}, "Task.text.div", "value"),
    (("_status",), {}, "Task.status", "structure"),
    (("_status",), [None], "Task.status", "structure"),
    (("_status",), {"bogus": 1}, "Task.status", "structure"),
    (("meta",), {"profile": ["a b"]}, "Task.meta.profile[0]", "value"),
    (("meta",), {"lastUpdated": "2024-03-01"}, "Task.meta.lastUpdated", "value"),
    (("meta",), {"profile": [None]}, "Task.meta.profile[0]", "value"),
    (("resourceType",), "Nope", "resourceType", "structure"),
]


@pytest.mark.parametrize(("path", "value", "where", "code"), MUTATIONS, ids=lambda item: repr(item)[:40])
def test_a_mutated_task_has_the_issue_in_its_place(
    path: tuple[str | int, ...], value: object, where: str, code: str
) -> None:
    resource: Any = copy.deepcopy(TASK)
    holder = resource
    for step in path[:-1]:
        holder = holder[step]
    if value is DROP:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    assert [(issue.expression, issue.code) for issue in check(resource)] == [(where, code)]


@pytest.mark.parametrize("text", ["Nope/1", "words", "Patient/a_b", "../Patient/1"])
def test_a_relative_reference_that_nobody_can_follow_is_warned_of(text: str) -> None:
    task = TASK | {"for": {"reference": text}}
    assert check(task) == ()
    (issue, *_) = check(task, warnings=True)
    assert (issue.expression, issue.severity) == ("Task.for.reference", "warning")


def test_a_message_says_what_would_be_right_and_never_the_value() -> None:
    (issue,) = check(TASK | {"status": "Jane Doe, born 1950"})
    assert "in-progress" in issue.message
    assert "Jane" not in issue.message
    (issue,) = check(TASK | {"owner": {"reference": "Observation/secret"}})
    assert "Practitioner" in issue.message
    assert "secret" not in issue.message


def test_a_primitive_may_have_only_an_extension() -> None:
    absent = {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
    }
    assert check(TASK | {"_authoredOn": absent}) == ()
    coded = {name: value for name, value in TASK.items() if name != "intent"} | {"_intent": absent}
    assert [(issue.expression, issue.code) for issue in check(coded)] == [("Task.intent", "code-invalid")]
    names = {"resourceType": "Patient", "name": [{"given": [None, "B"], "_given": [absent, None]}]}
    assert check(names) == ()
    assert check({"resourceType": "Patient", "name": [{"given": [None, "B"]}]}) != ()


def test_a_required_concept_must_have_one_of_the_codes() -> None:
    allergy: Resource = {"resourceType": "AllergyIntolerance", "patient": {"reference": "Patient/1"}}
    system = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
    assert check(allergy | {"clinicalStatus": {"coding": [{"system": system, "code": "active"}]}}) == ()
    where = "AllergyIntolerance.clinicalStatus"
    for concept, place in (
        ({"coding": [{"system": "http://x", "code": "active"}]}, where),
        ({"coding": [{"system": system, "code": "nope"}]}, where),
        ({"coding": [{"system": system}]}, f"{where}.coding[0]"),
        ({"text": "active"}, where),
    ):
        (issue,) = check(allergy | {"clinicalStatus": concept})
        assert (issue.expression, issue.code) == (place, "code-invalid")


@pytest.mark.parametrize("wrong", [[], {}, 5, True, None, [{}]], ids=repr)
def test_a_coding_of_wrong_kinds_is_an_issue_and_no_fault(wrong: Json) -> None:
    right = {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}
    for name in ("system", "code"):
        condition = {"resourceType": "Condition", "subject": {"reference": "Patient/1"}}
        found = check(condition | {"clinicalStatus": {"coding": [right | {name: wrong}]}})
        assert [issue.expression for issue in found] == [f"Condition.clinicalStatus.coding[0].{name}"]


def test_the_number_of_issues_is_limited() -> None:
    flood = TASK | {"identifier": [{"use": "x"}] * 5000}
    assert len(check(flood)) == MOST_ISSUES


@pytest.mark.parametrize("value", [None, [], "x", 5, {}, {"resourceType": 5}, {"resourceType": ["Task"]}], ids=repr)
def test_what_is_no_resource_is_an_issue(value: Any) -> None:
    assert check(value)


RIGHT = {
    "boolean": b"true",
    "integer": b"-5",
    "unsignedInt": b"0",
    "positiveInt": b"1",
    "decimal": b"1.50e3",
    "string": b'"a\\nb"',
    "markdown": b'"# a"',
    "xhtml": b'"<div xmlns=\\"http://www.w3.org/1999/xhtml\\"><p>only on = here</p></div>"',
    "code": b'"a b"',
    "id": b'"A-1."',
    "uri": b'"urn:x"',
    "url": b'"http://x"',
    "canonical": b'"http://x|1"',
    "oid": b'"urn:oid:1.2.3"',
    "uuid": b'"urn:uuid:c757873d-ec9a-4326-a141-556f43239520"',
    "base64Binary": b'"QUJD QUI="',
    "date": b'"2024-02"',
    "dateTime": b'"2024-02-29T10:00:60.123456789012Z"',
    "instant": b'"2024-02-29T10:00:00+14:00"',
    "time": b'"23:59:60.5"',
}
WRONG = {
    "boolean": b'"true"',
    "integer": b"1.0",
    "unsignedInt": b"-1",
    "positiveInt": b"0",
    "decimal": b'"1.5"',
    "string": b'""',
    "markdown": b'""',
    "xhtml": b'"<div><a href=\\"JavaScript:x\\">y</a></div>"',
    "code": b'" a"',
    "id": b'"a_b"',
    "uri": b'"a b"',
    "url": b'""',
    "canonical": b'"a\\n"',
    "oid": b'"1.2.3"',
    "uuid": b'"urn:uuid:1"',
    "base64Binary": b'"QUJ"',
    "date": b'"2023-02-29"',
    "dateTime": b'"2024-02-29T10:00:00"',
    "instant": b'"2024-02-29"',
    "time": b'"24:00:00"',
}


@pytest.mark.parametrize("type_", PRIMITIVES)
def test_each_primitive_accepts_its_format_and_refuses_others(type_: str) -> None:
    assert PRIMITIVES[type_](read_json(RIGHT[type_])) is None
    assert PRIMITIVES[type_](read_json(WRONG[type_])) is not None
    others: list[Json] = [{}, [], None]
    for other in others:
        assert PRIMITIVES[type_](other) is not None


@pytest.mark.parametrize(
    "attack", ["<" + " " * 200_000, "<div>" + "<a on" * 50_000, "<div " + " on" * 100_000 + ">", "A" * 900_000]
)
def test_a_long_hostile_string_is_checked_in_linear_time(attack: str) -> None:
    for fault in PRIMITIVES.values():
        fault(attack)
        fault("<div>" + attack + "</div>")
