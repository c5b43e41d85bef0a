"""Extensions that R4 defines stand where they may, with the value and the parts that they are defined with.

https://hl7.org/fhir/R4/extensibility.html
"""

from __future__ import annotations

import pytest

from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.definitions.registry import extension_definition
from fhir_tracker.fhir.json_types import Json, Resource

R4 = "http://hl7.org/fhir/StructureDefinition/"
FORM: Resource = {"resourceType": "Questionnaire", "status": "draft"}
GERMAN: Resource = {
    "url": f"{R4}translation",
    "extension": [{"url": "lang", "valueCode": "de"}, {"url": "content", "valueString": "x"}],
}


def found(resource: Resource) -> list[tuple[str | None, str]]:
    return [(issue.expression, issue.code) for issue in check(resource)]


def of_patient(extension: Resource, **members: Json) -> list[tuple[str | None, str]]:
    return found({"resourceType": "Patient", "extension": [extension], **members})


def item(type_: str, extension: Resource, **members: Json) -> Resource:
    return FORM | {"item": [{"linkId": "1", "type": type_, "extension": [extension], **members}]}


def test_an_extension_stands_where_it_is_defined_to() -> None:
    place = {"url": f"{R4}patient-birthPlace", "valueAddress": {"text": "x"}}
    assert of_patient(place) == []
    assert found({"resourceType": "Person", "extension": [place]}) == [("Person.extension[0]", "structure")]


def test_an_extension_of_a_datatype_stands_wherever_the_type_does() -> None:
    prefix = {"url": f"{R4}humanname-own-prefix", "valueString": "x"}
    name = {"family": "x", "_family": {"extension": [prefix]}}
    assert found({"resourceType": "Patient", "name": [name]}) == []
    assert found({"resourceType": "Patient", "contact": [{"name": name}]}) == []
    wrong = found({"resourceType": "Patient", "name": [{"family": "x", "extension": [prefix]}]})
    assert wrong == [("Patient.name[0].extension[0]", "structure")]


def test_an_extension_of_any_element_stands_anywhere() -> None:
    why = {"url": f"{R4}data-absent-reason", "valueCode": "unknown"}
    assert found({"resourceType": "Patient", "_birthDate": {"extension": [why]}}) == []
    assert of_patient(why) == []


def test_a_choice_a_nested_item_and_a_contained_resource_are_followed() -> None:
    translated = {"valueString": "x", "_valueString": {"extension": [GERMAN]}}
    answered: Resource = {"linkId": "1", "answer": [translated]}
    response: Resource = {"resourceType": "QuestionnaireResponse", "status": "completed", "item": [answered]}
    assert found(response) == []
    inner: Resource = {
        "linkId": "2",
        "type": "string",
        "extension": [{"url": f"{R4}questionnaire-hidden", "valueBoolean": True}],
    }
    form = FORM | {"item": [{"linkId": "1", "type": "group", "item": [inner]}]}
    assert found(form) == []
    held: Resource = {
        "resourceType": "Patient",
        "id": "p",
        "extension": [{"url": f"{R4}patient-birthTime", "valueDateTime": "2026"}],
    }
    wrong = found({"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": "#p"}, "contained": [held]})
    assert wrong == [("Basic.contained[0].extension[0]", "structure")]


def test_a_resource_in_a_bundle_is_a_place_of_its_own() -> None:
    place: Resource = {"url": f"{R4}patient-birthPlace", "valueAddress": {"text": "x"}}
    person: Resource = {"resourceType": "Patient", "extension": [place]}
    entry: Resource = {"fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000001", "resource": person}
    assert found({"resourceType": "Bundle", "type": "collection", "entry": [entry]}) == []


@pytest.mark.parametrize(
    ("parts", "places"),
    [
        (GERMAN["extension"], []),
        (GERMAN["extension"][:1], [("", "required")]),
        ([*GERMAN["extension"], GERMAN["extension"][0]], [("", "structure")]),
        ([*GERMAN["extension"], {"url": "more", "valueCode": "x"}], [("[2].url", "structure")]),
        ([*GERMAN["extension"], {"url": "urn:example:more", "valueCode": "x"}], []),
        ([{"url": "lang", "valueString": "de"}, GERMAN["extension"][1]], [("[0].value", "structure")]),
    ],
    ids=["both", "one missing", "one twice", "an unknown one", "one of others", "another type"],
)
def test_the_parts_of_an_extension_are_those_it_is_defined_with(parts: Json, places: list[tuple[str, str]]) -> None:
    translated: Resource = {"extension": [{"url": GERMAN["url"], "extension": parts}]}
    code = {"resourceType": "Basic", "code": {"text": "x", "_text": translated}}
    where = "Basic.code.text.extension[0].extension"
    assert found(code) == [(where + place, kind) for place, kind in places]


def test_an_extension_with_a_value_has_no_parts() -> None:
    nested = {"url": f"{R4}patient-birthTime", "extension": [{"url": "urn:example:x", "valueString": "x"}]}
    person = {"resourceType": "Patient", "birthDate": "2026-01-01", "_birthDate": {"extension": [nested]}}
    where = "Patient.birthDate.extension[0]"
    assert found(person) == [(f"{where}.value", "required"), (f"{where}.extension", "structure")]


def test_a_rule_about_what_has_the_extension_is_asked() -> None:
    unit: Resource = {"url": f"{R4}questionnaire-unit", "valueCoding": {"code": "x"}}
    assert found(item("decimal", unit)) == []
    assert found(item("string", unit)) == [("Questionnaire.item[0].extension[0]", "invariant")]


def test_a_part_that_has_parts_is_known() -> None:
    history = extension_definition(f"{R4}codesystem-history")
    assert history is not None
    assert history.parts["revision"].parts


@pytest.mark.parametrize("name", ["extension", "modifierExtension"])
def test_the_parts_of_any_extension_have_plain_names(name: str) -> None:
    own: Resource = {"url": "http://example.org/own", "extension": [{"url": "part", "valueString": "x"}]}
    assert found({"resourceType": "Patient", name: [own]}) == []
    assert found({"resourceType": "Patient", name: [{"url": "part", "valueString": "x"}]}) == [
        (f"Patient.{name}[0].url", "value")
    ]
