"""Hospital stays from Encounters: which count, how they join, and when one is over."""

from __future__ import annotations

from datetime import datetime
from itertools import permutations

import pytest

from fhir_tracker.model.work import Event
from fhir_tracker.rules.stays import Stay, stay_at, stays
from tests.rules.samples import MONDAY, event, hours

ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def encounter(
    name: str, start: float | None, end: float | None, status: str = "finished", code: str = "IMP", seen: float = 100
) -> Event:
    def at(when: float | None) -> datetime | None:
        return None if when is None else MONDAY + hours(when)

    return event(
        f"Encounter/{name}", status, at(start), end=at(end), codes=(f"{ACT}|{code}",), seen_at=MONDAY + hours(seen)
    )


def spans(*found: Event) -> list[tuple[float, float | None]]:
    return [
        ((one.start - MONDAY) / hours(1), None if one.end is None else (one.end - MONDAY) / hours(1))
        for one in stays(found)
    ]


@pytest.mark.parametrize("code", ["IMP", "ACUTE", "NONAC", "OBSENC", "SS"])
def test_every_class_of_a_stay_counts(code: str) -> None:
    assert spans(encounter("a", 1, 5, code=code)) == [(1, 5)]


@pytest.mark.parametrize("code", ["AMB", "EMER", "VR", "HH", "FLD", "PRENC"])
def test_other_encounters_are_no_stay(code: str) -> None:
    assert spans(encounter("a", 1, 5, code=code)) == []


@pytest.mark.parametrize("status", ["planned", "cancelled", "entered-in-error", "unknown", ""])
def test_what_did_not_take_place_is_no_stay(status: str) -> None:
    assert spans(encounter("a", 1, 5, status)) == []


def test_a_stay_that_goes_on_has_no_end_unless_one_is_known() -> None:
    assert spans(encounter("a", 1, None, "in-progress")) == [(1, None)]
    assert spans(encounter("a", 1, 500, "in-progress")) == [(1, 500)]


def test_what_the_hospital_left_out_is_taken_from_when_it_was_heard_of() -> None:
    assert spans(encounter("a", None, None, "in-progress", seen=7)) == [(7, None)]
    assert spans(encounter("a", 1, None, seen=7)) == [(1, 7)]
    assert spans(encounter("a", None, 5, seen=7)) == []


def test_transfers_and_stays_that_overlap_are_one_in_any_order() -> None:
    parts = [
        encounter("a", 1, 5),
        encounter("b", 5, 9, code="ACUTE"),
        encounter("c", 20, None, "in-progress"),
        encounter("d", 22, 23),
    ]
    for order in permutations(parts):
        assert spans(*order) == [(1, 9), (20, None)]
    assert stays(parts)[0].refs == ("Encounter/a", "Encounter/b")


def test_a_patient_is_in_hospital_from_the_first_moment_to_just_before_the_last() -> None:
    known = [encounter("a", 1, 5)]
    assert stay_at(known, MONDAY + hours(0.99)) is None
    assert stay_at(known, MONDAY + hours(1)) == Stay(
        start=MONDAY + hours(1), end=MONDAY + hours(5), refs=("Encounter/a",)
    )
    assert stay_at(known, MONDAY + hours(5)) is None
