"""References, codings, identifiers, extensions, contained resources and Bundles are checked beyond their shape.

https://hl7.org/fhir/R4/references.html
"""

from __future__ import annotations

import pytest

from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.checks_shapes import is_language
from fhir_tracker.fhir.json_types import Json, Resource

R4 = "http://hl7.org/fhir/StructureDefinition/"
CLINIC: Resource = {"resourceType": "Organization", "id": "o", "name": "Synthetic clinic"}
PERSON: Resource = {"resourceType": "Practitioner", "id": "d"}
AT_CLINIC = {"reference": "#o"}


def found(**members: Json) -> list[tuple[str | None, str]]:
    """Place and code of what is wrong with a Patient of these members."""
    return issues({"resourceType": "Patient", **members})


def issues(resource: Resource) -> list[tuple[str | None, str]]:
    return [(issue.expression, issue.code) for issue in check(resource)]


def test_a_contained_resource_has_an_id_of_its_own() -> None:
    assert found(contained=[CLINIC], managingOrganization=AT_CLINIC) == []
    nameless = {name: value for name, value in CLINIC.items() if name != "id"}
    assert ("Patient.contained[0].id", "required") in found(contained=[nameless])
    assert ("Patient.contained[1].id", "value") in found(contained=[CLINIC, CLINIC], managingOrganization=AT_CLINIC)
    assert ("Patient.contained[0].id", "value") in found(contained=[CLINIC | {"id": "#o"}])


def test_a_local_reference_leads_to_a_contained_resource_of_an_allowed_type() -> None:
    wrong = found(contained=[PERSON], managingOrganization={"reference": "#d"})
    assert wrong == [("Patient.managingOrganization.reference", "structure")]
    assert found(managingOrganization={"reference": "#gone"}) == [("Patient.managingOrganization", "invariant")]
    assert found(managingOrganization={"reference": "#"}) == [("Patient.managingOrganization.reference", "value")]
    part = CLINIC | {"partOf": {"reference": "#"}}
    assert found(contained=[part]) == [("Patient.contained[0].partOf.reference", "structure")]


def test_a_urn_has_no_blank() -> None:
    urn = "urn:uuid:00000000-0000-4000-8000-000000000000"
    assert found(managingOrganization={"reference": urn}) == []
    assert found(managingOrganization={"reference": f"{urn} "}) == [("Patient.managingOrganization.reference", "value")]


def test_a_system_without_a_code_is_wrong_in_a_concept_only() -> None:
    system = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"
    assert found(maritalStatus={"coding": [{"system": system}]}) == [
        ("Patient.maritalStatus.coding[0]", "code-invalid")
    ]
    visit: Resource = {"resourceType": "Encounter", "status": "planned", "class": {"system": system}}
    assert issues(visit) == []


def test_a_canonical_within_the_resource_leads_somewhere() -> None:
    asked: Resource = {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": "#q"}
    form: Resource = {"resourceType": "Questionnaire", "id": "q", "status": "active"}
    assert issues(asked) == [("QuestionnaireResponse.questionnaire", "value")]
    assert issues(asked | {"contained": [form]}) == []
    assert issues(asked) == [("QuestionnaireResponse.questionnaire", "value")]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"reference": "Organization/1", "type": "Organization"}, []),
        ({"type": "Organization", "identifier": {"value": "x"}}, []),
        ({"type": "Nope"}, [("Patient.managingOrganization.type", "code-invalid")]),
        ({"reference": "Organization/1", "type": "Practitioner"}, [("Patient.managingOrganization.type", "structure")]),
        ({"type": R4 + "Organization"}, [("Patient.managingOrganization.type", "code-invalid")]),
        ({"reference": "Practitioner/1"}, [("Patient.managingOrganization.reference", "structure")]),
        ({"reference": "a b"}, [("Patient.managingOrganization.reference", "value")]),
        ({"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}, []),
    ],
)
def test_the_type_of_a_reference_is_one_of_its_targets(reference: Json, expected: Json) -> None:
    assert found(managingOrganization=reference) == expected


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ({"system": "urn:oid:1.2.36.146", "value": "x"}, []),
        ({"system": "mrn", "value": "x"}, [("Patient.identifier[0].system", "value")]),
        ({"system": "urn:oid:9.1", "value": "x"}, [("Patient.identifier[0].system", "value")]),
        ({"system": "urn:ietf:rfc:3986", "value": "urn:uuid:x"}, []),
        ({"system": "urn:ietf:rfc:3986", "value": "x"}, [("Patient.identifier[0].value", "value")]),
    ],
)
def test_the_system_of_an_identifier_is_absolute(identifier: Json, expected: Json) -> None:
    assert found(identifier=[identifier]) == expected


