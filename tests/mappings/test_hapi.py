"""HAPI FHIR: plain R4, numbers as ids, and everything can be written."""

from __future__ import annotations

from mappings import mapping_named
from tests.mappings.fixtures import SOURCE, sent_by

HAPI = mapping_named("hapi")


def test_its_metadata_tell_how_it_is_asked_and_written() -> None:
    assert not HAPI.strategy_hints
    assert not HAPI.writes
    assert HAPI.budget is None


def test_an_attempt_that_came_from_there_counts_with_the_tracker_s_outcome_and_channel() -> None:
    here = HAPI.to_tracker(sent_by("hapi")["Communication"], SOURCE)
    assert here["statusReason"]["coding"][0]["code"] == "no-answer"
    assert here["medium"][0]["coding"][0]["code"] == "phone"
    assert here["about"] == [{"reference": "Task/clinic-1003"}]


def test_work_made_here_goes_with_all_its_extensions() -> None:
    task = {
        "resourceType": "Task",
        "id": "0190",
        "extension": [{"url": "https://fhir-tracker.example/x", "valueCode": "y"}],
    }
    back = HAPI.to_ehr(task, SOURCE)
    assert back == {name: one for name, one in task.items() if name != "id"}
