"""HAPI FHIR and sekmet-fhir, really running, followed from an empty store; what they hold is asked of them apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_tracker import clock, connections
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import quarantine, resources
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.resources import Stored
from fhir_tracker.storage.schema import prepare
from mappings import mapping_named
from subscriptions import EhrClient, SyncReport, sync_connection
from tests.peers.synthea import load_patients

VIEWER = worker_viewer("test")
FHIR = {"content-type": "application/fhir+json", "cache-control": "no-cache"}
TYPES = ("Patient", "Practitioner", "Organization", "Encounter", "Condition", "CarePlan", "Observation")
pytestmark = pytest.mark.peer
_loaded: set[str] = set()


class Peer:
    """A real server as the test itself sees it."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.http = httpx.Client(timeout=120, trust_env=False, headers=FHIR)

    def send(self, method: str, path: str, text: str | None = None) -> httpx.Response:
        return self.http.request(method, f"{self.base_url}/{path}", content=text).raise_for_status()

    def holds(self, type_: str) -> dict[str, dict[str, Any]]:
        """Everything of a type by id, asked in one page after another."""
        found: dict[str, dict[str, Any]] = {}
        url: str | None = f"{self.base_url}/{type_}?_count=200&_sort=_id"
        while url:
            bundle = self.http.get(url).raise_for_status().json()
            found |= {entry["resource"]["id"]: entry["resource"] for entry in bundle.get("entry", [])}
            url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
        return found

    def one_of(self, type_: str) -> str:
        return next(iter(self.holds(type_)))


class Mirror:
    """The tracker's side."""

    def __init__(
        self, database: Database, peer: Peer, types: tuple[str, ...] = TYPES, mapping: str = "generic"
    ) -> None:
        self.database = database
        self.peer = peer
        with database.begin() as tx:
            self.connection = connections.add(
                tx, "clinic", peer.base_url, now=clock.now(), types=types, mapping=mapping
            )

    def sync(self) -> SyncReport:
        with EhrClient(self.peer.base_url) as client:
            done = sync_connection(self.database, self.connection, client=client, now=clock.now)
        assert done.complete, done.error
        return done

    def applied(self) -> int:
        return sum(one.tally.applied + one.tally.deleted for one in self.sync().types)

    def held(self, type_: str) -> set[str]:
        with self.database.read() as tx:
            return set(resources.ids_of(tx, "clinic", type_))

    def find(self, type_: str, remote_id: str) -> Stored:
        with self.database.read() as tx:
            found = resources.find(tx, VIEWER, type_, local_id("clinic", remote_id, type_))
        assert found is not None
        return found

    def verbatim(self, type_: str, remote_id: str) -> str:
        with self.database.read() as tx:
            return resources.remote_body(tx, VIEWER, type_, local_id("clinic", remote_id, type_)) or ""

    def assert_equal(self) -> None:
        """Every followed type is here exactly as it is there, and nothing is in quarantine."""
        followed = {one.type for one in self.sync().types}
        assert followed == set(TYPES)
        for type_ in sorted(followed):
            assert self.held(type_) == set(self.peer.holds(type_)), type_
        with self.database.read() as tx:
            assert quarantine.open_count(tx) == 0


@pytest.fixture(params=["hapi", "sekmet"])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    made = Peer(request.getfixturevalue(request.param).base_url)
    yield made
    made.http.close()


@pytest.fixture
def mirror(request: pytest.FixtureRequest, database: Database, peer: Peer) -> Mirror:
    """A tracker that has loaded the Synthea patients of a real server: HAPI by its own mapping, the other as any."""
    if peer.base_url not in _loaded:
        assert load_patients(peer.base_url) == 3
        _loaded.add(peer.base_url)
    made = Mirror(database, peer, mapping={"hapi": "hapi"}.get(request.node.callspec.params["peer"], "generic"))
    made.sync()
    return made


