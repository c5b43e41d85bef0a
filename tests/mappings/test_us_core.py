"""US Core servers: the published examples come and go as they are."""

from __future__ import annotations

from mappings import mapping_named
from tests.mappings.fixtures import SOURCE, sent_by

US_CORE = mapping_named("us_core")


def test_the_published_plan_has_its_category_and_its_patient_here() -> None:
    here = US_CORE.to_tracker(sent_by("us_core")["CarePlan-colonoscopy"], SOURCE)
    assert here["category"][0]["coding"][0]["code"] == "assess-plan"
    assert here["subject"]["reference"] == "Patient/clinic-example"


def test_its_metadata_tell_how_it_is_asked_and_written() -> None:
    assert not US_CORE.strategy_hints
    assert not US_CORE.writes
