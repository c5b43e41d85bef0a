"""Epic: visit types and reasons are codes of the site, Tasks come and only their status goes."""

from __future__ import annotations

from fhir_tracker.unmapped import unmapped_in
from mappings import mapping_named
from tests.mappings.fixtures import SOURCE, sent_by, source

EPIC = mapping_named("epic")
SENT = sent_by("epic")
OFFICE_VISIT = "urn:oid:1.2.840.114350.1.13.0.1.7.3.808267.11|1004"


def test_a_visit_type_of_the_site_is_kept_and_named_as_unmapped() -> None:
    here = EPIC.to_tracker(SENT["Appointment"], SOURCE)
    assert list(unmapped_in(here)) == [("appointment-type", OFFICE_VISIT)]
    assert here["serviceType"][0]["coding"][0]["code"] == "1004"


def test_a_visit_type_that_the_practice_explained_is_the_program_s_service() -> None:
    here = EPIC.to_tracker(SENT["Appointment"], source())
    assert not list(unmapped_in(here))
    assert [one["code"] for one in here["serviceType"][0]["coding"]] == ["tcm-visit", "1004"]
    assert EPIC.to_ehr(here, source()) is None


def test_a_reason_of_the_site_is_named_and_never_guessed() -> None:
    told = [table for table, _ in unmapped_in(EPIC.to_tracker(SENT["Appointment-cancelled"], SOURCE))]
    assert sorted(told) == ["appointment-type", "reason"]
    assert [table for table, _ in unmapped_in(EPIC.to_tracker(SENT["Task"], SOURCE))] == ["reason"]


def test_everything_of_a_patient_is_asked_for_patient_by_patient() -> None:
    hints = EPIC.strategy_hints
    assert {hints[type_].strategy for type_ in ("Patient", "Task", "CareTeam", "Appointment")} == {"roster"}
    assert hints["CarePlan"].query == "category=assess-plan"
    assert hints["Practitioner"].strategy == "none"


def test_a_task_is_updated_in_its_status_and_a_plan_is_not_written() -> None:
    assert EPIC.writes["Task"] == "status"
    assert EPIC.to_ehr({"resourceType": "CarePlan", "id": "clinic-1"}, SOURCE) is None
    back = EPIC.to_ehr(
        {
            "resourceType": "Task",
            "id": "clinic-eK3",
            "extension": [
                {"url": "https://fhir-tracker.example/StructureDefinition/hold-until", "valueDateTime": "2026-03-09"},
                {"url": "urn:theirs", "valueCode": "x"},
            ],
            "for": {"reference": "Patient/clinic-eAB"},
        },
        SOURCE,
    )
    assert back == {
        "resourceType": "Task",
        "id": "eK3",
        "extension": [{"url": "urn:theirs", "valueCode": "x"}],
        "for": {"reference": "Patient/eAB"},
    }
