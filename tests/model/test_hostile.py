"""Every model is read from resources that may be wrong anywhere: any JSON at any element gives a value, never an error."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.model.event import EVENT_TYPES, event_of
from fhir_tracker.model.patient import summary_of
from fhir_tracker.model.plan import plan_facts, plan_item
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.model.subject import id_of, patient_of
from fhir_tracker.model.task import notes_of, task_item
from fhir_tracker.model.vocabulary import HOLD_UNTIL, PLAN_ANCHOR, PLAN_STAGE, program_named
from fhir_tracker.model.work import LONGEST, WorkItem
from fhir_tracker.rules.program_file import read_program
from tests.support.clinic import MONDAY, RING

PROGRAM = replace(read_program(RING), version=1)
WORDS = st.sampled_from(
    (
        "",
        "active",
        "2026-13-40",
        "2026-02",
        "Patient/x",
        "Task/",
        "|",
        "\ud800",
        "x" * 700,
        HOLD_UNTIL,
        PLAN_ANCHOR,
        PLAN_STAGE,
    )
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | WORDS | st.text(max_size=8)
NAMES = st.sampled_from(
    (
        "reference code coding system value text url extension start end period valueCode valueDateTime actor given family "
        "adjudication valueQuantity valueCodeableConcept comparator unit "
        "item answer linkId valueCoding valueDecimal valueInteger provision type "
        "attachment creation display name at"
    ).split()
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
ELEMENTS = {
    "Task": (
        "status businessStatus statusReason code description for basedOn focus performerType owner priority restriction "
        "authoredOn lastModified instantiatesCanonical extension note output input"
    ),
    "CarePlan": "status title subject author created period extension instantiatesCanonical category addresses",
    "AllergyIntolerance": "clinicalStatus verificationStatus code category patient onsetDateTime onsetPeriod encounter",
    "ClaimResponse": "status type patient created use outcome disposition preAuthRef item adjudication extension request",
    "Coverage": "status type beneficiary period",
    "DetectedIssue": "status code patient identifiedDateTime identifiedPeriod implicated",
    "Immunization": "status vaccineCode patient occurrenceDateTime recorded encounter",
    "MedicationRequest": "status medicationCodeableConcept category subject authoredOn encounter basedOn",
    "Procedure": "status code category subject performedDateTime performedPeriod encounter basedOn",
    "ChargeItem": "status code subject occurrencePeriod occurrenceDateTime service supportingInformation performer",
    "Consent": "status scope category patient subject dateTime provision",
    "DiagnosticReport": "status code category subject effectiveDateTime effectivePeriod issued encounter basedOn",
    "Patient": "name birthDate gender identifier telecom communication deceasedBoolean deceasedDateTime",
    "Communication": "status statusReason medium sent received basedOn about partOf subject sender note category topic extension",
    "Appointment": "status serviceType appointmentType specialty start end participant basedOn cancelationReason",
    "Encounter": "status class type subject period appointment serviceType",
    "DocumentReference": "status type category subject date content context description",
    "Observation": "status code category subject effectiveDateTime effectivePeriod effectiveInstant issued encounter "
    "valueQuantity valueInteger valueCodeableConcept interpretation component",
    "Condition": "clinicalStatus verificationStatus code category subject onsetDateTime onsetPeriod recordedDate encounter",
    "Flag": "status code category subject period",
    "QuestionnaireResponse": "status subject authored basedOn encounter questionnaire item",
    "ServiceRequest": "status code category subject authoredOn encounter basedOn",
}


def wrong(type_: str) -> st.SearchStrategy[Resource]:
    """A resource of that type with anything at all in any of its elements, or none of them."""
    elements = dict.fromkeys(ELEMENTS[type_].split(), ANYTHING)
    return st.fixed_dictionaries({"resourceType": st.just(type_), "id": st.just("x")}, optional=elements)


def well_formed(item: WorkItem) -> bool:
    texts = (item.ref, item.title, item.status, item.fhir_status, item.code, item.priority)
    moments = (item.due_at, item.hold_until, item.created_at, item.status_since)
    return (
        all(isinstance(one, str) for one in texts)
        and all(one is None or one.tzinfo is not None for one in moments)
        and all(
            len(one) <= LONGEST for one in (item.code, item.status, item.role or "", item.owner or "", item.focus or "")
        )
    )


def test_every_type_that_rules_see_is_tried() -> None:
    assert set(ELEMENTS) >= EVENT_TYPES


@given(resource=wrong("Task"), mirrored=st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_task_is_a_work_item(resource: Resource, mirrored: bool) -> None:
    for program in (None, PROGRAM):
        assert well_formed(task_item(resource, program, mirrored=mirrored, created_at=MONDAY))
    assert all(notes_of(resource))


@given(resource=wrong("CarePlan"))
@example(resource={"resourceType": "CarePlan", "id": "x", "status": "x" * 700, "author": {"reference": "y" * 3000}})
@settings(max_examples=100, deadline=None)
def test_any_plan_is_a_work_item_with_an_enrolment(resource: Resource) -> None:
    item = plan_item(resource, PROGRAM, created_at=MONDAY)
    assert well_formed(item)
    assert plan_facts(resource, item).anchors["enrolment"] == item.created_at


@given(resource=wrong("Patient"))
@settings(max_examples=100, deadline=None)
def test_any_patient_has_a_name_to_show(resource: Resource) -> None:
    found = summary_of(resource, "ehr")
    assert found.patient == "x"
    assert found.name


@pytest.mark.parametrize("type_", sorted(EVENT_TYPES))
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_resource_is_an_event_of_its_patient_or_none(type_: str, data: st.DataObject) -> None:
    resource = data.draw(wrong(type_))
    event = event_of(resource, seen_at=MONDAY)
    assert (event is None) == (patient_of(resource) is None)
    if event is not None:
        assert event.ref == f"{type_}/x"
        assert event.at.tzinfo is not None
        assert all(isinstance(one, str) for one in (*event.codes, *event.about, event.status, *event.detail.values()))


@given(text=st.text(max_size=60) | WORDS, value=ANYTHING)
@settings(max_examples=200, deadline=None)
def test_references_and_canonicals_of_any_kind_are_read_or_refused(text: str, value: Json) -> None:
    found = program_named(text)
    assert found is None or found[0]
    assert program_named(f"{CANONICAL}/PlanDefinition/ring|{text}") in (("ring", 1), None) or text.isdigit()
    assert id_of(text, "Patient") is None or text.startswith("Patient/")
    assert patient_of({"resourceType": "Basic", "subject": value, "participant": value}) != ""
