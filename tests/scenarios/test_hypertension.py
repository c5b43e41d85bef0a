"""Hypertension with home monitoring: training, readings that come or do not, and one that cannot wait."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import HYPERTENSION, LOINC, condition, local, patient
from tests.scenarios.practice import Practice, due
from tests.support.clinic import NURSE


def reading(id_: str, taken: datetime, systolic: int, diastolic: int = 80) -> Resource:
    """A home reading as a panel with its two components."""

    def part(code: str, value: int) -> Resource:
        unit = {"value": value, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}
        return {"code": {"coding": [{"system": LOINC, "code": code}]}, "valueQuantity": unit}

    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "85354-9"}]},
        "subject": {"reference": "Patient/max"},
        "effectiveDateTime": taken.isoformat(),
        "component": [part("8480-6", systolic), part("8462-4", diastolic)],
    }


@pytest.fixture
def practice(database: Database) -> Practice:
    """Max is enrolled on Monday 5 January at 9 and trained the day after."""
    practice = Practice(database, local("2026-01-05 08:00"), ("hypertension",))
    practice.ehr(local("2026-01-05 09:00"), patient("max"), condition("c1", "max", HYPERTENSION))
    practice.accept("max", local("2026-01-05 09:00"))
    cuff = practice.one("max", "cuff-and-training").ref
    practice.do(cuff, "done", local("2026-01-06 10:00"), NURSE, note="Trained")
    return practice


def stage(practice: Practice) -> str:
    return practice.plans("max")[0].status


def test_training_begins_the_monitoring(practice: Practice) -> None:
    assert stage(practice) == "monitoring"
    assert sorted(practice.todo("max")) == ["review", "visit"]
    invariants.hold(practice)


def test_too_few_readings_are_asked_for_and_the_flag_goes_when_they_come(practice: Practice) -> None:
    for day in range(5):
        at = local("2026-01-10 08:00") + timedelta(days=day)
        practice.ehr(at + timedelta(hours=1), reading(f"a{day}", at, 131))
    practice.until(local("2026-02-04 08:59"))
    assert practice.flags("max") == ()
    practice.until(local("2026-02-04 09:00"))
    assert practice.flags("max") == ("monitoring-incomplete",)
    asked = practice.one("max", "readings-missing")
    assert (asked.role, due(asked)) == ("care-coordinator", "Wed 2026-02-11 17:00")
    for day in range(6):
        at = local("2026-02-05 08:00") + timedelta(days=day)
        practice.ehr(at + timedelta(hours=1), reading(f"b{day}", at, 128))
    assert practice.flags("max") == ()
    practice.tries(asked.ref, local("2026-02-11 10:00"), "reached")
    assert "readings-missing" not in practice.todo("max")
    invariants.hold(practice)


def test_a_severe_reading_is_dealt_with_in_hours_or_climbs(practice: Practice) -> None:
    practice.ehr(local("2026-01-20 09:30"), reading("r1", local("2026-01-20 09:10"), 192, 118))
    severe = practice.one("max", "severe-reading")
    assert (severe.role, severe.priority, due(severe)) == ("rn", "stat", "Tue 2026-01-20 11:30")
    practice.until(local("2026-01-20 12:00"))
    assert practice.climbed(severe.ref) == [("provider", "Tue 2026-01-20 11:30")]
    practice.do(severe.ref, "done", local("2026-01-20 12:10"), NURSE, note="No symptoms; medicines taken late")
    practice.until(local("2026-01-21 12:00"))
    assert practice.climbed(severe.ref) == [("provider", "Tue 2026-01-20 11:30")]
    practice.ehr(local("2026-01-22 09:30"), reading("r2", local("2026-01-22 09:10"), 150, 90))
    assert len(practice.work_of("max", "severe-reading")) == 1
    invariants.hold(practice)
