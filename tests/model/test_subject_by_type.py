"""Whose data each R4 type is, by the paths of the patient compartment and of the search parameters `patient`.

https://hl7.org/fhir/R4/compartmentdefinition-patient.html
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fhir_tracker.fhir.definitions.registry import all_search_parameters
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.model.subject import id_of, patient_of

ANN: Resource = {"reference": "Patient/ann"}
BOB: Resource = {"reference": "Patient/bob"}
GROUP: Resource = {"reference": "Group/g"}

SUBJECT = """Account AdverseEvent Basic CarePlan CareTeam ChargeItem ClinicalImpression Communication CommunicationRequest
Composition Condition Contract DeviceRequest DeviceUseStatement DiagnosticReport DocumentManifest DocumentReference Encounter
Flag Goal GuidanceResponse ImagingStudy Invoice List MeasureReport Media MedicationAdministration MedicationDispense
MedicationRequest MedicationStatement Observation Procedure QuestionnaireResponse RequestGroup RiskAssessment ServiceRequest
Specimen""".split()
PATIENT = """AllergyIntolerance BodyStructure Claim ClaimResponse Consent CoverageEligibilityRequest
CoverageEligibilityResponse DetectedIssue Device EpisodeOfCare ExplanationOfBenefit FamilyMemberHistory Immunization
ImmunizationEvaluation ImmunizationRecommendation MolecularSequence NutritionOrder RelatedPerson SupplyDelivery
VisionPrescription""".split()
OTHER: Mapping[str, str] = {
    "Task": "for",
    "Coverage": "beneficiary",
    "EnrollmentRequest": "candidate",
    "ResearchSubject": "individual",
    "AppointmentResponse": "actor",
    "Schedule": "actor",
    "SupplyRequest": "deliverTo",
}
PLACES: Mapping[str, str] = {
    **dict.fromkeys(SUBJECT, "subject"),
    **dict.fromkeys(PATIENT, "patient"),
    **OTHER,
}
MANY = frozenset({"Account", "Contract", "Device", "Schedule"})
"""Types one of which may be about several: theirs is the first patient."""
OF_SEVERAL_PEOPLE = frozenset({"AuditEvent", "Group", "Person", "Provenance"})
"""What names patients only deeper, and any number of them, is nobody's: a viewer locked to one patient never sees it."""


def about(type_: str, value: Json) -> Resource:
    return {"resourceType": type_, "id": "x", PLACES[type_]: value}


def test_every_type_that_can_be_searched_by_patient_is_known_here() -> None:
    searched = {base for one in all_search_parameters().values() if one.code == "patient" for base in one.base}
    assert searched - set(PLACES) - OF_SEVERAL_PEOPLE - {"Appointment", "Patient"} == set()


@pytest.mark.parametrize("type_", sorted(PLACES))
def test_the_patient_is_found_where_the_type_keeps_it(type_: str) -> None:
    assert patient_of(about(type_, ANN)) == "ann"
    assert patient_of(about(type_, [ANN])) == "ann"
    assert patient_of(about(type_, {"reference": "Patient/ann/_history/7"})) == "ann"


@pytest.mark.parametrize("type_", sorted(PLACES))
def test_who_is_no_patient_of_this_server_owns_nothing(type_: str) -> None:
    strangers: list[Json] = [
        None,
        GROUP,
        {"display": "Ann"},
        {"identifier": {"value": "ann"}},
        {"reference": "https://ehr.example.org/fhir/Patient/ann"},
        {"reference": "urn:uuid:0199b2c4-7a4e-7c3f-9d2a-6f1f0f9c2f11"},
        {"reference": "#ann"},
        {"reference": "Patient?identifier=ann"},
        {"reference": {"reference": "Patient/ann"}},
        "Patient/ann",
        7,
        [],
        [None, "Patient/ann", 7],
    ]
    for stranger in strangers:
        assert patient_of(about(type_, stranger)) is None, stranger
        assert patient_of({"resourceType": type_, "id": "x"}) is None


@pytest.mark.parametrize("type_", sorted(MANY))
def test_of_several_the_first_patient_counts(type_: str) -> None:
    assert patient_of(about(type_, [GROUP, {"display": "?"}, BOB, ANN])) == "bob"


@pytest.mark.parametrize("type_", sorted(OF_SEVERAL_PEOPLE))
def test_what_may_name_any_number_of_people_is_nobodys(type_: str) -> None:
    bodies: dict[str, Resource] = {
        "AuditEvent": {"agent": [{"who": ANN}], "entity": [{"what": ANN}]},
        "Group": {"member": [{"entity": ANN}, {"entity": BOB}]},
        "Person": {"link": [{"target": ANN}]},
        "Provenance": {"target": [ANN, BOB]},
    }
    assert patient_of({"resourceType": type_, "id": "x"} | bodies[type_]) is None


def test_an_appointment_is_of_its_first_patient_whoever_else_takes_part() -> None:
    others: list[Resource] = [
        {"actor": {"reference": "Practitioner/p"}},
        {"actor": {"reference": "Location/l"}},
        {"actor": {"display": "An interpreter"}},
        {"type": []},
    ]
    for place in range(len(others) + 1):
        participants = [*others[:place], {"actor": BOB}, *others[place:], {"actor": ANN}]
        assert patient_of({"resourceType": "Appointment", "participant": participants}) == "bob"
    assert patient_of({"resourceType": "Appointment", "participant": others}) is None


def test_the_subject_outweighs_whoever_else_is_named() -> None:
    body: Resource = {
        "resourceType": "Encounter",
        "subject": BOB,
        "participant": [{"individual": {"reference": "Practitioner/p"}, "actor": ANN}],
        "actor": ANN,
    }
    assert patient_of(body) == "bob"
    assert patient_of(body | {"subject": GROUP}) == "ann"


@pytest.mark.parametrize(
    "type_", ["Organization", "Practitioner", "Location", "Slot", "Questionnaire", "PlanDefinition"]
)
def test_what_is_about_no_patient_is_nobodys(type_: str) -> None:
    assert patient_of({"resourceType": type_, "id": "ann"}) is None


@pytest.mark.parametrize(
    ("reference", "type_", "found"),
    [
        ("Patient/a", "Patient", "a"),
        ("Patient/a", "Group", None),
        ("Group/a", "Group", "a"),
        ("Patient/a.b-C.9", "Patient", "a.b-C.9"),
        ("Patient/a#part", "Patient", "a"),
        ("Patient/a/_history/2#part", "Patient", "a"),
        ("Patient/a/_history/", "Patient", None),
        ("/Patient/a", "Patient", None),
        ("patient/a", "Patient", None),
        ("Patient/a/", "Patient", None),
        ("Patient//a", "Patient", None),
        ("Patient/a\n", "Patient", None),
        (" Patient/a", "Patient", None),
        ("Patient/\u00e4", "Patient", None),
        ("Patient/" + "x" * 64, "Patient", "x" * 64),
        ("Patient/" + "x" * 65, "Patient", None),
    ],
)
def test_a_reference_has_an_id_only_when_it_is_one_of_this_server(
    reference: str, type_: str, found: str | None
) -> None:
    assert id_of(reference, type_) == found