def test_an_element_has_an_id_of_its_own() -> None:
    assert found(name=[{"id": "a", "text": "x"}, {"id": "b", "text": "y"}]) == []
    assert found(name=[{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]) == [("Patient.name[1].id", "value")]
    inner = CLINIC | {"contact": [{"id": "a", "name": {"text": "x"}}]}
    assert found(name=[{"id": "a", "text": "x"}], contained=[inner], managingOrganization=AT_CLINIC) == []


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        ({"url": R4 + "patient-birthPlace", "valueAddress": {"text": "x"}}, []),
        ({"url": R4 + "patient-birthPlace", "valueString": "x"}, [("Patient.extension[0].value", "structure")]),
        ({"url": R4 + "data-absent-reason", "valueCode": "unknown"}, []),
        ({"url": R4 + "data-absent-reason", "valueCode": "x"}, [("Patient.extension[0].value", "code-invalid")]),
        ({"url": R4 + "patient-nationality", "valueString": "x"}, [("Patient.extension[0].value", "structure")]),
        ({"url": R4 + "nobody-knows-it", "valueString": "x"}, []),
        ({"url": "plain", "valueString": "x"}, [("Patient.extension[0].url", "value")]),
        ({"url": "http://x.example/a", "extension": [{"url": "plain", "valueString": "x"}]}, []),
    ],
)
def test_an_extension_that_r4_defines_has_the_value_it_defines(extension: Json, expected: Json) -> None:
    assert found(extension=[extension]) == expected


def test_an_extension_that_changes_no_meaning_is_no_modifier() -> None:
    extension = {"url": R4 + "data-absent-reason", "valueCode": "unknown"}
    assert found(modifierExtension=[extension]) == [("Patient.modifierExtension[0]", "structure")]


SYSTEM = "http://hl7.org/fhir/CodeSystem/task-code"


@pytest.mark.parametrize(
    ("coding", "expected"),
    [
        ({"system": SYSTEM, "code": "approve"}, []),
        ({"system": SYSTEM, "code": "nope"}, [("Task.code.coding[0].code", "code-invalid")]),
        ({"system": SYSTEM, "display": "Approve"}, [("Task.code.coding[0]", "code-invalid")]),
        ({"system": "http://snomed.info/sct", "code": "nope"}, []),
        ({"code": "nope"}, []),
    ],
)
def test_a_code_of_a_system_that_r4_lists_is_in_the_list(coding: Json, expected: Json) -> None:
    task: Resource = {"resourceType": "Task", "status": "requested", "intent": "order", "code": {"coding": [coding]}}
    assert issues(task) == expected


def test_a_code_that_its_system_does_not_have_is_judged_in_every_type_and_refused_in_our_own() -> None:
    system = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"
    person: Resource = {"resourceType": "Patient", "maritalStatus": {"coding": [{"system": system, "code": "nope"}]}}
    judged = [issue.expression for issue in check(person, warnings=True) if issue.severity == "error"]
    assert judged == ["Patient.maritalStatus.coding[0].code"]
    assert check(person) == ()


@pytest.mark.parametrize(
    "tag", ["en", "en-US", "es-MX", "zh-Hant", "haw", "sl-rozaj-biske", "de-1996", "x-own", "en-a-bbb", "EN"]
)
def test_a_language_tag_is_accepted(tag: str) -> None:
    assert is_language(tag)
    assert found(language=tag) == []


