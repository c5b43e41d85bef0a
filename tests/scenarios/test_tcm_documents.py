"""Transitional care: the discharge summary and the visit note, on time, late, or filed for something else."""

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
from tests.scenarios.practice import Practice, due
from tests.support.clinic import NURSE

SEEN = "2026-03-20 10:00"
"""A Friday; 48 hours later is Sunday."""


@pytest.fixture
def practice(database: Database) -> Practice:
    """Ana left on Monday the 9th and was seen in the office on Friday the 20th; her summary is there."""
    practice = Practice(database, local("2026-03-02 08:00"))
    practice.ehr(local("2026-03-09 11:30"), patient("ana"), stay("stay", "ana", local("2026-03-09 11:00")))
    practice.tries(practice.one("ana", "first-call").ref, local("2026-03-09 13:00"), "reached")
    practice.do(practice.one("ana", "medication-reconciliation").ref, "done", local("2026-03-09 14:00"), note="Same")
    return practice


def summary(at: str, **more: str) -> dict[str, object]:
    return document("summary", "ana", local(at), code=DISCHARGE_SUMMARY, **more)


def note(at: str, id_: str = "note", **more: str) -> dict[str, object]:
    return document(id_, "ana", local(at), code=PROGRESS_NOTE, **more)


def seen(practice: Practice) -> None:
    practice.ehr(local("2026-03-10 09:00"), summary("2026-03-10 08:00", encounter="stay"))
    practice.ehr(
        local("2026-03-20 10:40"),
        visit("visit", "ana", local(SEEN), status="fulfilled"),
        visit_encounter("office", "ana", local(SEEN), appointment="visit"),
    )


def states(practice: Practice, code: str) -> list[str]:
    return [one.status for one in practice.work_of("ana", code)]


def test_a_note_within_48_hours_asks_for_nothing(practice: Practice) -> None:
    seen(practice)
    practice.ehr(local("2026-03-21 16:00"), note("2026-03-21 15:55", encounter="office"))
    practice.until(local("2026-04-20 09:00"))
    assert states(practice, "write-note") == []
    assert practice.todo("ana") == {}
    invariants.hold(practice)


def test_a_missing_note_is_the_providers_work_and_its_late_arrival_closes_it(practice: Practice) -> None:
    seen(practice)
    practice.until(local("2026-03-22 09:59"))
    assert states(practice, "write-note") == []
    practice.until(local("2026-03-22 10:20"))
    todo = practice.one("ana", "write-note")
    assert (todo.role, todo.priority, due(todo)) == ("provider", "urgent", "Mon 2026-03-23 17:00")
    assert practice.resource(todo.ref)["focus"] == {"reference": "Appointment/ehr-visit"}
    practice.until(local("2026-03-24 10:00"))
    assert practice.climbed(todo.ref) == [("rn", "Mon 2026-03-23 17:00")]

    practice.ehr(local("2026-03-24 10:05"), note("2026-03-24 10:00", encounter="office"))
    assert states(practice, "write-note") == ["done"]
    assert practice.resource(todo.ref)["output"][0]["valueReference"] == {"reference": "DocumentReference/ehr-note"}
    assert "done: " in practice.resource(todo.ref)["statusReason"]["text"]
    assert [one.open for one in practice.escalations("ehr-ana")] == [False]
    invariants.hold(practice)


@pytest.mark.parametrize("other", ["after", "before"])
def test_a_note_filed_for_another_encounter_is_not_the_visit_note(practice: Practice, other: str) -> None:
    seen(practice)
    day = {"after": "2026-03-21 09:00", "before": "2026-03-18 09:00"}[other]
    practice.ehr(local("2026-03-21 10:00"), visit_encounter("urgent-care", "ana", local(day)))
    practice.ehr(local("2026-03-21 10:05"), note("2026-03-21 10:00", "other", encounter="urgent-care"))
    practice.until(local("2026-03-22 10:20"))
    assert states(practice, "write-note") == ["to-do"]
    practice.ehr(local("2026-03-23 09:00"), note("2026-03-23 09:00", "other-2", encounter="urgent-care"))
    assert states(practice, "write-note") == ["to-do"]
    practice.ehr(local("2026-03-23 10:00"), note("2026-03-23 09:55", encounter="office"))
    assert states(practice, "write-note") == ["done"]
    invariants.hold(practice)


