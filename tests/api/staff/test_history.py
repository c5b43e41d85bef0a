from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from api.staff.history import (
    attempt_lines,
    changes_since,
    closing_line,
    history_lines,
    note_lines,
    transition_line,
)
from api.staff.names import status_chip
from fhir_tracker.model.vocabulary import CHANNELS, OUTCOMES
from tests.api.staff.samples import BARE, ESCALATION, NAMES, NOW, PROGRAM, attempt, item, row


def said(what: Any, before: str | None, after: str | None, kind: Any = "task", **more: Any) -> str:
    return transition_line(row(what, before, after, **more), kind, PROGRAM, NAMES, NOW).text


@pytest.mark.parametrize(
    ("what", "before", "after", "text"),
    [
        ("status", "to-call", "calling", "To call → Calling"),
        ("status", None, "to-call", "Opened: To call"),
        ("status", "to-call", "lost", "To call → Unreachable"),
        ("status", "to-call", "entered-in-error", "To call → Entered in error"),
        ("stage", "intake", "active", "Intake → Active"),
        ("owner", None, "Practitioner/nurse", "Owner: nobody → The nurse"),
        ("owner", "Practitioner/desk", None, "Owner: The front desk → nobody"),
        ("owner", "Practitioner/gone", "Device/rule-worker", "Owner: gone → Rule worker"),
        ("role", "rn", "front-desk", "Team: RN → Front desk"),
        ("role", None, "clinic-admin", "Team: None → Clinic admin"),
        ("priority", "routine", "urgent", "Priority: routine → urgent"),
        ("priority", None, None, "Priority: none → none"),
        ("escalation", None, "level 1 to rn", "Escalated to RN, level 1"),
        ("escalation", "level 1", "level 2 to provider", "Escalated to Provider, level 2"),
        ("note", None, "x", "Note"),
        ("due", None, "2026-03-11T19:00:00Z", "Due: none → today 15:00"),
        ("due", "2026-03-10T14:00:00Z", "2026-03-12T13:00:00+00:00", "Due: yesterday 10:00 → tomorrow 9:00"),
        ("due", "soon", None, "Due: soon → none"),
    ],
)
def test_a_transition_is_told_in_words(what: str, before: str | None, after: str | None, text: str) -> None:
    assert said(what, before, after) == text


@pytest.mark.parametrize("code", ["requested", "received", "accepted", "in-progress", "rejected", "completed"])
def test_the_history_of_an_escalation_speaks_as_its_chip_does(code: str) -> None:
    chip = status_chip(item(kind="escalation", status=code, fhir_status=code), None)
    assert said("status", None, code, kind="escalation") == f"Opened: {chip.label}"
    assert chip.label not in ("Requested", "Received", "Accepted", "Rejected", "Completed")
    assert chip.means


def test_a_new_escalation_is_new_and_never_requested() -> None:
    assert said("status", "requested", "accepted", kind="escalation") == "New → Acknowledged"
    assert said("status", "accepted", "in-progress", kind="escalation") == "Acknowledged → Taken over"
    assert said("status", "in-progress", "completed", kind="escalation") == "Taken over → Resolved"
    assert said("status", "requested", "rejected", kind="escalation") == "New → Sent back"
    assert said("status", "requested", "cancelled", kind="escalation") == "New → Cancelled"


def test_the_same_codes_of_other_work_keep_their_own_names() -> None:
    line = transition_line(row("status", "requested", "accepted"), "task", None, BARE, NOW)
    assert line.text == "Requested → Accepted"


def test_reason_and_note_are_both_told_without_ids() -> None:
    line = transition_line(
        row("status", "to-call", "lost", reason="See Encounter/north-7", note="Moved"), "task", PROGRAM, NAMES, NOW
    )
    assert line.note == "See Encounter\nMoved"


def test_a_rule_is_named_by_its_own_name() -> None:
    line = transition_line(
        row("status", "a", "b", who="Device/rule-worker", rule="ring|3#late"), "task", None, BARE, NOW
    )
    assert line.who == "Rule worker by rule late"


@pytest.mark.parametrize(
    ("what", "before", "icon"),
    [
        ("status", "to-call", "progress"),
        ("status", None, "open"),
        ("owner", "Practitioner/desk", "person"),
        ("escalation", None, "escalated"),
        ("priority", "routine", "flag"),
    ],
)
def test_each_kind_of_line_has_its_icon(what: Any, before: str | None, icon: str) -> None:
    assert transition_line(row(what, before, "x to y"), "task", PROGRAM, NAMES, NOW).icon == icon


def test_the_newest_line_comes_first_and_the_beginning_is_one_line() -> None:
    begun: dict[str, Any] = {"recorded_at": NOW - timedelta(days=1), "effective_at": NOW - timedelta(days=1)}
    log = (
        row("status", None, "to-call", **begun),
        row("role", None, "rn", **begun),
        row("due", None, "2026-03-12T13:00:00Z", **begun),
        row("owner", None, "Practitioner/nurse", minutes=30),
        row("escalation", None, "level 1 to rn", minutes=20),
        row("status", "to-call", "calling", minutes=10),
    )
    lines = history_lines(log, "task", PROGRAM, NAMES, NOW)
    assert [line.text for line in lines] == [
        "To call → Calling",
        "Escalated to RN, level 1",
        "Owner: nobody → The nurse",
        "Opened: To call",
    ]
    assert [line.when.words for line in lines if line.when] == [
        "10 min ago",
        "20 min ago",
        "30 min ago",
        "yesterday 11:00",
    ]