@pytest.mark.parametrize("tag", ["english", "en_US", "xx", "e", "no-such-code", "en-", "-en", "en--us", "words words"])
def test_what_is_no_language_tag_is_refused(tag: str) -> None:
    assert not is_language(tag)
    assert found(language=tag) == [("Patient.language", "code-invalid")]


def test_a_currency_is_one_of_iso_4217() -> None:
    invoice: Resource = {"resourceType": "Invoice", "status": "draft"}
    assert issues(invoice | {"totalNet": {"value": 1, "currency": "USD"}}) == []
    assert issues(invoice | {"totalNet": {"value": 1, "currency": "usd"}}) == [
        ("Invoice.totalNet.currency", "code-invalid")
    ]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"fullUrl": "http://x.example/fhir/Patient/1"}, []),
        ({"fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}, []),
        ({"fullUrl": "http://x.example/fhir/Patient/2"}, [("Bundle.entry[0].fullUrl", "value")]),
        ({"fullUrl": "http://x.example/fhir/Group/1"}, [("Bundle.entry[0].fullUrl", "value")]),
        ({"fullUrl": "Patient/1"}, [("Bundle.entry[0].fullUrl", "value")]),
        ({}, [("Bundle.entry[0].fullUrl", "required")]),
    ],
)
def test_the_full_url_of_an_entry_is_that_of_its_resource(entry: Json, expected: Json) -> None:
    resource = {"resourceType": "Patient", "id": "1"}
    bundle: Resource = {"resourceType": "Bundle", "type": "collection", "entry": [entry | {"resource": resource}]}
    assert issues(bundle) == expected


def test_each_resource_of_a_bundle_has_what_it_contains_itself() -> None:
    patient: Resource = {"resourceType": "Patient", "id": "1", "contained": [CLINIC], "managingOrganization": AT_CLINIC}
    other = patient | {"id": "2", "contained": [CLINIC | {"id": "p"}]}
    entries = [{"fullUrl": f"http://x.example/Patient/{one['id']}", "resource": one} for one in (patient, other)]
    wrong = issues({"resourceType": "Bundle", "type": "collection", "entry": entries})
    assert ("Bundle.entry[1].resource.managingOrganization", "invariant") in wrong
    assert not [place for place, _ in wrong if place and place.startswith("Bundle.entry[0]")]


def test_the_arrays_beside_each_other_are_told_apart() -> None:
    why = {"extension": [{"url": "http://x.example/why", "valueString": "x"}]}
    assert found(name=[{"given": ["A", None], "_given": [None, why]}]) == []
    assert found(name=[{"given": ["A"], "_given": [None, why]}]) == []
    assert found(name=[{"given": ["A"], "_given": [None, None]}]) == [("Patient.name[0].given[1]", "structure")]
    assert found(name=[{"given": ["A", None], "_given": [why]}]) == [("Patient.name[0].given[1]", "value")]
    assert found(name=[{"given": ["A"], "_given": why}]) == [("Patient.name[0].given", "structure")]
    assert found(name=[{"given": ["A"], "_given": [5]}]) == [("Patient.name[0].given[0]", "structure")]


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ({"reference": "Patient/p", "display": ""}, "Task.owner.display"),
        ({"reference": "Patient/p", "display": 1}, "Task.owner.display"),
        ({"reference": "Patient/p", "text": "x"}, "Task.owner"),
        ({"reference": "Observation/o"}, "Task.owner.reference"),
        ({"reference": "Observation/o", "display": "made up"}, "Task.owner.reference"),
        ({"reference": "Patient/p", "identifier": {"system": "x"}}, "Task.owner.identifier.system"),
        ({"reference": ""}, "Task.owner.reference"),
        ({"reference": "#none"}, "Task.owner"),
    ],
)
def test_a_reference_that_says_little_is_checked_as_any(reference: dict[str, object], place: str) -> None:
    task = {"resourceType": "Task", "status": "draft", "intent": "order"}
    assert check(task | {"owner": {"reference": "Patient/p", "display": "made up"}}) == ()
    assert place in [issue.expression for issue in check(task | {"owner": reference})]
