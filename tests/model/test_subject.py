"""Whose data a resource is."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_tracker.model.subject import id_of, patient_of

ANN = {"reference": "Patient/ann"}


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Patient", "id": "ann"},
        {"resourceType": "Condition", "subject": ANN},
        {"resourceType": "Immunization", "patient": ANN},
        {"resourceType": "Task", "for": ANN},
        {"resourceType": "Coverage", "beneficiary": ANN},
        {"resourceType": "Appointment", "participant": [{"actor": {"reference": "Practitioner/x"}}, {"actor": ANN}]},
        {"resourceType": "Task", "for": {"reference": "Patient/ann/_history/3"}},
    ],
)
def test_the_patient_is_found_where_each_type_keeps_it(resource: dict[str, Any]) -> None:
    assert patient_of(resource) == "ann"


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Patient", "id": 7},
        {"resourceType": "Organization", "id": "o"},
        {"resourceType": "Task", "for": {"reference": "Group/g"}},
        {"resourceType": "Task", "for": "Patient/ann"},
        {"resourceType": "Task", "for": {"reference": ["Patient/ann"]}},
        {"resourceType": "Task", "for": {"reference": "https://ehr.example.org/Patient/ann"}},
        {"resourceType": "Appointment", "participant": {"actor": None}},
    ],
)
def test_what_is_nobodys_has_no_patient(resource: dict[str, Any]) -> None:
    assert patient_of(resource) is None


@pytest.mark.parametrize(
    "text",
    [None, "", "Patient", "Patient/", "Patient/a b", "Patient/" + "x" * 65, "Patient?x=1", "Patients/a", "Patient/a/b"],
)
def test_only_a_relative_reference_to_the_type_has_an_id(text: str | None) -> None:
    assert id_of(text, "Patient") is None
