"""eClinicalWorks: neither Tasks nor appointments, patient by patient, 250 requests a minute."""

from __future__ import annotations

from fhir_tracker.model.allowance import read_allowance
from mappings import mapping_named
from tests.mappings.fixtures import SOURCE

ECW = mapping_named("ecw")


def test_it_is_asked_within_its_minute() -> None:
    allowance = read_allowance(ECW.budget)
    assert allowance is not None
    assert allowance.aligned


def test_there_are_no_tasks_and_no_visits_and_all_else_is_compared() -> None:
    assert not {"Task", "Appointment"} & set(ECW.wanted)
    assert ECW.strategy_hints["CarePlan"].strategy == "roster"


def test_work_stays_here() -> None:
    assert ECW.to_ehr({"resourceType": "Task", "id": "1", "status": "completed"}, SOURCE) is None
