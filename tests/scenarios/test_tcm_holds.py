"""Transitional care: work on hold pauses its clock, and comes back by its time, by its event or by hand."""

from __future__ import annotations

import pytest

from fhir_tracker.errors import RuleBroken
from fhir_tracker.rules.sla import sla_due
from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import DISCHARGE_SUMMARY, document, local, patient, stay
from tests.scenarios.practice import Practice, clock
from tests.support.clinic import NURSE, SYSTEM


@pytest.fixture
def practice(database: Database) -> Practice:
    """Ana's medicines are due on Monday the 16th at 11:00; the nurse waits for the list of the hospital."""
    practice = Practice(database, local("2026-03-02 08:00"))
    practice.ehr(local("2026-03-09 11:30"), patient("ana"), stay("stay", "ana", local("2026-03-09 11:00")))
    practice.do(medicines(practice), "working", local("2026-03-10 09:00"))
    practice.do(
        medicines(practice),
        "awaiting-records",
        local("2026-03-11 09:00"),
        hold_until=local("2026-03-13 09:00").isoformat(),
        reason="The list is not in the summary",
    )
    return practice


def medicines(practice: Practice) -> str:
    return practice.one("ana", "medication-reconciliation").ref


def really_due(practice: Practice) -> str:
    from fhir_tracker import gathering

    item = practice.item(medicines(practice))
    with practice.database.read() as tx:
        (facts,) = gathering.gather(tx, SYSTEM, [item])
    moment = sla_due(practice.starter("tcm"), facts)
    assert moment is not None
    return clock(moment)


def test_a_hold_ends_by_its_time_and_the_due_time_moves_by_the_pause(practice: Practice) -> None:
    held = practice.item(medicines(practice))
    assert (held.status, held.clock) == ("awaiting-records", "paused")
    practice.until(local("2026-03-13 08:59"))
    assert practice.item(medicines(practice)).status == "awaiting-records"
    practice.until(local("2026-03-13 09:00"))
    back = practice.item(medicines(practice))
    assert (back.status, back.clock, back.hold_until) == ("working", "running", None)
    assert "extension" not in practice.resource(back.ref)
    assert really_due(practice) == "Wed 2026-03-18 11:00"
    practice.until(local("2026-03-18 11:00"))
    assert practice.climbed(back.ref) == [("rn", "Wed 2026-03-18 11:00")]
    invariants.hold(practice)


def test_a_hold_ends_by_the_document_it_waits_for(practice: Practice) -> None:
    practice.ehr(local("2026-03-12 09:00"), document("s", "ana", local("2026-03-12 08:55"), code=DISCHARGE_SUMMARY))
    back = practice.item(medicines(practice))
    assert back.status == "working"
    assert really_due(practice) == "Tue 2026-03-17 11:00"
    assert practice.resource(back.ref)["output"][0]["valueReference"] == {"reference": "DocumentReference/ehr-s"}
    invariants.hold(practice)


def test_another_document_does_not_end_the_hold(practice: Practice) -> None:
    practice.ehr(local("2026-03-12 09:00"), document("x", "ana", local("2026-03-12 08:55"), code="11502-2"))
    assert practice.item(medicines(practice)).status == "awaiting-records"
    invariants.hold(practice)


def test_nothing_on_hold_is_late(practice: Practice) -> None:
    practice.do(
        medicines(practice), "waiting", local("2026-03-13 10:00"), hold_until="2026-04-20T09:00:00Z", reason="Abroad"
    )
    practice.until(local("2026-04-17 17:00"))
    assert practice.climbed(medicines(practice)) == []
    practice.until(local("2026-04-20 09:00"))
    assert practice.item(medicines(practice)).status == "working"
    invariants.hold(practice)


def test_a_second_hold_ends_by_itself_too(practice: Practice) -> None:
    practice.until(local("2026-03-13 09:00"))
    until = local("2026-03-17 09:00").isoformat()
    practice.do(medicines(practice), "awaiting-records", local("2026-03-13 10:00"), hold_until=until, reason="Again")
    practice.until(local("2026-03-17 09:00"))
    assert practice.item(medicines(practice)).status == "working"
    assert really_due(practice) == "Sun 2026-03-22 10:00"
    practice.until(local("2026-03-23 08:00"))
    assert practice.climbed(medicines(practice)) == [("rn", "Mon 2026-03-23 08:00")]
    invariants.hold(practice)


def test_somebody_ends_the_hold_by_hand(practice: Practice) -> None:
    practice.do(medicines(practice), "working", local("2026-03-11 15:00"), NURSE)
    assert practice.item(medicines(practice)).hold_until is None
    assert really_due(practice) == "Mon 2026-03-16 17:00"
    invariants.hold(practice)


def test_a_hold_needs_a_reason_and_an_end_in_the_future(practice: Practice) -> None:
    visit = practice.one("ana", "visit").ref
    with pytest.raises(RuleBroken) as error:
        practice.do(visit, "waiting", local("2026-03-11 10:00"))
    assert [issue.expression for issue in error.value.issues if issue.severity == "error"] == [
        "Task.extension",
        "Task.statusReason",
    ]
    with pytest.raises(RuleBroken, match="must end in the future"):
        practice.do(
            visit, "waiting", local("2026-03-11 10:00"), hold_until=local("2026-03-11 09:00").isoformat(), reason="x"
        )
    invariants.hold(practice)


def test_a_due_time_set_during_a_hold_counts_from_then(practice: Practice) -> None:
    practice.change_due(medicines(practice), local("2026-03-20 12:00"), local("2026-03-12 09:00"), NURSE)
    practice.until(local("2026-03-13 09:00"))
    assert really_due(practice) == "Sat 2026-03-21 12:00"
    invariants.hold(practice)
