"""A person opens the page of a patient: the worker reads that patient within seconds, once a minute at most."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import respx

from fhir_tracker import connections
from fhir_tracker.config import load_settings
from fhir_tracker.storage import jobs, resources, rosters
from fhir_tracker.storage.database import Database
from subscriptions import leases, note_opened, sync_due, sync_hints
from tests.subscriptions.fake_ehr import BASE
from tests.subscriptions.tracker import VIEWER
from tests.subscriptions.vendor_ehr import EPIC, VendorEhr


class Desk:
    """A connection that reads plans one by one and care teams only when a page opens, and its worker."""

    def __init__(self, database: Database, url: str, router: respx.MockRouter) -> None:
        self.database = database
        self.settings = load_settings({"FHIR_TRACKER_REMOTE_TIMEOUT": "5s"}, database=url)
        self.now = datetime(2031, 1, 1, tzinfo=UTC)
        self.ehr = VendorEhr(EPIC)
        self.ehr.serve(router)

    def follow(self, **strategies: str) -> None:
        options = {"strategies": {"Patient": "roster", "CarePlan": "roster?category=assess-plan", **strategies}}
        with self.database.begin() as tx:
            connections.add(
                tx, "clinic", BASE, now=self.now, types=("Patient", "CarePlan", "CareTeam"), options=options
            )

    def add(self, type_: str, id_: str) -> None:
        plan: dict[str, Any] = (
            {"intent": "plan", "category": [{"coding": [{"code": "assess-plan"}]}]} if type_ == "CarePlan" else {}
        )
        self.ehr.put(type_, id_, status="active", subject={"reference": "Patient/a"}, **plan)

    def opens(self, patient: str = "clinic-a") -> bool:
        with self.database.begin() as tx:
            return note_opened(tx, VIEWER, patient, self.now)

    def works(self, seconds: float = 0) -> None:
        self.now += timedelta(seconds=seconds)
        sync_hints(self.database, self.settings, lambda: self.now)

    def held(self, type_: str) -> set[str]:
        with self.database.read() as tx:
            return set(resources.ids_of(tx, "clinic", type_))

    def waiting(self) -> int:
        with self.database.read() as tx:
            return sum(one.waiting + one.dead for one in jobs.states(tx) if one.kind.startswith("opened:"))


@pytest.fixture
def desk(database: Database, ready_url: str) -> Iterator[Desk]:
    with respx.mock(assert_all_called=False) as router:
        made = Desk(database, ready_url, router)
        made.ehr.put("Patient", "a", active=True)
        yield made


def load(desk: Desk) -> None:
    """The patient is on the roster, and was read."""
    desk.follow(CareTeam="launch")
    with desk.database.begin() as tx:
        rosters.add(tx, "clinic", "Patient", ["a"], desk.now)
    sync_due(desk.database, desk.settings, lambda: desk.now)
    assert desk.held("Patient") == {"a"}


@pytest.mark.requirement(80)
def test_a_page_that_opens_has_its_patient_read_within_seconds_and_once_a_minute(desk: Desk) -> None:
    load(desk)
    desk.add("CarePlan", "p1")
    desk.add("CareTeam", "t1")
    assert not desk.opens()
    desk.now += timedelta(seconds=90)
    assert desk.opens()
    assert not desk.opens()
    desk.works(2)
    assert (desk.held("CarePlan"), desk.held("CareTeam"), desk.waiting()) == ({"p1"}, {"t1"}, 0)
    asked = len(desk.ehr.requests)
    desk.works(10)
    assert not desk.opens()
    desk.works(10)
    assert len(desk.ehr.requests) == asked


def test_a_page_waits_for_no_server_and_what_cannot_be_read_is_left_to_the_next_poll(desk: Desk) -> None:
    load(desk)
    desk.now += timedelta(seconds=90)
    desk.ehr.twists.append(lambda _: httpx.Response(403))
    asked = len(desk.ehr.requests)
    assert desk.opens()
    assert len(desk.ehr.requests) == asked
    desk.works()
    assert desk.waiting() == 0


def test_while_another_process_syncs_the_patient_waits_a_little(desk: Desk) -> None:
    load(desk)
    desk.add("CareTeam", "t1")
    desk.now += timedelta(seconds=90)
    desk.opens()
    lease = leases.take(desk.database, "clinic", desk.now)
    desk.works()
    assert (desk.held("CareTeam"), desk.waiting()) == (set(), 1)
    leases.release(desk.database, lease, desk.now)
    desk.works(6)
    assert (desk.held("CareTeam"), desk.waiting()) == ({"t1"}, 0)


def test_nothing_is_asked_for_where_a_page_would_bring_nothing(desk: Desk) -> None:
    load(desk)
    desk.now += timedelta(seconds=90)
    assert not desk.opens("clinic-b")
    with desk.database.begin() as tx:
        connections.remove(tx, "clinic")
    assert not desk.opens()


def test_a_connection_that_was_removed_leaves_no_job_behind(desk: Desk) -> None:
    load(desk)
    desk.now += timedelta(seconds=90)
    assert desk.opens()
    with desk.database.begin() as tx:
        connections.remove(tx, "clinic")
    desk.works()
    assert desk.waiting() == 0
