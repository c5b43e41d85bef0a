"""Oracle Health: no Tasks, windows of visits, and of an Appointment only the status goes back."""

from __future__ import annotations

from fhir_tracker.unmapped import unmapped_in
from mappings import mapping_named
from tests.mappings.fixtures import SOURCE, sent_by, source

ORACLE = mapping_named("oracle_health")
SENT = sent_by("oracle_health")


def test_a_visit_with_a_code_of_its_own_and_one_of_snomed_is_named_for_its_own() -> None:
    here = ORACLE.to_tracker(SENT["Appointment"], SOURCE)
    assert [code.rpartition("|")[2] for _, code in unmapped_in(here)] == ["4047611"]


def test_a_code_that_leads_to_one_that_is_there_adds_nothing() -> None:
    assert ORACLE.to_tracker(SENT["Appointment"], source())["serviceType"] == (SENT["Appointment"]["serviceType"])


def test_a_cancelled_visit_names_its_reason() -> None:
    told = [table for table, _ in unmapped_in(ORACLE.to_tracker(SENT["Appointment-cancelled"], SOURCE))]
    assert sorted(told) == ["appointment-type", "reason"]


def test_visits_are_read_in_windows_and_care_teams_are_compared() -> None:
    assert "Task" not in ORACLE.wanted
    assert ORACLE.strategy_hints["Appointment"].strategy == "windowed"
    assert ORACLE.strategy_hints["CareTeam"].strategy == "roster"
    assert ORACLE.strategy_hints["CarePlan"].query == "category=assess-plan"


def test_a_visit_cancelled_here_goes_as_cancelled_with_its_references_back() -> None:
    here = ORACLE.to_tracker(SENT["Appointment"], source()) | {"status": "cancelled"}
    back = ORACLE.to_ehr(here, source())
    assert back is not None
    assert back["status"] == "cancelled"
    assert back["participant"] == SENT["Appointment"]["participant"]
    assert (ORACLE.writes["Appointment"], ORACLE.writes["Task"]) == ("status", "communication")