def test_no_history_is_no_lines() -> None:
    assert history_lines((), "task", PROGRAM, NAMES, NOW) == ()


@pytest.mark.parametrize("channel", list(CHANNELS))
@pytest.mark.parametrize("outcome", list(OUTCOMES))
def test_an_attempt_names_channel_and_outcome(channel: str, outcome: str) -> None:
    (line,) = attempt_lines([attempt(5, channel=channel, outcome=outcome)], NAMES, NOW)
    assert line.text == f"{CHANNELS[channel]}: {OUTCOMES[outcome]}"
    assert line.who == ""


def test_attempts_come_newest_first_with_note_and_person() -> None:
    lines = attempt_lines(
        [attempt(90, by="Practitioner/nurse", note="a"), attempt(3, by="Practitioner/gone", note="b")], NAMES, NOW
    )
    assert [(line.note, line.who) for line in lines] == [("b", "gone"), ("a", "The nurse")]
    assert lines[0].text == "unknown: unknown"


def test_an_attempt_of_another_system_keeps_its_own_words() -> None:
    (line,) = attempt_lines([attempt(1, channel="fax", outcome="Hung up")], NAMES, NOW)
    assert line.text == "fax: Hung up"


@pytest.mark.parametrize(
    ("note", "text", "who", "dated"),
    [
        ({"text": "Hi", "authorString": "Ana", "time": "2026-03-11T14:00:00Z"}, "Hi", "Ana", True),
        ({"text": "Hi", "authorReference": {"display": "Dr. Bo"}}, "Hi", "Dr. Bo", False),
        ({"text": "Hi", "time": "2026"}, "Hi", "", True),
        ({}, "", "", False),
        ({"text": 5, "authorString": []}, "", "", False),
    ],
)
def test_a_note_is_shown_as_it_was_written(note: dict[str, Any], text: str, who: str, dated: bool) -> None:
    (line,) = note_lines({"resourceType": "Task", "note": [note]}, NAMES, NOW)
    assert (line.text, line.who) == (text, who)
    assert dated or line.when is None


def test_the_last_note_comes_first() -> None:
    task = {"resourceType": "Task", "note": [{"text": "first"}, {"text": "second"}]}
    assert [line.text for line in note_lines(task, NAMES, NOW)] == ["second", "first"]
    assert note_lines({"resourceType": "Task"}, NAMES, NOW) == ()


def test_a_conflict_tells_only_what_is_newer_than_the_form() -> None:
    log = (row("status", None, "to-call", minutes=60), row("owner", None, "Practitioner/desk", minutes=5))
    lines = changes_since(log, "task", NOW - timedelta(minutes=30), PROGRAM, NAMES, NOW)
    assert [line.text for line in lines] == ["Owner: nobody → The front desk"]


def test_a_change_without_a_transition_is_told_in_general() -> None:
    (line,) = changes_since((), "task", NOW, PROGRAM, NAMES, NOW)
    assert line.text == "A note or another detail was added."


def test_the_closing_says_who_when_why_and_how_the_last_attempt_ended() -> None:
    log = (
        row("status", None, "to-call", minutes=90),
        row("status", "to-call", "reached", minutes=4, note="Spoke with her", reason="Done"),
        row("priority", "routine", "urgent", minutes=1),
    )
    done = item(status="reached", open=False, last_attempt_outcome="reached")
    line = closing_line(log, done, PROGRAM, NAMES, NOW)
    assert line is not None
    assert line.text == "By The nurse"
    assert line.when is not None
    assert line.when.words == "4 min ago"
    assert line.note == "Done\nSpoke with her\nLast attempt: Reached."


def test_the_latest_closing_counts_when_work_was_reopened() -> None:
    log = (
        row("status", "to-call", "reached", minutes=90, who="Practitioner/desk"),
        row("status", "reached", "calling", minutes=60),
        row("status", "calling", "reached", minutes=5),
    )
    line = closing_line(log, item(status="reached", open=False), PROGRAM, NAMES, NOW)
    assert line is not None
    assert (line.text, line.note) == ("By The nurse", "")


def test_a_rule_that_closed_work_is_named() -> None:
    log = (row("status", "requested", "completed", who="Device/rule-worker", rule="ring|3#done"),)
    line = closing_line(log, item(status="completed", open=False), None, BARE, NOW)
    assert line is not None
    assert line.text == "By Rule worker by rule done"


def test_closed_work_without_a_row_names_nobody() -> None:
    assert closing_line((), item(status="reached", open=False), PROGRAM, NAMES, NOW) is None
    assert closing_line((row("status", "a", "b"),), item(status="c", open=False), PROGRAM, NAMES, NOW) is None


def test_an_escalation_closed_because_its_work_is_closed_says_so() -> None:
    log = (row("status", "requested", "completed", reason="First call is closed: reached"),)
    closed = item(kind="escalation", status="completed", fhir_status="completed", open=False, title=ESCALATION.title)
    line = closing_line(log, closed, None, NAMES, NOW)
    assert line is not None
    assert line.note == "First call is closed: reached"
