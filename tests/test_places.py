"""Whose calendar counts for stored work: how a plan comes to its site, and what happens to due times when it moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from fhir_tracker import enrolment, transitions, writes
from fhir_tracker.model.places import site_extension
from fhir_tracker.model.work import Transition, WorkItem
from fhir_tracker.sites import MOST_LEVELS
from fhir_tracker.storage.database import Database
from tests.support.clinic import COORDINATOR, MONDAY, NURSE, RING, Clinic, author, encounter

HOUR = timedelta(hours=1)
SITED = RING.replace(
    'calendar: {zone: America/New_York, hours: "Mon-Fri 08:00-17:00", holidays: US}',
    'calendar: {zone: America/New_York, hours: "Mon-Fri 08:00-17:00", holidays: US, sites: {'
    "west: {zone: America/Los_Angeles, locations: [Location/w1, Organization/west]}, "
    'late: {zone: America/New_York, hours: "Mon-Fri 12:00-19:00"}}}',
).replace("within: 2 days", "within: 2 business days")
AT_HOME = datetime(2026, 3, 11, 21, tzinfo=UTC)
IN_THE_WEST = datetime(2026, 3, 12, 0, tzinfo=UTC)
LATE = datetime(2026, 3, 11, 23, tzinfo=UTC)


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database, SITED)
    made.patient("ann")
    return made


def by_hand(clinic: Clinic, site: str | None = None) -> str:
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        ref = enrolment.by_hand(tx, clinic.program, "ann", by, site=site).ref
    clinic.sweep(MONDAY)
    return ref


def call(clinic: Clinic) -> WorkItem:
    return clinic.task("ann", "first-call")


def at_site(clinic: Clinic, ref: str, site: str, at: datetime) -> None:
    """Move a plan or a task to another site, as a client does."""
    body = clinic.resource(ref)
    others = [one for one in body.get("extension", []) if not one["url"].endswith("/site")]
    with clinic.database.begin() as tx:
        type_, _, id_ = ref.partition("/")
        writes.update(tx, type_, id_, body | {"extension": [*others, site_extension(site)]}, author(at))
    clinic.sweep(at)


def dues(clinic: Clinic) -> list[Transition]:
    return [row for row in clinic.log(call(clinic).ref) if row.what == "due"]


def test_without_a_site_the_practices_calendar_counts(clinic: Clinic) -> None:
    by_hand(clinic)
    assert call(clinic).due_at == AT_HOME


@pytest.mark.parametrize("site", ["west", "Location/w1"])
def test_a_plan_opened_at_a_site_counts_by_its_calendar(clinic: Clinic, site: str) -> None:
    ref = by_hand(clinic, site)
    assert call(clinic).due_at == IN_THE_WEST
    assert site_extension("west") in clinic.resource(ref)["extension"]


def test_a_plan_comes_to_the_site_of_the_event_that_opened_it(clinic: Clinic) -> None:
    stay: dict[str, Any] = encounter("ann", MONDAY, id_="stay") | {
        "location": [{"location": {"reference": "Location/w1"}}]
    }
    clinic.put(stay, MONDAY)
    clinic.enrol(MONDAY)
    assert call(clinic).due_at == IN_THE_WEST


def test_else_to_that_of_the_organization_that_keeps_the_patients_record(clinic: Clinic) -> None:
    home = {"managingOrganization": {"reference": "Organization/west"}}
    clinic.put({"resourceType": "Patient", "id": "ann", "name": [{"family": "Synthetic"}]} | home, MONDAY)
    clinic.discharge("ann", MONDAY)
    assert call(clinic).due_at == IN_THE_WEST


def test_a_plan_that_moves_to_another_site_has_its_due_times_counted_anew_with_a_row_that_says_so(
    clinic: Clinic,
) -> None:
    ref = by_hand(clinic)
    at_site(clinic, ref, "west", MONDAY + HOUR)
    assert call(clinic).due_at == IN_THE_WEST
    row = dues(clinic)[-1]
    assert (row.before, row.after) == (AT_HOME.isoformat(), IN_THE_WEST.isoformat())
    assert "the calendar of west counts now, before it was that of the practice" in (row.reason or "")
    for hour in (1, 2, 3):
        clinic.sweep(MONDAY + hour * HOUR)
    assert len(dues(clinic)) == 2
    at_site(clinic, ref, "late", MONDAY + 4 * HOUR)
    assert call(clinic).due_at == LATE


def test_a_task_that_moves_alone_is_counted_by_its_own_place(clinic: Clinic) -> None:
    by_hand(clinic)
    at_site(clinic, call(clinic).ref, "west", MONDAY + HOUR)
    assert call(clinic).due_at == IN_THE_WEST


def test_back_and_forth_ends_where_it_began(clinic: Clinic) -> None:
    ref = by_hand(clinic)
    for hour, site in enumerate(("west", "home", "west", "home"), 1):
        at_site(clinic, ref, site, MONDAY + hour * HOUR)
    assert call(clinic).due_at == AT_HOME
    assert len(dues(clinic)) == 5


def test_a_due_time_that_somebody_set_stays_wherever_the_plan_moves(clinic: Clinic) -> None:
    ref, own = by_hand(clinic), MONDAY + timedelta(days=5, minutes=7)
    with clinic.acting(MONDAY + HOUR, NURSE) as (tx, by):
        task = transitions.find_task(tx, NURSE, call(clinic).ref)
        transitions.store(tx, task.resource | {"restriction": {"period": {"end": own.isoformat()}}}, by, None)
    at_site(clinic, ref, "west", MONDAY + 2 * HOUR)
    assert call(clinic).due_at == own


def test_a_place_without_a_calendar_of_its_own_changes_nothing(clinic: Clinic) -> None:
    ref = by_hand(clinic)
    at_site(clinic, ref, "elsewhere", MONDAY + HOUR)
    assert (call(clinic).due_at, len(dues(clinic))) == (AT_HOME, 1)


def place(clinic: Clinic, ref: str, part_of: str = "") -> None:
    type_, _, id_ = ref.partition("/")
    above = {"partOf": {"reference": part_of}} if part_of else {}
    clinic.put({"resourceType": type_, "id": id_, "name": "Synthetic", **above}, MONDAY)


def chain(clinic: Clinic, levels: int, top: str = "Location/w1") -> str:
    """A room so many levels under a place; its reference."""
    names = [*(f"Location/l{number}" for number in range(levels)), top]
    for below, above in pairwise(names):
        place(clinic, below, above)
    return names[0]


@pytest.mark.parametrize("levels", [1, 2, 9])
def test_a_room_counts_by_the_calendar_of_the_house_that_it_is_part_of(clinic: Clinic, levels: int) -> None:
    room = chain(clinic, levels)
    by_hand(clinic, room)
    assert call(clinic).due_at == IN_THE_WEST


def test_an_event_in_a_room_brings_the_plan_to_its_house(clinic: Clinic) -> None:
    room = chain(clinic, 3)
    clinic.put(encounter("ann", MONDAY, id_="stay") | {"location": [{"location": {"reference": room}}]}, MONDAY)
    clinic.enrol(MONDAY)
    assert call(clinic).due_at == IN_THE_WEST


def test_a_department_keeps_the_record_for_its_organization(clinic: Clinic) -> None:
    place(clinic, "Organization/ward", "Organization/house")
    place(clinic, "Organization/house", "Organization/west")
    home = {"managingOrganization": {"reference": "Organization/ward"}}
    clinic.put({"resourceType": "Patient", "id": "ann", "name": [{"family": "Synthetic"}]} | home, MONDAY)
    clinic.discharge("ann", MONDAY)
    assert call(clinic).due_at == IN_THE_WEST


@pytest.mark.parametrize("how", ["extension", "location"])
def test_work_that_moves_to_a_room_is_counted_by_its_house(clinic: Clinic, how: str) -> None:
    by_hand(clinic)
    room, ref = chain(clinic, 2), call(clinic).ref
    if how == "extension":
        at_site(clinic, ref, room, MONDAY + HOUR)
    else:
        with clinic.acting(MONDAY + HOUR) as (tx, by):
            body = clinic.resource(ref) | {"location": {"reference": room}}
            writes.update(tx, "Task", ref.partition("/")[2], body, by)
        clinic.sweep(MONDAY + HOUR)
    assert (call(clinic).due_at, call(clinic).site) == (IN_THE_WEST, "Location/w1")
    assert clinic.resource(ref)["location" if how == "location" else "resourceType"]


def test_the_nearest_house_with_a_calendar_counts(database: Database) -> None:
    text = SITED.replace(
        '{zone: America/New_York, hours: "Mon-Fri 12:00-19:00"}',
        '{hours: "Mon-Fri 12:00-19:00", locations: Location/l1}',
    )
    clinic = Clinic(database, text)
    clinic.patient("ann")
    by_hand(clinic, chain(clinic, 3))
    assert call(clinic).due_at == LATE


@pytest.mark.parametrize(
    "places",
    [
        {"Location/l0": "Location/l0"},
        {"Location/l0": "Location/l1", "Location/l1": "Location/l0"},
        {"Location/l0": "Location/nowhere"},
        {"Location/l0": ""},
        {"Location/l0": "https://elsewhere.example/Location/w1"},
        {},
    ],
    ids=["itself", "circle", "nowhere", "nothing", "elsewhere", "unknown"],
)
def test_what_leads_nowhere_counts_by_the_practices_calendar(clinic: Clinic, places: dict[str, str]) -> None:
    for below, above in places.items():
        place(clinic, below, above)
    by_hand(clinic, "Location/l0")
    assert call(clinic).due_at == AT_HOME
    at_site(clinic, call(clinic).ref, "Location/l0", MONDAY + HOUR)
    assert (call(clinic).due_at, call(clinic).site) == (AT_HOME, "Location/l0")


def test_what_is_deeper_than_anybody_builds_is_not_followed(clinic: Clinic) -> None:
    by_hand(clinic, chain(clinic, MOST_LEVELS + 2))
    assert call(clinic).due_at == AT_HOME


def test_a_house_that_was_deleted_holds_nothing_any_more(clinic: Clinic) -> None:
    room = chain(clinic, 2)
    clinic.remove("Location/l1", MONDAY)
    by_hand(clinic, room)
    assert call(clinic).due_at == AT_HOME
