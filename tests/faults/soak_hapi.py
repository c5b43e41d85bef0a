"""Real HAPI in long outages: it gives up telling us, it is killed, it cannot be reached for an hour; nothing is lost or doubled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_tracker import clock, connections
from fhir_tracker.config import Settings, load_settings
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import remote_subscriptions, resources
from fhir_tracker.storage.database import Database
from subscriptions import sync_due
from tests.conformance.server import running_tracker
from tests.faults.proxy import FaultProxy
from tests.faults.soak import say
from tests.peers.hapi.server import Hapi
from tests.peers.process import free_port

VIEWER = worker_viewer("test")
PATIENCE = 240.0
DOWN_SECONDS = 90
POLL = 30
pytestmark = pytest.mark.peer


class Clinic:
    """What HAPI holds and what is here of it."""

    def __init__(self, hapi: Hapi, database: Database) -> None:
        self.http = httpx.Client(
            base_url=f"{hapi.base_url}/", timeout=120, trust_env=False, headers={"cache-control": "no-cache"}
        )
        self.database = database

    def make(self, count: int, **members: Any) -> list[str]:
        body = {"resourceType": "Flag", "status": "active", "code": {"text": "synthetic"}, **members}
        made = [self.http.post("Flag", json=body).raise_for_status().headers["location"] for _ in range(count)]
        return [one.split("/Flag/")[1].split("/")[0] for one in made]

    def has(self, ids: list[str]) -> bool:
        with self.database.read() as tx:
            return set(ids) <= set(resources.ids_of(tx, "clinic", "Flag"))

    def check_once(self, ids: list[str]) -> None:
        """Each is here in as many versions as HAPI has: nothing was applied twice."""
        for one in ids:
            with self.database.read() as tx:
                versions = resources.history(tx, VIEWER, "Flag", local_id("clinic", one, "Flag"), count=100)
            there = self.http.get(f"Flag/{one}").raise_for_status().json()["meta"]["versionId"]
            assert len(versions) <= int(there), one


def wait_for(what: Callable[[], object], name: str) -> None:
    ends = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < ends, f"never: {name}"
        time.sleep(0.5)


@pytest.fixture
def clinic(own_hapi: Hapi, database: Database) -> Iterator[Clinic]:
    """HAPI as the test itself sees it, and what is here."""
    made = Clinic(own_hapi, database)
    yield made
    made.http.close()


@pytest.fixture
def own_hapi(tmp_path: Path) -> Iterator[Hapi]:
    """HAPI with its database in a file, so that it may be killed; what it has answered for is in the file."""
    folder = tmp_path / "hapi"
    folder.mkdir()
    server = Hapi(folder, f"-Dhapi.db=jdbc:h2:file:{folder / 'h2'};WRITE_DELAY=0")
    yield server
    server.stop()


@pytest.mark.fault("F5", "F6", "F34")
def test_a_hook_that_is_down_for_90_seconds_and_a_hapi_that_is_killed_lose_nothing(
    database: Database, ready_url: str, own_hapi: Hapi, clinic: Clinic, tmp_path: Path
) -> None:
    port = free_port()
    words = ("--port", str(port), "--public-url", f"http://127.0.0.1:{port}")
    with database.begin() as tx:
        connections.add(
            tx, "clinic", own_hapi.base_url, now=clock.now(), types=["Flag"], subscribe="auto", poll_seconds=POLL
        )
    with running_tracker(ready_url, tmp_path, *words):
        wait_for(lambda: _active(clinic), "the Subscription is active")
        told = clinic.make(3)
        wait_for(lambda: clinic.has(told), "HAPI tells us")
    missed = clinic.make(5)
    time.sleep(DOWN_SECONDS)
    with running_tracker(ready_url, tmp_path, *words):
        wait_for(lambda: clinic.has(missed), "what HAPI gave up telling is here")
        say(f"{len(missed)} of {DOWN_SECONDS} s without a hook: here")
        queued = clinic.make(20)
        own_hapi.kill()  # before its queue drains
        own_hapi.restart()
        wait_for(lambda: clinic.has(queued), "what was in the queue of the killed HAPI is here")
        say(f"{len(queued)} queued in a HAPI that was killed: here")
        drained = clinic.make(5)
        wait_for(lambda: clinic.has(drained), "HAPI tells us again, or is polled")
        own_hapi.kill()  # after its queue drained
        own_hapi.restart()
        later = clinic.make(5)
        wait_for(lambda: clinic.has(later), "all is as before")
    clinic.check_once([*told, *missed, *queued, *drained, *later])
    say("nothing lost, nothing applied twice")


@pytest.mark.fault("F30")
def test_an_hour_out_of_reach_is_made_up_for_within_one_poll(
    database: Database, own_hapi: Hapi, clinic: Clinic
) -> None:
    """The hour is of the tracker's clock: every pause and poll in it is really taken."""
    settings = load_settings({"HOME": "/nowhere"}, database="sqlite:///unused")
    now = clock.now()
    with FaultProxy(target=own_hapi.port) as proxy:
        base_url = f"http://127.0.0.1:{proxy.port}/fhir"
        with database.begin() as tx:
            connections.add(tx, "clinic", base_url, now=now, types=["Flag"], poll_seconds=POLL)
        before = clinic.make(10)
        now = _pass(database, settings, now, seconds=60)
        assert clinic.has(before)
        proxy.toxics = replace(proxy.toxics, down=True)
        proxy.drop()
        missed = clinic.make(10)
        now = _pass(database, settings, now, seconds=3600)
        assert not clinic.has(missed)
        say(f"{len(missed)} written in an hour out of reach")
        proxy.heal()
        now = _pass(database, settings, now, seconds=POLL)
        assert clinic.has(missed)
        say(f"all {len(missed)} here within one poll period of {POLL} s")
        again = clinic.make(1)
        _pass(database, settings, now, seconds=POLL)
        assert clinic.has(again)
    clinic.check_once([*before, *missed, *again])


def _pass(database: Database, settings: Settings, now: datetime, *, seconds: int) -> datetime:
    """So much time, looked at every ten seconds as the worker does."""
    for _ in range(seconds // 10):
        now += timedelta(seconds=10)
        sync_due(database, replace(settings, remote_timeout=timedelta(seconds=20)), lambda at=now: at)  # type: ignore[misc]
    return now


def _active(clinic: Clinic) -> bool:
    with clinic.database.read() as tx:
        held = next(iter(remote_subscriptions.of_connection(tx, "clinic")), None)
    if held is None or held.remote_id is None:
        return False
    return bool(clinic.http.get(f"Subscription/{held.remote_id}").json().get("status") == "active")
