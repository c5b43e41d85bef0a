"""Whose calendar counts for stored work: how a plan comes to its site, and what happens to due times when it moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_tracker import enrolment, transitions, writes
from fhir_tracker.model.places import site_extension
from fhir_tracker.model.work import Transition, WorkItem
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
