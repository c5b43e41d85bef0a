from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from api.staff.rows import digest, in_short, moves_for, outreach, person_of, row_of, short_hash, state_of
from fhir_tracker.model.work import WorkItem
from tests.api.staff.samples import BARE, DESK, ESCALATION, ITEM, NAMES, NOW, NURSE, PROGRAM, ROSA, item

LATER = NOW + timedelta(hours=3)


def row(work: WorkItem = ITEM, about: WorkItem | None = None) -> Any:
    return row_of(work, ROSA, NAMES, NURSE, NOW, 5, about)


@pytest.mark.parametrize(
    ("changes", "tone", "word"),
    [
        ({}, "late", "late"),
        ({"due_at": NOW}, "today", "due today"),
        ({"due_at": LATER}, "today", "due today"),
        ({"due_at": NOW + timedelta(hours=13, minutes=1)}, "", "open"),
        ({"due_at": NOW + timedelta(days=3)}, "", "open"),
        ({"due_at": None}, "", "open"),
        ({"clock": "paused"}, "hold", "on hold"),
        ({"open": False}, "done", "closed"),
        ({"due_at": LATER, "escalation_level": 1}, "escalated", "escalated"),
        ({"escalation_level": 2}, "late", "late"),
        ({"clock": "paused", "escalation_level": 2}, "hold", "on hold"),
        ({"open": False, "clock": "paused"}, "done", "closed"),
    ],
)
def test_each_row_has_one_state_in_a_word(changes: dict[str, Any], tone: str, word: str) -> None:
    assert state_of(item(**changes), NOW, NAMES) == (tone, word)


def test_an_escalation_is_escalated_before_anybody_counts_its_due_time() -> None:
    assert state_of(ESCALATION, NOW, NAMES) == ("escalated", "escalated")


def test_a_row_says_who_what_where_and_since_when() -> None:
    shown = row(item(attempts=2, last_attempt_at=NOW - timedelta(minutes=20), last_attempt_outcome="no-answer"))
    assert (shown.title, shown.program, shown.href) == ("First call", "Ring after discharge", "/tasks/call-1")
    assert (shown.due.words, shown.due.tone) == ("2 h late", "late")
    assert (shown.team, shown.waiting, shown.priority) == ("Care coordinator", "waiting 2 days", "")
    assert (shown.outreach, shown.outreach_when.words) == ("2 attempts, no answer", "20 min ago")
    assert (shown.chip.label, shown.chip.means) == ("To call", "Nobody has tried yet")
    assert shown.person.name == "Rosa Synthetic"
    assert shown.action.version == 5


def test_an_escalation_shows_how_late_the_work_is_that_it_is_about() -> None:
    shown = row(ESCALATION, ITEM)
    assert shown.due.words == "2 h late"
    assert shown.about == "First call"
    assert shown.action.label == "Acknowledge"


@pytest.mark.parametrize(
    ("escalation", "about"),
    [
        (ESCALATION, None),
        (ESCALATION, item(due_at=None)),
        (replace(ESCALATION, open=False, fhir_status="completed"), ITEM),
    ],
)
def test_an_escalation_about_nothing_due_claims_no_due_time(escalation: WorkItem, about: WorkItem | None) -> None:
    assert row(escalation, about).due is None
    assert row(escalation, about).about == ""


def test_an_escalation_with_a_due_time_of_its_own_keeps_it() -> None:
    shown = row(replace(ESCALATION, due_at=LATER), ITEM)
    assert shown.due.words == "today 14:00"
    assert shown.about == ""


def test_a_stopped_clock_makes_nothing_late() -> None:
    assert row(item(clock="paused", hold_until=LATER)).due.tone == ""
    assert row(item(clock="paused", hold_until=LATER)).hold == "until today 14:00"
    closed = row(item(open=False, status="reached", fhir_status="completed"))
    assert (closed.due.words, closed.due.tone, closed.waiting) == ("9:00", "", "")


@pytest.mark.parametrize(
    ("kind", "text"), [("outside", "From the EHR"), ("escalation", "Escalation"), ("task", "Outside programs")]
)
def test_work_of_no_program_says_where_it_comes_from(kind: str, text: str) -> None:
    assert row(item(kind=kind, program=None, program_version=None)).program == text


