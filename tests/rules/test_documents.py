"""Which filed document belongs to which expectation."""

from __future__ import annotations

import pytest

from fhir_tracker.model.work import Event
from fhir_tracker.rules.documents import expectations, satisfied
from tests.rules.samples import MONDAY, event, facts, hours, plan_item, program, visit

DEMO = program()
DAY = hours(24)


def note(name: str, *about: str, after: float = 30) -> Event:
    return event(f"DocumentReference/{name}", "current", MONDAY + hours(after), codes=("urn:l|note",), about=about)


def encounter(name: str, after: float, *about: str) -> Event:
    start = MONDAY + hours(after)
    return event(f"Encounter/{name}", "finished", start, end=start + hours(1), about=about)


def found(*events: Event) -> dict[str, str]:
    known = facts(plan_item(), events=(*events, visit("a", "fulfilled", MONDAY), visit("b", "fulfilled", MONDAY + DAY)))
    document = DEMO.document("note")
    assert document is not None
    assert [one.ref for one in expectations(DEMO, known, document)] == ["Appointment/a", "Appointment/b"]
    return {ref.removeprefix("Appointment/"): one.ref for ref, one in satisfied(DEMO, known, document).items()}


@pytest.mark.parametrize(
    ("events", "belongs"),
    [
        ((note("n"),), "b"),
        ((note("n", after=5),), "a"),
        ((note("n", "Appointment/a"),), "a"),
        ((note("n", "Encounter/e"), encounter("e", 0, "Appointment/a")), "a"),
        ((note("n", "Encounter/e"), encounter("e", 1)), "a"),
        ((note("n", "Encounter/unknown"),), "b"),
        ((note("n", "Encounter/e"), encounter("e", 100)), ""),
        ((note("n", "Encounter/e"), encounter("e", 24, "Appointment/c"), visit("c", "booked", MONDAY + DAY)), ""),
        ((note("n", "Appointment/c"), visit("c", "booked", MONDAY + DAY)), ""),
    ],
    ids=[
        "says nothing: the latest",
        "says nothing: not one after it",
        "names the appointment",
        "names its encounter",
        "names an encounter of that day",
        "names an encounter nobody knows",
        "names an encounter of another day",
        "names an encounter of another appointment",
        "names another appointment",
    ],
)
def test_a_document_belongs_to_what_it_names(events: tuple[Event, ...], belongs: str) -> None:
    assert found(*events) == ({belongs: "DocumentReference/n"} if belongs else {})


def test_two_documents_that_name_nothing_go_one_to_each() -> None:
    assert found(note("n1"), note("n2", after=31)) == {"b": "DocumentReference/n1", "a": "DocumentReference/n2"}
