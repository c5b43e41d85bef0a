"""A large load, a type that always fails, and a comparison of everyone: none of them keeps the others from being followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx

from fhir_tracker import connections
from fhir_tracker.config import load_settings
from fhir_tracker.storage import cursors, resources, rosters
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database
from subscriptions import SyncReport, sync_due
from subscriptions.reconcile import cursor_name, missed_events
from subscriptions.sync import due_connections
from tests.subscriptions.fake_ehr import FakeEhr
from tests.subscriptions.vendor_ehr import Profile, VendorEhr

CLINIC = Profile(
    name="One by one",
    searches={
        "Patient": ("_id", "_lastUpdated"),
        "CarePlan": ("patient", "_lastUpdated"),
        "Goal": ("patient", "_lastUpdated"),
    },
)
TYPES = ("Patient", "CarePlan", "Goal")
PATIENTS = 60


class Killed(BaseException):
    """The process is gone."""


class Region:
    """Two EHRs and one worker whose clock moves `pace` seconds with each request to the first; `kill_at` ends it at a request."""

    def __init__(self, database: Database, url: str, router: respx.MockRouter) -> None:
        self.database = database
        self.settings = load_settings({"FHIR_TRACKER_REMOTE_TIMEOUT": "5s"}, database=url)
        self.now = datetime(2031, 1, 1, tzinfo=UTC)
        self.big, self.small = VendorEhr(CLINIC), FakeEhr()
        self.kill_at = 0
        self.pace = 1
        self.big.serve(router, "https://big.example/fhir")
        self.small.serve(router, "https://small.example/fhir")
        self.big.twists.append(self._second)

    def _second(self, _: httpx.Request) -> None:
        self.now += timedelta(seconds=self.pace)
        self.big.pass_time(self.pace)
        self.kill_at -= 1
        if self.kill_at == 0:
            raise Killed

    def follow(self, way: str = "roster", types: tuple[str, ...] = TYPES) -> None:
        one_by_one = {type_: way for type_ in types if type_ != "Patient"}
        with self.database.begin() as tx:
            for key, chosen in (("big", types), ("small", ("Patient",))):
                options = {"strategies": one_by_one} if key == "big" else None
                connections.add(
                    tx,
                    key,
                    f"https://{key}.example/fhir",
                    now=self.now,
                    poll_seconds=300,
                    types=chosen,
                    options=options,
                )

    def fill(self) -> None:
        for number in range(PATIENTS):
            subject = {"reference": f"Patient/p{number:02}"}
            self.big.put("Patient", f"p{number:02}", active=True)
            self.big.put("CarePlan", f"c{number}", status="active", intent="plan", subject=subject)
            self.big.put("Goal", f"g{number}", lifecycleStatus="active", subject=subject)

    def work(self) -> dict[str, SyncReport]:
        return {one.connection: one for one in sync_due(self.database, self.settings, lambda: self.now)}

    def work_on(self) -> None:
        """Until nothing is due."""
        while self.is_due("big"):
            self.work()

    def is_due(self, key: str) -> bool:
        with self.database.read() as tx:
            return key in [one.key for one in due_connections(tx, self.now)]

    def held(self, type_: str, key: str = "big") -> int:
        with self.database.read() as tx:
            return len(resources.ids_of(tx, key, type_))

    def cursor(self, name: str) -> Cursor:
        with self.database.read() as tx:
            found = cursors.find(tx, "big", name)
        assert found is not None
        return found

    def asked(self, type_: str) -> Counter[str]:
        """How often each patient was asked about."""
        told = [httpx.URL(url) for url in self.big.requests if f"/{type_}?patient=" in url]
        return Counter(url.params["patient"] for url in told)


@pytest.fixture
def region(database: Database, ready_url: str) -> Iterator[Region]:
    with respx.mock(assert_all_called=False) as router:
        yield Region(database, ready_url, router)


@pytest.mark.requirement(78)
def test_a_long_first_load_is_made_in_pieces_and_what_changes_meanwhile_is_followed(region: Region) -> None:
    region.fill()
    region.follow()
    first = region.work()
    assert first["big"].complete
    assert 0 < region.held("CarePlan") < PATIENTS
    assert region.held("Goal") > 0
    assert region.is_due("big")
    with region.database.read() as tx:
        assert connections.first_load_under_way(tx, region.now)
    region.big.put("Patient", "new", active=True)
    rounds = 0
    while region.is_due("big"):
        region.work()
        rounds += 1
        assert region.held("Patient") == PATIENTS + 1
        assert rounds < 20
    assert (region.held("CarePlan"), region.held("Goal")) == (PATIENTS, PATIENTS)
    assert set(region.asked("CarePlan").values()) == {1}
    with region.database.read() as tx:
        assert not connections.first_load_under_way(tx, region.now)
        assert connections.get(tx, "big").state == "ok"


@pytest.mark.requirement(78)
@pytest.mark.fault("F1")
@pytest.mark.parametrize("kill_at", [5, 37, 50])
def test_a_load_that_was_killed_goes_on_where_it_stood(region: Region, kill_at: int) -> None:
    region.fill()
    region.follow(types=("Patient", "CarePlan"))
    region.kill_at = kill_at
    with pytest.raises(Killed):
        region.work_on()
    before = region.asked("CarePlan")
    assert len(before) - 1 <= region.held("CarePlan") <= len(before)
    for _ in range(10):
        region.now += timedelta(seconds=20)
        region.work()
    assert region.held("CarePlan") == PATIENTS
    assert max(region.asked("CarePlan").values()) <= 2
    assert sum(count > 1 for count in region.asked("CarePlan").values()) <= 1


def test_another_connection_has_its_turn_between_the_pieces_of_a_long_load(region: Region) -> None:
    region.fill()
    region.follow()
    region.small.put("Patient", "a", active=True)
    region.work()
    assert region.is_due("big")
    assert region.held("Patient", "small") == 1
    region.small.put("Patient", "b", active=True)
    region.now += timedelta(seconds=300)
    with region.database.read() as tx:
        assert {one.key for one in due_connections(tx, region.now)} == {"big", "small"}
    region.work()
    assert region.held("Patient", "small") == 2


@pytest.mark.requirement(78)
def test_a_round_asks_nobody_twice_however_long_it_takes(region: Region) -> None:
    """A roster that takes longer than the time after which each is due again: the round ends all the same."""
    region.fill()
    region.follow(types=("Patient", "CarePlan"))

    def slow(_: httpx.Request) -> None:
        region.now += timedelta(minutes=2)

    region.big.twists.append(slow)
    for _ in range(PATIENTS + 2):
        region.work()
    assert max(region.asked("CarePlan").values()) - min(region.asked("CarePlan").values()) <= 1


def test_types_that_always_fail_do_not_keep_the_others_from_being_followed(region: Region) -> None:
    region.fill()
    region.follow("last_updated")

    def broken(request: httpx.Request) -> httpx.Response | None:
        garbled = httpx.Response(200, headers={"content-type": "application/fhir+json"}, text="{")
        return garbled if request.url.path.endswith(("/Patient", "/CarePlan")) else None

    region.big.twists.append(broken)
    assert [one.type for one in region.work()["big"].types] == ["Patient", "CarePlan"]
    region.now += timedelta(seconds=900)
    region.work()
    assert region.held("Goal") == PATIENTS


@pytest.mark.requirement(78)
def test_a_comparison_of_everyone_is_made_in_pieces_and_what_it_finds_is_counted_once(region: Region) -> None:
    region.fill()
    region.follow("last_updated_patient", types=("Patient", "CarePlan"))
    while region.is_due("big"):
        region.work()
    region.big.pass_time(7200)
    for number in range(0, PATIENTS, 10):
        subject = {"reference": f"Patient/p{number:02}"}
        hidden = {"status": "revoked", "intent": "plan", "subject": subject}
        region.big.put("CarePlan", f"c{number}", stamp="2024-05-06T01:00:00Z", **hidden)
    region.now += timedelta(hours=25)
    region.pace = 2
    region.big.requests.clear()
    rounds = 0
    while region.is_due("big"):
        region.work()
        rounds += 1
        assert rounds < 20
    assert rounds > 1
    assert set(region.asked("CarePlan").values()) == {1}
    assert missed_events(dict(region.cursor(cursor_name("CarePlan")).detail)) == PATIENTS // 10
    with region.database.read() as tx:
        assert rosters.standing(tx, "big", "CarePlan", region.now).never == 0
    region.now += timedelta(hours=2)
    region.big.requests.clear()
    region.work()
    assert all("_lastUpdated" in url for url in region.big.requests if "CarePlan?" in url)
