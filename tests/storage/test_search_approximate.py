"""Approximate values find what lies within a tenth: of the value for numbers, of the gap to now for dates.

https://hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_tracker.fhir.dates import milliseconds
from fhir_tracker.fhir.query import Query, parse_query, parse_system_query
from fhir_tracker.fhir.search_approximation import is_approximate, settled
from fhir_tracker.storage import search
from fhir_tracker.storage.database import Database
from tests.storage.samples import VIEWER, pairs, put_all, task
from tests.storage.shelf import DATES, span_of

NOWS = (
    datetime(2026, 3, 9, 15, 30, tzinfo=UTC),
    datetime(2020, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 2, 0, 0, 0, 5000, tzinfo=UTC),
    datetime(2101, 6, 1, tzinfo=UTC),
)
ASKED = ("2025", "2026-03", "2026-03-01", "2026-03-02T00:00:00Z", "2023-12-31", "2001", "2030-07-15T08:00:00Z")


def close(text: str, wanted: str, now: datetime) -> bool:
    """Whether two dates are approximately the same at `now`, by whole milliseconds."""
    (low, high), (start, end) = span_of(wanted), span_of(text)
    gap = max(low - now, now - high, timedelta(0)) // timedelta(milliseconds=1) // 10 * timedelta(milliseconds=1)
    return start < high + gap and end > low - gap


def some_dates(chance: random.Random) -> Iterator[str]:
    yield from DATES
    for _ in range(60):
        moment = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=chance.randint(-90_000_000, 90_000_000))
        yield moment.strftime(chance.choice(("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d", "%Y-%m")))


def ids(database: Database, query: Query) -> list[str]:
    with database.read() as tx:
        return sorted(one.id for one in search.search(tx, VIEWER, query).matches)


@pytest.mark.requirement(22)
def test_approximate_dates_are_within_a_tenth_of_the_gap_to_now(database: Database) -> None:
    held = {f"t{number}": text for number, text in enumerate(some_dates(random.Random(3)))}
    put_all(database, [task(id_, authoredOn=text, status="completed") for id_, text in held.items()])
    finds = 0
    for now in NOWS:
        for wanted in ASKED:
            expected = sorted(id_ for id_, text in held.items() if close(text, wanted, now))
            for text in (f"authored-on=ap{wanted}", f"authored-on=ap{wanted}&status=completed"):
                query = parse_query("Task", pairs(f"{text}&_count=1000"), strict=True)
                assert ids(database, settled(query, milliseconds(now))) == expected, (wanted, now)
            finds += bool(expected)
    assert finds > 15


@pytest.mark.requirement(22)
def test_the_same_holds_of_periods_of_composites_in_chains_and_of_when_something_was_changed(
    database: Database,
) -> None:
    period = {"start": "2026-02-01", "end": "2026-02-10"}
    put_all(
        database, [task("t", executionPeriod=period), {"resourceType": "Patient", "id": "ann", "birthDate": "1950"}]
    )
    far, near = milliseconds(datetime(2027, 1, 1, tzinfo=UTC)), milliseconds(datetime(2026, 2, 20, tzinfo=UTC))
    for text, at_far, at_near in (
        ("period=ap2026-02-15", ["t"], []),
        ("period=ap2026-02-05", ["t"], ["t"]),
        ("_lastUpdated=ap2026-03-01", ["t"], []),
        ("patient.birthdate=ap1945", ["t"], ["t"]),
        ("patient.birthdate=ap1900", [], []),
    ):
        query = parse_query("Task", pairs(text), strict=True)
        assert is_approximate(query)
        assert (ids(database, settled(query, far)), ids(database, settled(query, near))) == (at_far, at_near), text
    reverse = parse_query("Patient", pairs("_has:Task:patient:period=ap2026-02-15"), strict=True)
    assert (ids(database, settled(reverse, far)), ids(database, settled(reverse, near))) == (["ann"], [])


@pytest.mark.requirement(22)
def test_an_approximate_date_goes_no_farther_than_time_does(database: Database) -> None:
    put_all(database, [task("t", authoredOn="0001-01-01"), task("u", authoredOn="9999-12-31")])
    for year, found in (("0001", "t"), ("9999", "u")):
        query = parse_system_query(pairs(f"_type=Task&authored-on=ap{year}"), strict=True)
        assert found in ids(database, settled(query, milliseconds(datetime(2026, 1, 1, tzinfo=UTC))))


@pytest.mark.requirement(22)
def test_what_is_not_approximate_stays_as_it_is() -> None:
    query = parse_query("Task", pairs("authored-on=ge2026&status=requested&patient.birthdate=1950"), strict=True)
    assert settled(query, 0) is query


def an_observation(id_: str, value: float) -> dict[str, Any]:
    amount = {"value": value, "unit": "mg", "system": "http://u", "code": "mg"}
    coding = {"coding": [{"code": "x"}]}
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": coding, "valueQuantity": amount}


@pytest.mark.requirement(22)
def test_approximate_numbers_are_within_a_tenth_of_the_value(database: Database) -> None:
    """A stored number reaches half a unit of its last digit to both sides."""
    held = {f"o{number}": number for number in (-111, -110, -100, -89, -88, 0, 88, 89, 90, 100, 110, 111, 112)}
    put_all(database, [an_observation(id_, value) for id_, value in held.items()])
    for wanted in (-100, 0, 100, 99):
        reach = abs(wanted) / 10 + 0.5
        expected = sorted(id_ for id_, value in held.items() if wanted - reach <= value <= wanted + reach)
        for text in (f"value-quantity=ap{wanted}", f"value-quantity=ap{wanted}|http://u|mg"):
            assert ids(database, parse_query("Observation", pairs(text), strict=True)) == expected, text
