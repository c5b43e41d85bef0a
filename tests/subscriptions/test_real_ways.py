"""HAPI and sekmet, really running, followed in the ways they would not be by themselves: a roster, an export, a comparison."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_tracker import clock, connections
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import cursors, resources
from fhir_tracker.storage.database import Database
from subscriptions import EhrClient, SyncReport, sync_connection
from subscriptions.client import Answer
from subscriptions.shared_ways import SharedWays, told
from subscriptions.sync import OVERLAP
from tests.peers.sekmet.server import Sekmet

VIEWER = worker_viewer("test")
FHIR = {"content-type": "application/fhir+json", "cache-control": "no-cache"}
DAY = timedelta(days=1)
PATIENCE = 60.0
pytestmark = pytest.mark.peer


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something to hold."""
    ends = clock.monotonic() + PATIENCE
    while not holds():
        assert clock.monotonic() < ends, f"{what} did not come"
        clock.pause(0.5)


class Blinded(EhrClient):
    """Whose searches by time find nothing, whatever the server would say."""

    blind = False

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        return super().get(self._blinded(url), headers)

    def search(self, url: str) -> Answer:
        return super().search(self._blinded(url))

    def _blinded(self, url: str) -> str:
        return f"{url}&_id=nothing" if self.blind and "_lastUpdated=" in url else url


class Follower:
    """A tracker that follows two patients of a real server in a way that the test says; `later` moves its own clock."""

    def __init__(self, database: Database, base_url: str, folder: Path) -> None:
        self.database = database
        self.base_url = base_url
        self.folder = folder
        self.http = httpx.Client(timeout=120, trust_env=False, headers=FHIR, base_url=f"{base_url}/")
        self.later = timedelta()
        self.blind = False
        self.patients = [self.create("Patient", active=True, name=[{"family": "Synthetic"}]) for _ in range(2)]

    def create(self, type_: str, **members: Any) -> str:
        made = self.http.post(type_, json={"resourceType": type_, **members}).raise_for_status()
        return made.headers["location"].split(f"/{type_}/")[1].split("/")[0]

    def plan(self, patient: str, **members: Any) -> str:
        told = {"status": "active", "intent": "plan", "subject": {"reference": f"Patient/{patient}"}}
        return self.create("CarePlan", **{**told, **members})

    def change(self, type_: str, id_: str, **members: Any) -> None:
        there = self.http.get(f"{type_}/{id_}").raise_for_status().json()
        self.http.put(f"{type_}/{id_}", json={**there, **members}).raise_for_status()

    def follow(self, types: tuple[str, ...], **strategies: str) -> None:
        file = self.folder / "roster"
        file.write_text("\n".join(self.patients), encoding="utf-8")
        options = {"strategies": strategies, "roster_file": str(file)}
        with self.database.begin() as tx:
            connections.add(tx, "clinic", self.base_url, now=clock.now(), types=types, options=options)

    def now(self) -> datetime:
        return clock.now() + self.later

    def sync(self, later: timedelta = timedelta(), *, reconciles: bool = False) -> SyncReport:
        self.later += later
        with self.database.read() as tx:
            connection = connections.get(tx, "clinic")
        client = Blinded(self.base_url, ways=SharedWays(self.database, connection, self.now))
        client.blind = self.blind
        with client:
            done = sync_connection(
                self.database,
                connection,
                client=client,
                now=self.now,
                reconciles=reconciles,
                overlap=timedelta() if self.blind else OVERLAP,
            )
        assert done.complete, done.error
        return done

    def mark(self) -> datetime:
        """The watermark of plans after one more sync."""
        self.sync()
        with self.database.read() as tx:
            found = cursors.find(tx, "clinic", "CarePlan")
        assert found is not None
        assert found.watermark is not None
        return found.watermark

    def searches(self) -> str:
        """How its searches go."""
        with self.database.read() as tx:
            return told(tx, connections.get(tx, "clinic"), self.now())

    def held(self, type_: str, of: list[str]) -> set[str]:
        """Which of these are held."""
        with self.database.read() as tx:
            return set(resources.ids_of(tx, "clinic", type_)) & set(of)

    def body(self, type_: str, id_: str) -> dict[str, Any]:
        with self.database.read() as tx:
            found = resources.find(tx, VIEWER, type_, local_id("clinic", id_, type_))
        assert found is not None
        told: dict[str, Any] = json.loads(found.body or "{}")
        return told


