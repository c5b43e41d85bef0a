"""Follow-up cadence: monthly touchpoints, tries by policy at decent hours, and the minutes a claim needs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fhir_tracker import outreach
from fhir_tracker.errors import RuleBroken
from fhir_tracker.evidence import Evidence, evidence
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.outreach_account import account
from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import DIABETES, HYPERTENSION, condition, local, patient
from tests.scenarios.practice import Practice
from tests.support.clinic import COORDINATOR, SYSTEM

POLICY = 'outreach: {spacing: 1 day, quiet: {from: "20:00", to: "09:00", days: Sun}, outside: refuse}\n\nrules:\n'
TELECOM = [
    {"system": "phone", "value": "555-0100", "use": "home", "rank": 1},
    {"system": "phone", "value": "555-0101", "use": "mobile", "rank": 2},
]


def eve(**changes: object) -> Resource:
    """Eve, at home in New York."""
    home = [{"use": "home", "state": "NY", "postalCode": "10001", "country": "US"}]
    return patient("eve") | {"telecom": TELECOM, "address": home} | changes


@pytest.fixture
def practice(database: Database) -> Practice:
    """Eve qualifies for chronic care on Monday 5 January at 9, under a policy with quiet hours."""
    practice = Practice(database, local("2026-01-05 08:00"), ("ccm",))
    practice.publish(practice.program_text("ccm").replace("\nrules:\n", "\n" + POLICY, 1), local("2026-01-05 08:30"))
    start = local("2026-01-05 09:00")
    practice.ehr(start, eve(), condition("c1", "eve", HYPERTENSION), condition("c2", "eve", DIABETES))
    return practice


def tried(practice: Practice, at: str, outcome: str, *, channel: str = "phone", minutes: int = 0) -> None:
    touch = practice.work_of("eve", "touchpoint")[-1]
    moment = local(at)
    practice.until(moment)
    made = outreach.Attempt(channel=channel, outcome=outcome, at=moment, spent=timedelta(minutes=minutes) or None)
    with practice.acting(moment, COORDINATOR) as (tx, by):
        outreach.log_attempt(tx, touch, made, by)
    practice.work(moment)


def told(practice: Practice) -> str:
    with practice.database.read() as tx:
        return account(tx, SYSTEM, practice.work_of("eve", "touchpoint")[-1].ref, practice.now).words


def of_month(practice: Practice, month: str) -> Evidence:
    with practice.database.read() as tx:
        return evidence(tx, SYSTEM, "ehr-eve", "ccm", month, practice.now)


def test_tries_follow_the_policy_until_the_patient_is_reached_and_the_touchpoint_closes(practice: Practice) -> None:
    assert told(practice) == "0 of 3 attempts; next call from Mon 5 Jan 2026 09:00"
    with pytest.raises(RuleBroken, match="quiet"):
        tried(practice, "2026-01-05 20:30", "no-answer")
    tried(practice, "2026-01-06 10:00", "no-answer", minutes=4)
    assert told(practice) == "1 of 3 attempts; next call from Wed 7 Jan 2026 10:00"
    tried(practice, "2026-01-07 11:00", "left-message", minutes=3)
    tried(practice, "2026-01-09 09:30", "reached", minutes=15)
    assert [one.status for one in practice.work_of("eve", "touchpoint")] == ["done"]
    assert practice.escalations("ehr-eve") == []
    invariants.hold(practice)


def test_a_wrong_number_is_not_tried_again_and_a_wish_not_to_be_called_closes_the_channel(practice: Practice) -> None:
    tried(practice, "2026-01-06 10:00", "wrong-number")
    with practice.database.read() as tx:
        standing = account(tx, SYSTEM, practice.one("eve", "touchpoint").ref, practice.now).standing
    assert (standing.next_channel, standing.next_number) == ("phone", "555-0101")
    wish: Resource = {
        "resourceType": "Flag",
        "id": "wish",
        "status": "active",
        "code": {"coding": [{"system": "https://fhir-tracker.example/CodeSystem/flag", "code": "do-not-call"}]},
        "subject": {"reference": "Patient/ehr-eve"},
    }
    practice.put(wish, local("2026-01-06 11:00"), COORDINATOR)
    practice.work(local("2026-01-06 11:00"))
    with practice.database.read() as tx:
        standing = account(tx, SYSTEM, practice.one("eve", "touchpoint").ref, practice.now).standing
    assert standing.next_channel != "phone"
    invariants.hold(practice)


def test_the_next_month_brings_the_next_touchpoint_and_each_month_its_minutes_once(practice: Practice) -> None:
    tried(practice, "2026-01-09 10:00", "reached", minutes=25)
    practice.until(local("2026-02-05 09:00"))
    assert [one.open for one in practice.work_of("eve", "touchpoint")] == [False, True]
    tried(practice, "2026-02-06 10:00", "reached", minutes=12)
    assert (of_month(practice, "2026-01").minutes, of_month(practice, "2026-02").minutes) == (25, 12)
    assert len(of_month(practice, "2026-01").attempts) == 1
    invariants.hold(practice)
