"""Behavioral health integration: consent, a form whose answers count, thoughts of self-harm, and no response."""

from __future__ import annotations

from datetime import datetime

import pytest

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import CONSENT, condition, document, local, patient
from tests.scenarios.practice import Practice, due
from tests.support.clinic import PROVIDER

DEPRESSION = "370143000"
ITEMS = ("44250-9", "44255-8", "44259-0", "44254-1", "44251-7", "44258-2", "44252-5", "44253-3", "44260-8")
ANSWERS = ("Not at all", "Several days", "More than half the days", "Nearly every day")


def phq9(id_: str, at: datetime, *weights: int) -> Resource:
    """A filled-in form as a portal sends it, with LOINC's links."""
    return {
        "resourceType": "QuestionnaireResponse",
        "id": id_,
        "status": "completed",
        "questionnaire": "http://loinc.org/q/44249-1",
        "subject": {"reference": "Patient/kim"},
        "authored": at.isoformat(),
        "item": [
            {"linkId": f"/{link}", "answer": [{"valueCoding": {"display": ANSWERS[weight]}}]}
            for link, weight in zip(ITEMS, weights, strict=True)
        ],
    }


@pytest.fixture
def practice(database: Database) -> Practice:
    """Kim qualifies on Monday 5 January at 9."""
    practice = Practice(database, local("2026-01-05 08:00"), ("behavioral-health",))
    practice.ehr(local("2026-01-05 09:00"), patient("kim"), condition("c1", "kim", DEPRESSION))
    practice.accept("kim", local("2026-01-05 09:00"))
    return practice


def stage(practice: Practice) -> str:
    return practice.plans("kim")[0].status


def test_consent_and_a_filled_in_form_begin_the_treatment(practice: Practice) -> None:
    assert sorted(practice.todo("kim")) == ["assessment", "care-plan", "consent", "contact"]
    practice.ehr(local("2026-01-08 09:00"), document("d", "kim", local("2026-01-08 08:30"), code=CONSENT))
    assert stage(practice) == "consenting"
    practice.ehr(local("2026-01-12 09:00"), phq9("q1", local("2026-01-12 08:45"), 2, 2, 2, 1, 1, 1, 2, 0, 0))
    practice.until(local("2026-01-12 09:01"))
    assert stage(practice) == "treatment"
    assert sorted(practice.todo("kim")) == ["care-plan", "contact"]
    invariants.hold(practice)


def test_thoughts_of_self_harm_are_assessed_the_same_day_each_time(practice: Practice) -> None:
    practice.ehr(local("2026-01-12 09:00"), phq9("q1", local("2026-01-12 08:45"), 2, 2, 2, 1, 1, 1, 2, 0, 1))
    practice.until(local("2026-01-12 09:01"))
    safety = practice.one("kim", "safety")
    assert (safety.role, safety.priority, due(safety)) == ("provider", "stat", "Mon 2026-01-12 11:00")
    practice.until(local("2026-01-12 12:30"))
    assert practice.climbed(safety.ref) == [("rn", "Mon 2026-01-12 11:00"), ("clinic-admin", "Mon 2026-01-12 12:00")]
    practice.do(safety.ref, "done", local("2026-01-12 12:40"), PROVIDER, note="Safety plan made")
    practice.ehr(local("2026-02-09 09:00"), phq9("q2", local("2026-02-09 08:45"), 2, 1, 1, 1, 1, 1, 1, 0, 2))
    practice.until(local("2026-02-09 09:01"))
    assert [one.open for one in practice.work_of("kim", "safety")] == [False, True]
    invariants.hold(practice)


def test_no_response_after_ten_weeks_is_reviewed(practice: Practice) -> None:
    practice.ehr(local("2026-01-08 09:00"), document("d", "kim", local("2026-01-08 08:30"), code=CONSENT))
    practice.ehr(local("2026-01-12 09:00"), phq9("q1", local("2026-01-12 08:45"), 2, 2, 2, 1, 1, 1, 2, 0, 0))
    practice.ehr(local("2026-03-10 09:00"), phq9("q2", local("2026-03-10 08:45"), 2, 2, 2, 1, 1, 1, 2, 0, 0))
    practice.until(local("2026-03-16 08:59"))
    assert practice.work_of("kim", "case-review") == []
    practice.until(local("2026-03-16 09:00"))
    review = practice.one("kim", "case-review")
    assert (review.role, due(review)) == ("provider", "Mon 2026-03-23 17:00")
    invariants.hold(practice)
