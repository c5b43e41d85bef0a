"""`document_missing`: each happening expects its own document, in time, and which filed one belongs to which."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.work import Event
from fhir_tracker.rules.documents import expectations, satisfied
from tests.rules.samples import (
    MONDAY,
    event,
    facts,
    hours,
    item,
    judged,
    ny,
    plan,
    plan_item,
    program,
    verdict,
    visit,
    with_rule,
)

NOTE, SUMMARY = "{document_missing: note}", "{document_missing: summary}"
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
A, B = visit("a", "fulfilled", MONDAY), visit("b", "fulfilled", MONDAY + 7 * DAY)
END = MONDAY + 20 * DAY


def note(name: str, at: datetime, *about: str, code: str = "urn:l|note", status: str = "current") -> Event:
    refs = tuple(f"Appointment/{one}" for one in about)
    return event(f"DocumentReference/{name}", status, at, codes=(code,), about=refs)


def missing(*events: Event, now: datetime = END) -> list[str]:
    """The visits whose note is missing, for every order of arrival."""
    answers = [
        [one.occurrence.rpartition("/")[2] for one in judged(NOTE, facts(plan_item(), events=order), now, "plan")]
        for order in list(permutations(events))[:24]
    ]
    assert all(one == answers[0] for one in answers)
    return [one for one in answers[0] if one]


def test_a_document_is_missing_from_the_second_its_time_is_over() -> None:
    known = facts(plan_item(), events=(A,))
    early = verdict(NOTE, known, MONDAY + hours(48) - SECOND, "plan")
    assert (early.holds, early.next_change) == (False, MONDAY + hours(48))
    assert early.why == "Note is expected by Wed 11 Mar 2026 09:00"
    late = verdict(NOTE, known, MONDAY + hours(48), "plan")
    assert (late.holds, late.occurrence, late.since) == (True, "Appointment/a", MONDAY + hours(48))
    assert late.facts == {"document": "note", "after": "Appointment/a", "due": "2026-03-11T13:00:00.000Z"}
    assert verdict(NOTE, known, MONDAY + hours(49), "plan").why == (
        "Note is missing for 1 h: expected by Wed 11 Mar 2026 09:00, within 48 hours after Appointment/a"
    )


def stay(name: str, at: datetime, hours_long: float = 1, *booked: str) -> Event:
    """An Encounter, with the appointments it was for."""
    refs = tuple(f"Appointment/{one}" for one in booked)
    return event(f"Encounter/{name}", "finished", at, end=at + hours(hours_long), about=refs)


def of_stay(name: str, at: datetime, encounter: str = "e") -> Event:
    """A note that says which Encounter it is of."""
    changes = {"codes": ("urn:l|note",), "about": (f"Encounter/{encounter}",)}
    return event(f"DocumentReference/{name}", "current", at, **changes)


FILED: list[tuple[str, tuple[Event, ...], list[str]]] = [
    ("nothing happened", (), []),
    ("nothing filed", (A, B), ["a", "b"]),
    ("named", (A, B, note("d", END, "a")), ["b"]),
    ("both named by one", (A, B, note("d", END, "a", "b")), []),
    ("unnamed goes to the latest before it", (A, B, note("d", MONDAY + 7 * DAY + hours(1))), ["a"]),
    ("unnamed between goes to the first", (A, B, note("d", MONDAY + DAY)), ["b"]),
    ("two unnamed fill both", (A, B, note("d", MONDAY + DAY), note("e", MONDAY + 8 * DAY)), []),
    ("two unnamed after both fill both", (A, B, note("d", MONDAY + 9 * DAY), note("e", MONDAY + 8 * DAY)), []),
    ("three for two", (A, B, *(note(f"d{n}", MONDAY + 9 * DAY) for n in range(3))), []),
    ("named twice leaves the other", (A, B, note("d", END, "a"), note("e", END, "a")), ["b"]),
    ("named counts before unnamed", (A, B, note("d", MONDAY + 8 * DAY), note("e", END, "b")), []),
    ("filed before the visit's day", (A, note("d", MONDAY - DAY)), ["a"]),
    ("filed that day, date only", (A, note("d", ny("2026-03-09 00:00"))), []),
    ("filed the evening before", (A, note("d", ny("2026-03-08 23:59"))), ["a"]),
    ("named though filed before", (A, note("d", MONDAY - 9 * DAY, "a")), []),
    ("of the encounter of that day", (A, B, stay("e", MONDAY + 7 * DAY), of_stay("d", END)), ["a"]),
    ("of an encounter over that day", (A, B, stay("e", MONDAY - DAY, 48), of_stay("d", END)), ["b"]),
    ("of an encounter of another day", (A, B, stay("e", MONDAY + 3 * DAY), of_stay("d", END)), ["a", "b"]),
    ("of the encounter booked as it", (A, B, stay("e", MONDAY + 3 * DAY, 1, "b"), of_stay("d", END)), ["a"]),
    ("of an encounter nobody knows", (A, B, of_stay("d", MONDAY + DAY)), ["b"]),
    ("names something else", (A, note("d", MONDAY + DAY, "zzz")), []),
    ("another type of document", (A, note("d", MONDAY + DAY, "a", code="urn:l|letter")), ["a"]),
    ("entered in error", (A, note("d", MONDAY + DAY, "a", status="entered-in-error")), ["a"]),
    ("superseded still was filed", (A, note("d", MONDAY + DAY, "a", status="superseded")), []),
    ("the visit was not fulfilled", (visit("a", "noshow", MONDAY),), []),
    ("the visit is of another service", (visit("a", "fulfilled", MONDAY, codes=("urn:x|other",)),), []),
    ("the visit was before the plan", (visit("a", "fulfilled", MONDAY - DAY),), []),
]


@pytest.mark.parametrize(("events", "expected"), [row[1:] for row in FILED], ids=[row[0] for row in FILED])
def test_which_visit_lacks_its_note(events: tuple[Event, ...], expected: list[str]) -> None:
    assert missing(*events) == expected


def test_a_long_visit_expects_its_note_after_its_end() -> None:
    stay = visit("a", "fulfilled", MONDAY, end=MONDAY + hours(10))
    assert verdict(NOTE, facts(plan_item(), events=(stay,)), MONDAY, "plan").next_change == MONDAY + hours(58)


def test_a_visit_that_is_not_late_yet_does_not_hide_one_that_is() -> None:
    found = judged(NOTE, facts(plan_item(), events=(A, B)), MONDAY + 8 * DAY, "plan")
    assert [(one.occurrence, one.next_change) for one in found] == [("Appointment/a", MONDAY + 9 * DAY)]


def test_late_filing_ends_the_case_and_says_so() -> None:
    found = verdict(NOTE, facts(plan_item(), events=(A, note("d", END, "a"))), END, "plan")
    assert (found.holds, found.why, found.next_change) == (False, "Note is there", None)
    assert found.facts == {"document": "note", "expected": "1", "found": "DocumentReference/d"}
    nothing = verdict(NOTE, facts(plan_item()), END, "plan")
    assert nothing.why == "nothing has happened yet that needs Note"


@pytest.mark.parametrize(
    ("discharge", "due"),
    [
        ("2026-03-06 15:00", "2026-03-10 17:00"),
        ("2026-03-07 03:00", "2026-03-10 17:00"),
        ("2026-07-02 18:00", "2026-07-07 17:00"),
        ("2026-11-25 10:00", "2026-11-30 17:00"),
    ],
)
def test_a_document_after_a_moment_of_the_plan_is_one_case(discharge: str, due: str) -> None:
    known = facts(plan_item(), plan=plan(ny(discharge) + DAY, discharge=ny(discharge)))
    assert verdict(SUMMARY, known, ny(due) - SECOND, "plan").next_change == ny(due)
    late = verdict(SUMMARY, known, ny(due), "plan")
    assert (late.holds, late.occurrence, late.facts["after"]) == (True, "", "discharge")


def test_work_outside_a_plan_expects_nothing_after_a_discharge() -> None:
    known = facts(plan_item(), plan=None)
    assert not verdict(SUMMARY, known, END, "plan").holds
    assert verdict(SUMMARY, known, END, "plan").why == "nothing has happened yet that needs Summary"


def test_each_expectation_tells_from_when_and_until_when() -> None:
    demo = program()
    document = demo.document("note")
    assert document is not None
    known = facts(plan_item(), events=(B, A, note("d", END, "b")))
    first, second = expectations(demo, known, document)
    assert (first.ref, first.opens, first.due) == ("Appointment/a", ny("2026-03-09 00:00"), MONDAY + hours(48))
    assert second.after == MONDAY + 7 * DAY
    assert {ref: one.ref for ref, one in satisfied(demo, known, document).items()} == {
        "Appointment/b": "DocumentReference/d"
    }


def test_a_task_sees_the_documents_of_its_plan() -> None:
    assert verdict(NOTE, facts(item(), events=(A,)), END).holds
    assert not verdict(NOTE, facts(item(open=False), events=(A,)), END).holds


@pytest.mark.parametrize(("argument", "says"), [("nota", 'did you mean "note"'), ("{code: note}", "must be a text")])
def test_its_argument_is_read_strictly(argument: str, says: str) -> None:
    with pytest.raises(Incorrect) as caught:
        with_rule(f"{{document_missing: {argument}}}")
    assert says in caught.value.issues[0].message