def test_a_reason_is_told_by_its_title_with_its_level() -> None:
    shown = row(item(escalation_level=2, escalation_reason="Call is late: due Monday, 3 days ago"))
    assert shown.escalation == "Escalated, level 2: Call is late"
    assert in_short("no colon at all") == "no colon at all"


def test_urgent_work_says_so_and_routine_work_does_not() -> None:
    assert row(item(priority="urgent")).priority == "urgent"
    assert row(item(priority="routine")).priority == ""


@pytest.mark.parametrize(
    ("attempts", "outcome", "text"),
    [(0, None, ""), (1, "reached", "1 attempt, reached"), (3, None, "3 attempts"), (2, "Busy", "2 attempts, busy")],
)
def test_outreach_is_told_with_its_last_outcome(attempts: int, outcome: str | None, text: str) -> None:
    assert outreach(item(attempts=attempts, last_attempt_outcome=outcome)) == text


def test_a_patient_is_told_from_another_of_the_same_name() -> None:
    shown = person_of(ROSA, "rosa", NOW)
    assert shown is not None
    assert (shown.born, shown.born_year, shown.age, shown.sex) == ("9 Mar 1948", "1948", "78 y", "F")
    assert (shown.mrn, shown.phone, shown.language) == ("4471", "555-0100", "Spanish")
    assert shown.flags == ("high risk", "unreachable")
    assert shown.href == "/patients/rosa"


@pytest.mark.parametrize(
    ("gender", "sex"),
    [("female", "F"), ("male", "M"), ("other", "other"), ("unknown", "unknown"), (None, ""), ("x", "")],
)
def test_sex_is_told_as_recorded(gender: str | None, sex: str) -> None:
    shown = person_of(replace(ROSA, gender=gender), "rosa", NOW)
    assert shown is not None
    assert shown.sex == sex


def test_the_dead_have_no_age_and_are_marked() -> None:
    shown = person_of(replace(ROSA, deceased=True), "rosa", NOW)
    assert shown is not None
    assert (shown.age, shown.deceased) == ("", True)


def test_a_patient_not_on_record_is_named_by_the_id_and_none_by_nothing() -> None:
    named = person_of(None, "rosa", NOW)
    assert named is not None
    assert named.name == "Patient/rosa"
    assert person_of(None, None, NOW) is None


@pytest.mark.parametrize("kind", ["outside", "plan", "escalation"])
def test_what_has_answers_of_its_own_has_no_moves(kind: str) -> None:
    assert moves_for(item(kind=kind), PROGRAM, NURSE) == ()


def test_moves_are_those_of_the_viewers_roles() -> None:
    assert {move.to for move in moves_for(ITEM, PROGRAM, NURSE)} == {"calling", "reached", "waiting", "lost"}
    assert {move.to for move in moves_for(ITEM, PROGRAM, DESK)} == {"calling", "waiting", "lost"}
    assert {move.to for move in moves_for(item(fhir_status="on-hold", role="front-desk"), None, DESK)} >= {
        "in-progress",
        "completed",
    }
    assert moves_for(item(fhir_status="on-hold"), None, DESK) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "calling"},
        {"owner": "Practitioner/nurse"},
        {"role": "rn"},
        {"due_at": LATER},
        {"priority": "urgent"},
        {"escalation_level": 1},
        {"attempts": 1},
    ],
)
def test_a_digest_changes_with_whatever_a_row_shows(changes: dict[str, Any]) -> None:
    assert digest(ITEM, "") != digest(item(**changes), "")
    assert digest(ITEM, "") == digest(item(), "")


def test_a_digest_changes_when_time_makes_work_late() -> None:
    assert digest(ITEM, "today") != digest(ITEM, "late")


def test_keys_tell_nothing_of_what_they_name() -> None:
    key = short_hash(ITEM.ref)
    assert len(key) == 12
    assert "call" not in key
    assert key == row().key
    assert row_of(ITEM, None, BARE, NURSE, NOW, None).key == key
