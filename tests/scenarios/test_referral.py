"""Referral loop closure: each referral has its plan, and is closed when its own report was read."""

from __future__ import annotations

from datetime import datetime

import pytest

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import SNOMED, document, local, patient, visit
from tests.scenarios.practice import Practice, due
from tests.support.clinic import FRONT_DESK, NURSE, PROVIDER

CONSULT_NOTE = "11488-4"
CONSULTATION = "11429006"


def order(id_: str, at: datetime, *, status: str = "active") -> Resource:
    """A referral to a specialist."""
    return {
        "resourceType": "ServiceRequest",
        "id": id_,
        "status": status,
        "intent": "order",
        "category": [{"coding": [{"system": SNOMED, "code": "3457005"}]}],
        "subject": {"reference": "Patient/ana"},
        "authoredOn": at.isoformat(),
    }


def booked(id_: str, start: datetime, referral: str, status: str = "booked") -> Resource:
    """A visit to the specialist, for one referral."""
    found = visit(id_, "ana", start, status=status, service=CONSULTATION)
    return found | {"basedOn": [{"reference": f"ServiceRequest/{referral}"}]}


def report(id_: str, at: datetime, referral: str) -> Resource:
    """The specialist's report on one referral."""
    found = document(id_, "ana", at, code=CONSULT_NOTE)
    return found | {"context": {"related": [{"reference": f"ServiceRequest/{referral}"}]}}


@pytest.fixture
def practice(database: Database) -> Practice:
    practice = Practice(database, local("2026-03-02 08:00"), ("referral",))
    practice.ehr(local("2026-03-09 09:00"), patient("ana"), order("heart", local("2026-03-09 08:55")))
    practice.ehr(local("2026-03-09 10:00"), order("skin", local("2026-03-09 09:58")))
    return practice


def plan_of(practice: Practice, referral: str) -> str:
    (found,) = [
        one.ref
        for one in practice.plans("ana")
        if practice.resource(one.ref)["supportingInfo"] == [{"reference": f"ServiceRequest/ehr-{referral}"}]
    ]
    return found


def stages(practice: Practice) -> list[tuple[str, bool]]:
    return [(one.status, one.open) for one in practice.plans("ana")]


def test_each_referral_opens_a_plan_and_a_repeat_of_the_order_none(practice: Practice) -> None:
    practice.ehr(local("2026-03-09 11:00"), order("heart", local("2026-03-09 08:55")) | {"priority": "urgent"})
    assert stages(practice) == [("open", True), ("open", True)]
    todo = practice.todo("ana", plan=plan_of(practice, "heart"))
    assert sorted(todo) == ["report", "schedule", "visit"]
    assert due(todo["schedule"]) == "Mon 2026-03-16 17:00"
    invariants.hold(practice)


def test_a_referral_is_booked_missed_booked_again_kept_reported_read_and_closed(practice: Practice) -> None:
    heart = plan_of(practice, "heart")
    practice.ehr(local("2026-03-10 09:00"), booked("v1", local("2026-03-18 10:00"), "heart"))
    assert sorted(practice.todo("ana", plan=heart)) == ["report", "visit"]
    practice.ehr(local("2026-03-18 10:30"), booked("v1", local("2026-03-18 10:00"), "heart", "noshow"))
    assert sorted(practice.todo("ana", plan=heart)) == ["report", "reschedule-visit", "visit"]
    practice.ehr(local("2026-03-18 15:00"), booked("v2", local("2026-03-24 10:00"), "heart"))
    practice.ehr(local("2026-03-24 11:00"), booked("v2", local("2026-03-24 10:00"), "heart", "fulfilled"))
    assert sorted(practice.todo("ana", plan=heart)) == ["report"]
    practice.ehr(local("2026-03-27 11:00"), report("d1", local("2026-03-27 10:00"), "heart"))
    todo = practice.todo("ana", plan=heart)
    assert sorted(todo) == ["act-on-report"]
    practice.do(todo["act-on-report"].ref, "done", local("2026-03-27 14:00"), PROVIDER, note="Told the patient")
    assert stages(practice) == [("closed", False), ("open", True)]
    assert [one.plan for one in practice.escalations("ehr-ana") if one.plan == heart] == []
    assert sorted(practice.todo("ana", plan=plan_of(practice, "skin"))) == ["report", "schedule", "visit"]
    invariants.hold(practice)


def test_a_refused_authorization_is_work_for_the_provider_and_a_pending_one_stops_the_clock(practice: Practice) -> None:
    schedule = practice.todo("ana", plan=plan_of(practice, "skin"))["schedule"].ref
    until = local("2026-03-23 09:00").isoformat()
    practice.do(
        schedule,
        "authorization-pending",
        local("2026-03-10 09:00"),
        FRONT_DESK,
        hold_until=until,
        reason="Asked the payer",
    )
    practice.until(local("2026-03-20 09:00"))
    assert practice.climbed(schedule) == []
    flagged: Resource = {
        "resourceType": "Flag",
        "id": "denied",
        "status": "active",
        "code": {"coding": [{"system": "https://fhir-tracker.example/CodeSystem/flag", "code": "prior-auth-denied"}]},
        "subject": {"reference": "Patient/ehr-ana"},
    }
    practice.put(flagged, local("2026-03-20 10:00"), NURSE)
    practice.work(local("2026-03-20 10:01"))
    assert [one.role for one in practice.work_of("ana", "answer-denial")] == ["provider", "provider"]
    invariants.hold(practice)


def test_a_referral_nobody_books_climbs_and_death_ends_the_plans(practice: Practice) -> None:
    schedule = practice.todo("ana", plan=plan_of(practice, "heart"))["schedule"].ref
    practice.until(local("2026-03-24 09:00"))
    assert practice.climbed(schedule) == [
        ("care-coordinator", "Tue 2026-03-17 17:00"),
        ("rn", "Fri 2026-03-20 17:00"),
    ]
    practice.ehr(local("2026-03-24 09:00"), patient("ana", deceased=local("2026-03-23 22:00")))
    assert stages(practice) == [("withdrawn", False), ("withdrawn", False)]
    assert [one for one in practice.items("ehr-ana") if one.open] == []
    assert "the patient has died (Mon 23 Mar 2026 22:00)" in practice.resource(schedule)["statusReason"]["text"]
    invariants.hold(practice)
