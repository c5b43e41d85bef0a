"""Transitional care: a patient who cannot be reached gets a flag and a letter, and loses both when reached."""

from __future__ import annotations

import pytest

from fhir_tracker.errors import RuleBroken
from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import local, patient, stay
from tests.scenarios.practice import Practice, clock, due
from tests.support.clinic import COORDINATOR, FRONT_DESK, NURSE


@pytest.fixture
def practice(database: Database) -> Practice:
    practice = Practice(database, local("2026-03-02 08:00"))
    practice.ehr(local("2026-03-09 11:30"), patient("ana"), stay("stay", "ana", local("2026-03-09 11:00")))
    return practice


def call(practice: Practice) -> str:
    return practice.one("ana", "first-call").ref


def flags(practice: Practice) -> list[str]:
    return [f"{one['code']['text']} {one['status']}" for one in practice.stored("Flag")]


def exhausted(practice: Practice) -> None:
    """Two calls on the first afternoon and the next morning; the policy gives two business days from the first."""
    practice.tries(call(practice), local("2026-03-09 14:00"))
    practice.tries(call(practice), local("2026-03-10 09:00"), "left-message")


def test_two_tries_over_two_business_days_end_in_a_flag_and_a_letter(practice: Practice) -> None:
    exhausted(practice)
    practice.until(local("2026-03-11 16:59"))
    assert (flags(practice), practice.work_of("ana", "letter")) == ([], [])
    practice.until(local("2026-03-11 17:00"))
    assert flags(practice) == ["unreachable active"]
    letter = practice.one("ana", "letter")
    assert (letter.role, due(letter)) == ("care-coordinator", "Fri 2026-03-13 17:00")

    practice.do(call(practice), "unreachable", local("2026-03-12 09:00"), reason="Two tries, letter goes out")
    practice.do(letter.ref, "done", local("2026-03-12 15:00"), COORDINATOR, note="Sent by post")
    assert practice.item(call(practice)).fhir_status == "failed"
    invariants.hold(practice)


def test_two_tries_in_an_hour_are_not_two_business_days(practice: Practice) -> None:
    practice.tries(call(practice), local("2026-03-10 09:00"))
    practice.tries(call(practice), local("2026-03-10 09:30"), "no-answer", channel="sms")
    practice.until(local("2026-03-12 16:59"))
    assert practice.work_of("ana", "letter") == []
    practice.until(local("2026-03-12 17:00"))
    assert len(practice.work_of("ana", "letter")) == 1
    invariants.hold(practice)


def test_a_letter_nobody_sends_is_late_work_too(practice: Practice) -> None:
    exhausted(practice)
    practice.until(local("2026-03-13 17:00"))
    assert practice.climbed(practice.one("ana", "letter").ref) == [("rn", "Fri 2026-03-13 17:00")]
    invariants.hold(practice)


def test_who_is_reached_after_all_is_not_unreachable_any_more(practice: Practice) -> None:
    exhausted(practice)
    practice.until(local("2026-03-11 17:00"))
    practice.tries(call(practice), local("2026-03-12 10:00"), "reached")
    assert practice.item(call(practice)).status == "done"
    assert flags(practice) == ["unreachable inactive"]
    invariants.hold(practice)


def test_reached_before_the_policy_ends_raises_nothing(practice: Practice) -> None:
    practice.tries(call(practice), local("2026-03-09 14:00"))
    practice.tries(call(practice), local("2026-03-10 09:00"), "reached")
    practice.until(local("2026-03-20 09:00"))
    assert (flags(practice), practice.work_of("ana", "letter")) == ([], [])
    invariants.hold(practice)


def test_giving_up_needs_an_attempt_and_a_reason_and_the_right_role(practice: Practice) -> None:
    with pytest.raises(RuleBroken) as error:
        practice.do(call(practice), "unreachable", local("2026-03-09 14:00"), NURSE)
    assert len([one for one in error.value.issues if one.severity == "error"]) == 2
    with pytest.raises(RuleBroken, match="Only care-coordinator or rn"):
        practice.do(call(practice), "unreachable", local("2026-03-09 14:00"), FRONT_DESK, reason="No phone")
    practice.do(
        call(practice), "unreachable", local("2026-03-09 14:00"), NURSE, outreach_outcome="wrong-number", reason="Moved"
    )
    attempts = practice.stored("Communication")
    assert [one["statusReason"]["coding"][0]["code"] for one in attempts] == ["wrong-number"]
    assert clock(practice.item(call(practice)).status_since) == "Mon 2026-03-09 14:00"
    invariants.hold(practice)


def test_done_without_its_note_is_refused_and_nothing_is_written(practice: Practice) -> None:
    with pytest.raises(RuleBroken, match="a note must be given"):
        practice.do(call(practice), "done", local("2026-03-09 14:00"))
    assert practice.item(call(practice)).status == "to-do"
    practice.do(call(practice), "done", local("2026-03-09 14:05"), note="Spoke to the daughter")
    invariants.hold(practice)
