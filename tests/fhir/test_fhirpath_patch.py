"""FHIRPath Patch: each kind of operation on small resources, and what a patch cannot do."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from fhir_tracker.errors import Incorrect, RuleBroken, TooLarge
from fhir_tracker.fhir.body import read_json, write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.patch.fhirpath_patch import apply

Body = dict[str, Any]
PATIENT: Body = {"resourceType": "Patient"}
LISTED: Body = PATIENT | {"identifier": [{"value": "1"}, {"value": "2"}, {"value": "3"}]}


def part(name: str, value: Any) -> Body:
    if isinstance(value, dict):
        return {"name": name, **value}
    if isinstance(value, int):
        return {"name": name, "valueInteger": value}
    return {"name": name, ("valueCode" if name == "type" else "valueString"): value}


def op(type_: str, path: str, **parts: Any) -> Body:
    given = [part("type", type_), part("path", path), *(part(name, value) for name, value in parts.items())]
    return {"name": "operation", "part": given}


def patched(resource: Body, *operations: Body) -> Body:
    before = copy.deepcopy(resource)
    found = apply(resource, {"resourceType": "Parameters", "parameter": list(operations)})
    assert before == resource
    return found


@pytest.mark.parametrize(
    ("before", "operation", "after"),
    [
        ({"birthDate": "1920"}, op("replace", "Patient.birthDate", value={"valueDate": "1930"}), {"birthDate": "1930"}),
        ({"birthDate": "1920"}, op("delete", "Patient.birthDate"), {}),
        ({}, op("delete", "Patient.birthDate"), {}),
        ({}, op("delete", "Patient.name[3].given"), {}),
        ({}, op("add", "Patient", name="birthDate", value={"valueDate": "1930"}), {"birthDate": "1930"}),
        (
            {"contact": [{"name": {"text": "a"}, "gender": "male"}]},
            op("replace", "Patient.contact[0].gender", value={"valueCode": "female"}),
            {"contact": [{"name": {"text": "a"}, "gender": "female"}]},
        ),
        (
            {"contact": [{"name": {"text": "a"}, "gender": "male"}]},
            op("delete", "Patient.contact[0].name.text"),
            {"contact": [{"gender": "male"}]},
        ),
        ({"contact": [{"name": {"text": "a"}}]}, op("delete", "Patient.contact[0].name.text"), {}),
        (
            {"contact": [{"name": {"text": "a"}}]},
            op("add", "Patient.contact[0]", name="gender", value={"valueCode": "male"}),
            {"contact": [{"name": {"text": "a"}, "gender": "male"}]},
        ),
        (
            {},
            op("add", "Patient", name="maritalStatus", value={"valueCodeableConcept": {"text": "married"}}),
            {"maritalStatus": {"text": "married"}},
        ),
        (
            {"maritalStatus": {"id": "1", "text": "married"}},
            op("replace", "Patient.maritalStatus", value={"valueCodeableConcept": {"id": "2", "text": "not"}}),
            {"maritalStatus": {"id": "2", "text": "not"}},
        ),
        (
            {},
            op("add", "Patient", name="contact", value={"part": [{"name": "name", "valueHumanName": {"text": "a"}}]}),
            {"contact": [{"name": {"text": "a"}}]},
        ),
        ({"contact": [{"name": {"text": "a"}}]}, op("delete", "Patient.contact[0]"), {}),
        (
            {"name": [{"family": "a"}]},
            op("add", "Patient", name="name", value={"valueHumanName": {"family": "b"}}),
            {"name": [{"family": "a"}, {"family": "b"}]},
        ),
        ({"deceasedBoolean": True}, op("delete", "Patient.deceased"), {}),
        (
            {"deceasedBoolean": True},
            op("replace", "Patient.deceased", value={"valueDateTime": "2020"}),
            {"deceasedDateTime": "2020"},
        ),
        ({}, op("add", "Patient", name="deceased", value={"valueBoolean": False}), {"deceasedBoolean": False}),
        ({}, op("add", "Patient", name="deceasedBoolean", value={"valueBoolean": True}), {"deceasedBoolean": True}),
        (
            {"name": [{"given": ["a", "b"]}]},
            op("replace", "Patient.name.given[1]", value={"valueString": "c"}),
            {"name": [{"given": ["a", "c"]}]},
        ),
        (
            {"name": [{"given": ["a", "b"]}]},
            op("insert", "Patient.name[0].given", index=0, value={"valueString": "c"}),
            {"name": [{"given": ["c", "a", "b"]}]},
        ),
        (
            {"name": [{"family": "a", "use": "old"}, {"family": "b", "use": "usual"}]},
            op("replace", "Patient.name.where(use = 'usual').family", value={"valueString": "c"}),
            {"name": [{"family": "a", "use": "old"}, {"family": "c", "use": "usual"}]},
        ),
        (
            {"telecom": [{"value": "(1) 2"}, {"value": "x"}]},
            op("delete", "Patient.telecom.where(value = '(1) 2' and value.exists())"),
            {"telecom": [{"value": "x"}]},
        ),
        (
            {"extension": [{"url": "http://a", "valueString": "x"}, {"url": "http://b", "valueInteger": 1}]},
            op("replace", "Patient.extension('http://b').value", value={"valueString": "y"}),
            {"extension": [{"url": "http://a", "valueString": "x"}, {"url": "http://b", "valueString": "y"}]},
        ),
        ({"active": True}, op("replace", "active", value={"valueBoolean": False}), {"active": False}),
        ({"active": True}, op("delete", "%resource.active.first()"), {}),
        (
            {"birthDate": "1920"},
            op("add", "Patient.birthDate", name="extension", value={"valueString": "x"}),
            {"birthDate": "1920", "_birthDate": {"extension": ["x"]}},
        ),
    ],
)
def test_each_operation_changes_what_its_path_names(before: Body, operation: Body, after: Body) -> None:
    assert patched(PATIENT | before, operation) == PATIENT | after


@pytest.mark.parametrize(
    ("operation", "order"),
    [
        (op("insert", "Patient.identifier", index=3, value={"valueIdentifier": {"value": "n"}}), "123n"),
        (op("insert", "Patient.identifier", index=0, value={"valueIdentifier": {"value": "n"}}), "n123"),
        (op("delete", "Patient.identifier[1]"), "13"),
        (op("delete", "Patient.identifier.last()"), "12"),
        (op("delete", "Patient.identifier.where(value = '2')"), "13"),
        (op("move", "Patient.identifier", source=2, destination=0), "312"),
        (op("move", "Patient.identifier", source=0, destination=2), "231"),
        (op("move", "Patient.identifier", source=1, destination=1), "123"),
    ],
)
def test_lists_keep_their_order(operation: Body, order: str) -> None:
    assert "".join(one["value"] for one in patched(LISTED, operation)["identifier"]) == order


def test_operations_see_what_those_before_them_did_and_none_is_nothing() -> None:
    assert patched(LISTED) == LISTED
    found = patched(
        LISTED,
        op("delete", "Patient.identifier[0]"),
        op("replace", "Patient.identifier[0].value", value={"valueString": "x"}),
        op("add", "Patient.identifier[0]", name="system", value={"valueUri": "urn:s"}),
    )
    assert found["identifier"] == [{"value": "x", "system": "urn:s"}, {"value": "3"}]


def test_work_is_patched_by_its_codes() -> None:
    task: Body = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "input": [{"type": {"text": "a"}, "valueString": "x"}, {"type": {"text": "b"}, "valueInteger": 1}],
    }
    new = {"part": [{"name": "type", "valueCodeableConcept": {"text": "c"}}, {"name": "value", "valueBoolean": True}]}
    found = patched(
        task,
        op("replace", "Task.status", value={"valueCode": "accepted"}),
        op("replace", "Task.input.where(type.text = 'a').value", value={"valueInteger": 2}),
        op(
            "replace",
            "Task.input.where(value.ofType(integer) = 1)[0].type",
            value={"valueCodeableConcept": {"text": "d"}},
        ),
        op("add", "Task", name="output", value=new),
    )
    assert check(found) == ()
    assert found["input"][0] == {"type": {"text": "a"}, "valueInteger": 2}
    assert found["input"][1]["type"] == {"text": "d"}
    assert found["output"] == [{"type": {"text": "c"}, "valueBoolean": True}]


def test_extensions_of_primitives_stay_beside_their_values() -> None:
    mark = {"extension": [{"url": "http://a", "valueString": "x"}]}
    listed = PATIENT | {
        "name": [{"given": ["a", "b"], "_given": [None, mark]}],
        "birthDate": "2000",
        "_birthDate": mark,
    }
    moved = patched(listed, op("move", "Patient.name[0].given", source=1, destination=0))
    assert moved["name"][0] == {"given": ["b", "a"], "_given": [mark, None]}
    added = patched(
        listed, op("insert", "Patient.name[0].given", index=1, value={"valueString": "c", "_valueString": mark})
    )
    assert added["name"][0] == {"given": ["a", "c", "b"], "_given": [None, mark, mark]}
    cut = patched(
        listed, op("delete", "Patient.name[0].given[1]"), op("delete", "Patient.birthDate.extension('http://a')")
    )
    assert cut == PATIENT | {"name": [{"given": ["a"]}], "birthDate": "2000"}
    assert patched(listed, op("replace", "Patient.birthDate", value={"valueDate": "2001"}))["birthDate"] == "2001"
    assert "_birthDate" not in patched(listed, op("replace", "Patient.birthDate", value={"valueDate": "2001"}))


def test_contained_resources_can_be_reached_and_added() -> None:
    held: Body = {"resourceType": "Organization", "id": "o", "name": "x"}
    with_it = patched(PATIENT, op("add", "Patient", name="contained", value={"resource": held}))
    assert with_it["contained"] == [held]
    renamed = patched(with_it, op("replace", "Patient.contained.where(id = 'o').name", value={"valueString": "y"}))
    assert renamed["contained"][0]["name"] == "y"


@pytest.mark.parametrize(
    "operation",
    [
        op("replace", "Patient.birthDate", value={"valueDate": "1930"}),
        op("replace", "Patient.identifier", value={"valueIdentifier": {"value": "x"}}),
        op("delete", "Patient.identifier"),
        op("delete", "Patient"),
        op("replace", "Patient", value={"resource": PATIENT}),
        op("add", "Patient.name", name="family", value={"valueString": "x"}),
        op("add", "Patient", name="active", value={"valueBoolean": True}),
        op("add", "Patient", name="colour", value={"valueString": "x"}),
        op("add", "Patient", name="deceased", value={"valueString": "x"}),
        op("insert", "Patient.identifier", index=4, value={"valueIdentifier": {"value": "x"}}),
        op("insert", "Patient.active", index=0, value={"valueBoolean": True}),
        op("move", "Patient.identifier", source=3, destination=0),
        op("move", "Patient.identifier", source=0, destination=3),
        op("move", "Patient.contact[0].telecom", source=0, destination=0),
    ],
)
def test_what_cannot_be_done_names_its_operation(operation: Body) -> None:
    with pytest.raises(RuleBroken, match=r"Operation 1 \("):
        patched(LISTED | {"active": True}, op("delete", "Patient.birthDate"), operation)


@pytest.mark.parametrize(
    "operation",
    [
        {},
        {"name": "other"},
        {"name": "operation"},
        op("test", "Patient.active"),
        op("replace", "Patient.active"),
        op("add", "Patient", value={"valueString": "x"}),
        op("insert", "Patient.identifier", index=-1, value={"valueIdentifier": {}}),
        op("insert", "Patient.identifier", index={"valueString": "0"}, value={"valueIdentifier": {}}),
        op("insert", "Patient.identifier[0]", index=0, value={"valueIdentifier": {}}),
        op("delete", ""),
        op("delete", "Patient.colour"),
        op("delete", "Patient.identifier[x]"),
        op("delete", "Patient.identifier.where(value = "),
        op("delete", "Patient.identifier.where(value value)"),
        op("delete", "Patient.identifier.where()"),
        op("delete", "Patient.identifier.where(value.matches('(a+)+$'))"),
        op("delete", "Patient.descendants()"),
        op("delete", "Patient.identifier | Patient.name"),
        op("delete", "%patient.name"),
        op("delete", "Patient.identifier.value + 'x'"),
        op("delete", "(Patient.identifier"),
        op("delete", "Patient..identifier"),
        op("delete", "x" * 3000),
        op("replace", "Patient.active", value={"valueNothing": 1}),
        op("replace", "Patient.active", value={"valueString": "a", "valueCode": "b"}),
        op("add", "Patient", name="contact", value={"part": [{"name": "colour", "valueString": "x"}]}),
        {"name": "operation", "part": [part("type", "delete"), {"name": "path", "valueInteger": 1}]},
    ],
)
def test_what_is_no_operation_is_incorrect(operation: Body) -> None:
    with pytest.raises(Incorrect) as refused:
        patched(LISTED | {"active": True}, operation)
    assert not isinstance(refused.value, RuleBroken), refused.value.message


def test_a_patch_is_bounded_in_operations_growth_and_filters() -> None:
    with pytest.raises(TooLarge):
        patched(PATIENT, *[op("delete", "Patient.active")] * 501)
    big = PATIENT | {"identifier": [{"value": "x" * 1000 + str(number)} for number in range(2000)]}
    begun = time.process_time()
    with pytest.raises(TooLarge):
        patched(big, *[op("delete", "Patient.identifier.where(value = 'x')")] * 400)
    assert time.process_time() - begun < 20


def test_numbers_stay_as_they_were_written() -> None:
    body = read_json(b'{"resourceType":"Observation","valueQuantity":{"value":1.00},"component":[{"valueInteger":1}]}')
    given = read_json(
        b'{"name":"operation","part":[{"name":"type","valueCode":"replace"},'
        b'{"name":"path","valueString":"(Observation.value as Quantity).value"},'
        b'{"name":"value","valueDecimal":2.50e1}]}'
    )
    assert write_json(patched(body, given)) == (
        '{"resourceType":"Observation","valueQuantity":{"value":2.50e1},"component":[{"valueInteger":1}]}'
    )
