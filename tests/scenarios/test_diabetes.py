"""Diabetes: labs on time, a value that is too high, what is missing too long, and the clock that stands in hospital."""

from __future__ import annotations

from datetime import datetime

import pytest

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import DIABETES, condition, local, patient, result, stay
from tests.scenarios.practice import Practice, due


def a1c(id_: str, taken: datetime, percent: float) -> Resource:
    found = result(id_, "eve", taken)
    return found | {"valueQuantity": found["valueQuantity"] | {"value": percent}}


@pytest.fixture
def practice(database: Database) -> Practice:
    """Eve's diagnosis comes on Monday 5 January at 9."""
    practice = Practice(database, local("2026-01-05 08:00"), ("diabetes",))
    practice.ehr(local("2026-01-05 09:00"), patient("eve"), condition("c1", "eve", DIABETES))
    practice.accept("eve", local("2026-01-05 09:00"))
    return practice


def test_the_yearly_and_half_yearly_checks_begin_with_a_goal_and_a_care_team(practice: Practice) -> None:
    todo = practice.todo("eve")
    assert sorted(todo) == ["a1c", "education", "egfr", "eye-exam", "foot-exam", "lipids", "urine-albumin", "visit"]
    assert due(todo["a1c"]) == "Wed 2026-02-04 09:00"
    plan = practice.resource(practice.plans("eve")[0].ref)
    goal = practice.resource(plan["goal"][0]["reference"])
    assert goal["description"]["text"].startswith("HbA1c below 8 %")
    team = practice.resource(plan["careTeam"][0]["reference"])
    assert team["subject"] == {"reference": "Patient/ehr-eve"}
    invariants.hold(practice)


def test_a_result_closes_the_work_and_one_too_high_makes_more(practice: Practice) -> None:
    practice.ehr(local("2026-01-12 12:00"), a1c("o1", local("2026-01-12 08:00"), 6.9))
    assert "a1c" not in practice.todo("eve")
    assert "a1c-recheck" not in practice.todo("eve")
    practice.ehr(local("2026-03-02 12:00"), a1c("o2", local("2026-03-02 08:00"), 9.4))
    todo = practice.todo("eve")
    assert (todo["treatment-review"].role, todo["treatment-review"].priority) == ("provider", "urgent")
    assert due(todo["a1c-recheck"]) == "Tue 2026-06-02 12:00"
    practice.ehr(local("2026-03-16 12:00"), a1c("o3", local("2026-03-16 08:00"), 7.2))
    assert "a1c-recheck" not in practice.todo("eve")
    invariants.hold(practice)


def test_labs_missing_for_a_month_are_flagged_until_none_is_missing(practice: Practice) -> None:
    practice.until(local("2026-03-06 08:59"))
    assert practice.flags("eve") == ()
    practice.until(local("2026-03-06 09:00"))
    assert practice.flags("eve") == ("missing-labs",)
    assert [role for role, _ in practice.climbed(practice.one("eve", "a1c").ref)] == ["rn", "provider", "clinic-admin"]
    late = local("2026-03-09 10:00")
    practice.ehr(
        late,
        a1c("o1", late, 7.0),
        result("o2", "eve", late, code="9318-7"),
        result("o3", "eve", late, code="33914-3"),
        result("o4", "eve", late, code="13457-7"),
    )
    practice.until(local("2026-03-09 10:01"))
    assert practice.flags("eve") == ()
    invariants.hold(practice)


def test_days_in_hospital_do_not_count(practice: Practice) -> None:
    began, ended = local("2026-02-01 08:00").isoformat(), local("2026-02-11 08:00")
    lab = practice.one("eve", "a1c").ref
    practice.ehr(local("2026-02-01 09:00"), stay("s", "eve", None) | {"period": {"start": began}})
    practice.until(local("2026-02-10 09:00"))
    assert practice.climbed(lab) == []
    out = stay("s", "eve", ended) | {"period": {"start": began, "end": ended.isoformat()}}
    practice.ehr(local("2026-02-11 09:00"), out)
    practice.until(local("2026-02-18 09:00"))
    assert practice.climbed(lab) == [("rn", "Tue 2026-02-17 17:00")]
    invariants.hold(practice)