def test_a_note_that_names_no_encounter_is_taken_for_the_visits(practice: Practice) -> None:
    seen(practice)
    practice.ehr(local("2026-03-20 18:00"), note("2026-03-20 17:00"))
    practice.until(local("2026-04-20 09:00"))
    assert states(practice, "write-note") == []
    invariants.hold(practice)


def test_a_note_entered_in_error_is_missing_again(practice: Practice) -> None:
    seen(practice)
    practice.ehr(local("2026-03-20 18:00"), note("2026-03-20 17:00", encounter="office"))
    practice.ehr(
        local("2026-03-23 09:00"), note("2026-03-20 17:00", encounter="office") | {"status": "entered-in-error"}
    )
    assert states(practice, "write-note") == ["to-do"]
    invariants.hold(practice)


def test_the_discharge_summary_is_asked_for_after_two_business_days(practice: Practice) -> None:
    practice.until(local("2026-03-11 17:00"))
    todo = practice.one("ana", "get-discharge-summary")
    assert (todo.role, due(todo)) == ("care-coordinator", "Thu 2026-03-12 17:00")
    practice.ehr(local("2026-03-12 09:00"), summary("2026-03-12 08:40", encounter="stay"))
    assert states(practice, "get-discharge-summary") == ["done"]
    invariants.hold(practice)


def test_a_summary_dictated_before_the_patient_left_counts_when_it_names_the_stay(practice: Practice) -> None:
    practice.ehr(local("2026-03-09 15:00"), summary("2026-03-08 20:00", encounter="stay"))
    practice.until(local("2026-03-20 17:00"))
    assert states(practice, "get-discharge-summary") == []
    invariants.hold(practice)


def test_a_summary_written_at_once_and_filed_late_under_the_office_visit_closes_its_work(practice: Practice) -> None:
    practice.until(local("2026-03-11 17:00"))
    practice.ehr(
        local("2026-03-12 15:00"),
        visit_encounter("scanned", "ana", local("2026-03-12 14:00")),
        summary("2026-03-09 16:00", encounter="scanned"),
    )
    assert states(practice, "get-discharge-summary") == ["done"]
    invariants.hold(practice)


def test_the_summary_of_an_earlier_stay_is_not_this_ones(practice: Practice) -> None:
    practice.ehr(local("2026-03-09 15:00"), stay("old", "ana", local("2026-01-15 10:00")))
    practice.ehr(local("2026-03-10 09:00"), summary("2026-03-10 08:00", encounter="old"))
    practice.until(local("2026-03-11 17:00"))
    assert states(practice, "get-discharge-summary") == ["to-do"]
    invariants.hold(practice)


def test_medicines_not_reconciled_in_seven_days_escalate(database: Database) -> None:
    practice = Practice(database, local("2026-03-02 08:00"))
    practice.ehr(local("2026-03-06 15:00"), patient("ben"), stay("stay", "ben", local("2026-03-06 14:30")))
    work = practice.one("ben", "medication-reconciliation")
    assert due(work) == "Fri 2026-03-13 14:30"
    practice.until(local("2026-03-13 14:30"))
    assert practice.climbed(work.ref) == [("rn", "Fri 2026-03-13 14:30")]
    practice.do(work.ref, "done", local("2026-03-13 15:00"), NURSE, note="Reconciled with the carer")
    practice.until(local("2026-04-13 15:00"))
    assert len(practice.climbed(work.ref)) == 1
    invariants.hold(practice)
