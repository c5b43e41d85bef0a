"""Transitional care: a call nobody makes climbs its ladder, and what people answer stops it or lets it climb on."""

from __future__ import annotations

import pytest

from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import local, patient, stay
from tests.scenarios.practice import Practice, due
from tests.support.clinic import COORDINATOR, FRONT_DESK, NURSE, PROVIDER

LATE = [("rn", "Tue 2026-03-10 17:00"), ("provider", "Wed 2026-03-11 12:00"), ("clinic-admin", "Thu 2026-03-12 17:00")]


@pytest.fixture
def practice(database: Database) -> Practice:
    """Ana left hospital on Friday the 6th; her call is due on Tuesday the 10th at 17:00, across the change of clocks."""
    practice = Practice(database, local("2026-03-02 08:00"))
    practice.ehr(local("2026-03-06 15:00"), patient("ana"), stay("stay", "ana", local("2026-03-06 14:30")))
    return practice


def call(practice: Practice) -> str:
    return practice.one("ana", "first-call").ref


def test_a_call_nobody_makes_climbs_to_the_nurse_the_provider_and_the_admin(practice: Practice) -> None:
    practice.until(local("2026-03-12 16:59"))
    assert practice.climbed(call(practice)) == LATE[:2]
    practice.until(local("2026-03-12 17:00"))
    assert practice.climbed(call(practice)) == LATE
    practice.do(call(practice), "done", local("2026-03-13 09:00"), note="Reached by the nurse")

    assert practice.climbed(call(practice)) == LATE
    assert [one.status for one in practice.escalations("ehr-ana") if one.focus == call(practice)] == ["completed"] * 3
    assert practice.item(call(practice)).escalation_level == 0
    invariants.hold(practice)


def test_each_level_tells_its_role_once_by_the_channels_of_the_ladder(practice: Practice) -> None:
    practice.until(local("2026-03-13 17:00"))
    for level, (role, channels) in enumerate(
        [("rn", ["in-app"]), ("provider", ["email", "in-app"]), ("clinic-admin", ["email", "in-app"])], start=1
    ):
        told = practice.notified(practice.escalation(call(practice), level))
        assert sorted(one.channel for one in told) == channels
        assert {one.to_role for one in told} == {role}
    invariants.hold(practice)


def test_an_acknowledged_escalation_goes_no_higher(practice: Practice) -> None:
    practice.until(local("2026-03-10 17:00"))
    practice.answer(practice.escalation(call(practice), 1), "acknowledge", local("2026-03-11 08:05"), NURSE)
    practice.until(local("2026-03-20 17:00"))
    assert practice.climbed(call(practice)) == LATE[:1]
    invariants.hold(practice)


def test_who_takes_an_escalation_over_owns_it_and_ends_it(practice: Practice) -> None:
    practice.until(local("2026-03-11 12:00"))
    ref = practice.escalation(call(practice), 2)
    practice.answer(ref, "take_over", local("2026-03-11 12:30"), PROVIDER)
    assert practice.item(ref).owner == PROVIDER.who
    practice.answer(ref, "resolve", local("2026-03-11 13:00"), PROVIDER)
    practice.until(local("2026-03-20 17:00"))
    assert practice.climbed(call(practice)) == LATE[:2]
    assert practice.item(call(practice)).open
    invariants.hold(practice)


def test_an_escalation_sent_back_climbs_on_in_its_own_time(practice: Practice) -> None:
    practice.until(local("2026-03-10 17:00"))
    first = practice.escalation(call(practice), 1)
    practice.answer(first, "send_back", local("2026-03-11 09:00"), NURSE, "Not my patient")
    assert practice.resource(first)["statusReason"] == {"text": "Not my patient"}
    practice.until(local("2026-03-12 17:00"))
    assert practice.climbed(call(practice)) == LATE
    invariants.hold(practice)


def test_only_the_answered_case_is_quiet_other_late_work_goes_on(practice: Practice) -> None:
    practice.until(local("2026-03-10 17:00"))
    practice.answer(practice.escalation(call(practice), 1), "acknowledge", local("2026-03-10 17:05"), NURSE)
    practice.until(local("2026-03-17 12:00"))
    late = practice.one("ana", "medication-reconciliation").ref
    assert [role for role, _ in practice.climbed(late)] == ["rn", "provider"]
    assert practice.climbed(call(practice)) == LATE[:1]
    invariants.hold(practice)


def test_a_later_due_time_starts_the_ladder_anew(practice: Practice) -> None:
    practice.until(local("2026-03-10 17:00"))
    practice.change_due(call(practice), local("2026-03-16 12:00"), local("2026-03-11 09:00"), FRONT_DESK)
    assert due(practice.item(call(practice))) == "Mon 2026-03-16 12:00"
    practice.until(local("2026-03-16 11:59"))
    assert practice.climbed(call(practice)) == LATE[:1]
    practice.until(local("2026-03-16 16:00"))
    assert practice.climbed(call(practice))[1:] == [
        ("rn", "Mon 2026-03-16 12:00"),
        ("provider", "Mon 2026-03-16 16:00"),
    ]
    invariants.hold(practice)


def test_reopened_work_can_escalate_again(practice: Practice) -> None:
    practice.until(local("2026-03-10 17:00"))
    practice.do(call(practice), "done", local("2026-03-10 17:20"), note="Spoke to a neighbour")
    practice.do(call(practice), "to-do", local("2026-03-12 09:00"), reason="It was not the carer")
    assert practice.item(call(practice)).cycle == 1
    assert practice.climbed(call(practice)) == [LATE[0], ("rn", "Thu 2026-03-12 09:00")]
    practice.until(local("2026-03-12 13:00"))
    assert practice.climbed(call(practice))[2:] == [("provider", "Thu 2026-03-12 13:00")]
    practice.tries(call(practice), local("2026-03-12 14:00"), "reached")
    assert practice.item(call(practice)).status == "done"
    invariants.hold(practice)


def test_an_attempt_from_before_the_reopening_does_not_close_it_again(practice: Practice) -> None:
    practice.tries(call(practice), local("2026-03-09 09:00"), "reached")
    practice.do(call(practice), "to-do", local("2026-03-09 10:00"), reason="Wrong person")
    assert practice.item(call(practice)).open
    invariants.hold(practice)


def test_handing_work_to_another_role_moves_its_queue_and_not_its_clock(practice: Practice) -> None:
    practice.give(call(practice), local("2026-03-09 09:00"), viewer=COORDINATOR)
    practice.give(call(practice), local("2026-03-09 11:00"), role="rn")
    item = practice.item(call(practice))
    assert (item.role, item.owner, item.cycle, due(item)) == ("rn", None, 0, "Tue 2026-03-10 17:00")
    practice.until(local("2026-03-10 17:00"))
    assert practice.climbed(call(practice)) == LATE[:1]
    invariants.hold(practice)


def test_the_admin_is_told_once_that_nobody_has_taken_the_call(practice: Practice) -> None:
    practice.until(local("2026-03-09 10:00"))
    told = [one for one in practice.notified(call(practice)) if one.to_role == "clinic-admin"]
    assert [one.channel for one in told] == ["in-app"]
    invariants.hold(practice)
