"""Transitional care: from the discharge to the first contact and the end of the plan's work, in the practice's hours."""

from __future__ import annotations

import pytest

from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import (
    DISCHARGE_SUMMARY,
    PROGRESS_NOTE,
    document,
    local,
    patient,
    stay,
    visit,
    visit_encounter,
)
from tests.scenarios.practice import Practice, clock, due
from tests.support.clinic import COORDINATOR


def discharged(database: Database, at: str) -> Practice:
    """A practice that hears of `ana`'s discharge a minute after it."""
    end = local(at)
    practice = Practice(database, local("2026-01-05 08:00"))
    practice.ehr(end.replace(second=59), patient("ana"), stay("stay", "ana", end))
    return practice


def test_a_discharge_becomes_a_plan_that_ends_with_nothing_left_to_do(database: Database) -> None:
    practice = discharged(database, "2026-03-09 11:00")
    todo = practice.todo("ana")
    assert {code: (one.role, due(one)) for code, one in todo.items()} == {
        "first-call": ("care-coordinator", "Wed 2026-03-11 17:00"),
        "visit": ("front-desk", "Mon 2026-03-23 11:00"),
        "medication-reconciliation": ("rn", "Mon 2026-03-16 11:00"),
    }

    practice.give(todo["first-call"].ref, local("2026-03-09 13:00"))
    practice.tries(todo["first-call"].ref, local("2026-03-09 13:05"), "left-message")
    practice.tries(todo["first-call"].ref, local("2026-03-10 09:30"), "reached")
    call = practice.one("ana", "first-call")
    assert (call.status, call.fhir_status, call.owner) == ("done", "completed", COORDINATOR.who)

    practice.ehr(
        local("2026-03-10 15:00"),
        document("summary", "ana", local("2026-03-10 14:40"), code=DISCHARGE_SUMMARY, encounter="stay"),
    )
    practice.do(todo["medication-reconciliation"].ref, "done", local("2026-03-11 10:00"), note="Two doses changed")
    practice.ehr(local("2026-03-11 11:00"), visit("visit", "ana", local("2026-03-18 10:00")))
    practice.ehr(
        local("2026-03-18 10:40"),
        visit("visit", "ana", local("2026-03-18 10:00"), status="fulfilled"),
        visit_encounter("office", "ana", local("2026-03-18 10:00"), appointment="visit"),
    )
    practice.ehr(
        local("2026-03-18 17:30"),
        document("note", "ana", local("2026-03-18 17:20"), code=PROGRESS_NOTE, encounter="office"),
    )
    practice.until(local("2026-05-01 12:00"))

    assert practice.todo("ana") == {}
    assert practice.escalations("ehr-ana") == []
    assert {one.code for one in practice.items("ehr-ana") if one.kind == "task"} == set(todo)
    invariants.hold(practice)


@pytest.mark.parametrize(
    ("left", "call_by"),
    [
        ("2026-07-02 16:00", "Tue 2026-07-07 17:00"),
        ("2026-03-06 23:50", "Tue 2026-03-10 17:00"),
        ("2026-03-08 01:30", "Tue 2026-03-10 17:00"),
        ("2026-10-31 14:00", "Tue 2026-11-03 17:00"),
        ("2026-11-25 12:00", "Mon 2026-11-30 17:00"),
        ("2026-12-31 09:00", "Tue 2027-01-05 17:00"),
    ],
    ids=[
        "before Independence Day",
        "late on a Friday",
        "clocks go forward",
        "clocks go back",
        "Thanksgiving",
        "New Year",
    ],
)
def test_two_business_days_are_the_practices_own(database: Database, left: str, call_by: str) -> None:
    practice = discharged(database, left)
    call = practice.one("ana", "first-call")
    assert due(call) == call_by

    practice.until(call.due_at or local(left))
    assert practice.climbed(call.ref) == [("rn", call_by)]
    invariants.hold(practice)


def test_the_time_of_the_discharge_on_the_wall_clock_survives_the_change_of_the_clocks(database: Database) -> None:
    practice = discharged(database, "2026-03-02 15:00")
    assert due(practice.one("ana", "visit")) == "Mon 2026-03-16 15:00"
    assert due(practice.one("ana", "medication-reconciliation")) == "Mon 2026-03-09 15:00"
    invariants.hold(practice)


def test_a_discharge_heard_of_days_later_still_counts_from_the_discharge(database: Database) -> None:
    practice = Practice(database, local("2026-03-02 08:00"))
    practice.ehr(local("2026-03-13 09:00"), patient("ana"), stay("stay", "ana", local("2026-03-09 11:00")))
    call = practice.one("ana", "first-call")
    assert due(call) == "Wed 2026-03-11 17:00"
    assert practice.climbed(call.ref) == [("rn", "Fri 2026-03-13 09:00")]
    practice.until(local("2026-03-13 12:59"))
    assert len(practice.climbed(call.ref)) == 1
    practice.until(local("2026-03-13 13:00"))
    assert practice.climbed(call.ref)[1:] == [("provider", "Fri 2026-03-13 13:00")]
    invariants.hold(practice)


def test_a_discharge_of_last_quarter_opens_nothing(database: Database) -> None:
    practice = Practice(database, local("2026-03-02 08:00"))
    practice.ehr(local("2026-06-01 09:00"), patient("ana"), stay("stay", "ana", local("2026-03-09 11:00")))
    assert practice.plans("ana") == []


def test_who_is_still_in_hospital_comes_in_when_the_stay_ends(database: Database) -> None:
    practice = Practice(database, local("2026-01-02 08:00"))
    practice.ehr(local("2026-01-05 09:00"), patient("ana"), stay("stay", "ana", None))
    assert practice.plans("ana") == []
    practice.ehr(local("2026-01-06 10:00"), stay("stay", "ana", local("2026-01-06 09:40")))
    practice.ehr(local("2026-01-06 10:30"), stay("stay", "ana", local("2026-01-06 09:40")))
    assert len(practice.plans("ana")) == 1
    assert clock(practice.plans("ana")[0].created_at) == "Tue 2026-01-06 10:00"
    invariants.hold(practice)