@pytest.fixture(params=["hapi", "sekmet"])
def follower(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Iterator[Follower]:
    made = Follower(database, request.getfixturevalue(request.param).base_url, tmp_path)
    yield made
    made.http.close()


@pytest.mark.requirement(78)
@pytest.mark.security("S54")
@pytest.mark.parametrize("way", ["roster", "last_updated_patient"])
def test_a_roster_is_loaded_followed_and_what_is_gone_is_deleted(follower: Follower, way: str) -> None:
    first, second = (follower.plan(one) for one in follower.patients)
    follower.follow(("Patient", "CarePlan"), Patient="roster", CarePlan=way)
    follower.sync()
    assert follower.held("CarePlan", [first, second]) == {first, second}
    follower.change("CarePlan", first, title="Revised")
    third = follower.plan(follower.patients[1])
    follower.sync(timedelta(hours=2))
    assert follower.body("CarePlan", first)["title"] == "Revised"
    assert follower.held("CarePlan", [third]) == {third}
    follower.http.delete(f"CarePlan/{second}").raise_for_status()
    for _ in range(2):
        follower.sync(timedelta(hours=2), reconciles=way != "roster")
    assert follower.held("CarePlan", [first, second, third]) == {first, third}
    assert all(one.tally.applied == 0 for one in follower.sync(timedelta(hours=2)).types)
    assert follower.searches() == "POST"


@pytest.mark.requirement(78)
def test_what_searches_by_time_do_not_show_is_found_by_a_comparison_and_counted(follower: Follower) -> None:
    changed, kept = (follower.plan(one) for one in follower.patients)
    follower.follow(("CarePlan",), CarePlan="last_updated")
    follower.sync()
    follower.blind = True
    follower.change("CarePlan", changed, title="Behind our back")
    new = follower.plan(follower.patients[0], title="Never told")
    stamp = parse_datetime(follower.http.get(f"CarePlan/{new}").json()["meta"]["lastUpdated"])
    until(lambda: follower.mark() > stamp + timedelta(seconds=5), "a watermark behind the changes")
    assert follower.held("CarePlan", [new]) == set()
    assert "title" not in follower.body("CarePlan", changed)
    (found,) = follower.sync(reconciles=True).types
    assert (found.missed, follower.body("CarePlan", changed)["title"]) == (2, "Behind our back")
    assert follower.held("CarePlan", [changed, kept, new]) == {changed, kept, new}
    assert follower.sync(reconciles=True).types[0].missed == 0


@pytest.fixture
def exporting(sekmet: Sekmet, database: Database, tmp_path: Path) -> Iterator[Follower]:
    made = Follower(database, sekmet.base_url, tmp_path)
    yield made
    made.http.close()


@pytest.mark.requirement(78)
def test_an_export_of_a_real_server_is_taken_and_the_next_brings_what_changed(exporting: Follower) -> None:
    first = exporting.plan(exporting.patients[0])
    exporting.follow(("Patient", "CarePlan"), Patient="bulk", CarePlan="bulk")

    def taken(id_: str) -> bool:
        exporting.sync(timedelta(seconds=31))
        return id_ in exporting.held("CarePlan", [id_])

    until(lambda: taken(first), "the first export")
    assert exporting.held("Patient", exporting.patients) == set(exporting.patients)
    second = exporting.plan(exporting.patients[1])
    exporting.change("CarePlan", first, title="Revised")
    exporting.later += DAY
    until(lambda: taken(second), "the second export")
    assert exporting.body("CarePlan", first)["title"] == "Revised"