def test_a_first_load_holds_all_that_the_server_holds_with_local_references(mirror: Mirror, peer: Peer) -> None:
    mirror.assert_equal()
    plans = peer.holds("CarePlan")
    assert len(plans) >= 3
    for remote_id, plan in plans.items():
        stored = json.loads(mirror.find("CarePlan", remote_id).body)
        patient = plan["subject"]["reference"].removeprefix("Patient/")
        assert stored["subject"]["reference"] == f"Patient/{mirror.find('Patient', patient).id}"
        assert stored["meta"]["source"] == f"{peer.base_url}/CarePlan/{remote_id}"
        assert mirror.find("CarePlan", remote_id).patient == local_id("clinic", patient)
    assert mirror.applied() == 0


def test_what_the_server_sent_is_kept_to_the_letter_and_decimals_keep_their_digits(mirror: Mirror, peer: Peer) -> None:
    text = (
        '{"resourceType":"Observation","status":"final","code":{"text":"synthetic"},'
        '"valueQuantity":{"value":1.00,"unit":"mg"}}'
    )
    made = peer.send("POST", "Observation", text)
    remote_id = made.headers["location"].split("/Observation/")[1].split("/")[0]
    mirror.sync()
    plan = peer.one_of("CarePlan")
    sent = peer.send("GET", f"CarePlan?_id={plan}").text
    assert mirror.verbatim("CarePlan", plan) in sent
    there = peer.send("GET", f"Observation?_id={remote_id}").text
    digits = "1.00" if "1.00" in there else "1.0"
    assert f'"value":{digits},' in mirror.find("Observation", remote_id).body


def test_later_creates_updates_and_deletes_are_all_found_once(mirror: Mirror, peer: Peer) -> None:
    mirror.applied()
    created = peer.send("POST", "Patient", '{"resourceType":"Patient","name":[{"family":"Synthetic"}]}')
    new = created.headers["location"].split("/Patient/")[1].split("/")[0]
    plan_id, plan = next(iter(peer.holds("CarePlan").items()))
    peer.send("PUT", f"CarePlan/{plan_id}", json.dumps(plan | {"title": "Revised"}))
    gone = next(one for one in peer.holds("CarePlan") if one != plan_id)
    peer.send("DELETE", f"CarePlan/{gone}")
    assert mirror.applied() == 3
    assert new in mirror.held("Patient")
    assert json.loads(mirror.find("CarePlan", plan_id).body)["title"] == "Revised"
    assert mirror.find("CarePlan", plan_id).version == 2
    assert mirror.find("CarePlan", gone).deleted
    mirror.assert_equal()
    peer.send("DELETE", f"Patient/{new}")
    peer.send("PUT", f"CarePlan/{plan_id}", json.dumps(plan | {"title": "Revised again"}))
    assert mirror.applied() == 2
    assert mirror.applied() == 0
    mirror.assert_equal()


def test_what_was_deleted_and_comes_back_is_restored(mirror: Mirror, peer: Peer) -> None:
    plan_id, plan = next(iter(peer.holds("CarePlan").items()))
    peer.send("DELETE", f"CarePlan/{plan_id}")
    mirror.sync()
    assert mirror.find("CarePlan", plan_id).deleted
    peer.send("PUT", f"CarePlan/{plan_id}", json.dumps(plan | {"title": "Back"}))
    mirror.sync()
    back = mirror.find("CarePlan", plan_id)
    assert not back.deleted
    assert json.loads(back.body)["title"] == "Back"
    mirror.assert_equal()


def test_every_type_we_follow_is_one_that_the_server_says_it_searches(peer: Peer, tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'all.db'}")
    prepare(database)
    mirror = Mirror(database, peer, types=())
    followed = [one.type for one in mirror.sync().types]
    assert followed == [type_ for type_ in mapping_named("generic").wanted if type_ in followed]
    assert len(followed) >= 15
    database.close()
