"""A real HAPI that cannot be reached for an hour of the tracker's clock: one poll catches up with it, and does nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import httpx
import pytest

from fhir_tracker import clock, connections
from fhir_tracker.config import load_settings
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Database
from subscriptions import SyncReport, sync_due
from tests.faults.proxy import FaultProxy
from tests.peers.hapi.server import Hapi

POLL = 300
STEP = 10
VIEWER = worker_viewer("test")
pytestmark = pytest.mark.peer


class Clinic:
    """HAPI behind a line that can be cut, and a tracker whose clock is moved by hand."""

    def __init__(self, database: Database, hapi: Hapi, proxy: FaultProxy, http: httpx.Client) -> None:
        self.database = database
        self.proxy = proxy
        self.now = clock.now()
        self._http = http
        self._settings = replace(
            load_settings({"HOME": "/nowhere"}, database="sqlite:///unused"), remote_timeout=timedelta(seconds=60)
        )
        base_url = f"http://127.0.0.1:{proxy.port}/fhir"
        with database.begin() as tx:
            connections.add(tx, "clinic", base_url, now=self.now, types=["Flag"], poll_seconds=POLL)

    def make(self, count: int) -> list[str]:
        """New Flags at HAPI, written past the line; their ids."""
        body = {
            "resourceType": "Flag",
            "status": "active",
            "code": {"text": "synthetic"},
            "subject": {"display": "synthetic"},
        }
        made = [self._http.post("Flag", json=body).raise_for_status().headers["location"] for _ in range(count)]
        return [one.split("/Flag/")[1].split("/")[0] for one in made]

    def pass_time(self, seconds: int) -> list[SyncReport]:
        """The worker looks every ten seconds; what it did."""
        done: list[SyncReport] = []
        for _ in range(seconds // STEP):
            self.now += timedelta(seconds=STEP)
            done += sync_due(self.database, self._settings, self._clock)
        return done

    def has(self, ids: list[str]) -> bool:
        with self.database.read() as tx:
            return set(ids) <= set(resources.ids_of(tx, "clinic", "Flag"))

    def versions(self, remote_id: str) -> int:
        with self.database.read() as tx:
            return len(resources.history(tx, VIEWER, "Flag", local_id("clinic", remote_id, "Flag"), count=9))

    def _clock(self) -> datetime:
        return self.now


@contextmanager
def _clinic(database: Database, hapi: Hapi) -> Iterator[Clinic]:
    with (
        FaultProxy(target=hapi.port) as proxy,
        closing(httpx.Client(base_url=f"{hapi.base_url}/", timeout=120, trust_env=False)) as http,
    ):
        yield Clinic(database, hapi, proxy, http)


@pytest.mark.fault("F30")
@pytest.mark.requirement(78)
def test_an_hour_out_of_reach_is_made_up_for_in_one_poll_and_nothing_is_done_twice(
    database: Database, hapi: Hapi
) -> None:
    with _clinic(database, hapi) as clinic:
        before = clinic.make(3)
        (first,) = clinic.pass_time(STEP)
        assert first.complete, first.as_json()
        assert clinic.has(before)
        clinic.proxy.toxics = replace(clinic.proxy.toxics, down=True)
        clinic.proxy.drop()
        missed = clinic.make(5)
        tried = clinic.pass_time(3600)
        assert 3600 / POLL - 1 <= len(tried) <= 3600 / POLL + 1
        assert all(one.unreachable for one in tried)
        assert not clinic.has(missed)
        clinic.proxy.heal()
        (caught_up,) = clinic.pass_time(POLL)
        assert caught_up.complete, caught_up.as_json()
        assert clinic.has(missed)
        (again,) = clinic.pass_time(POLL)
        assert sum(one.tally.applied for one in again.types) == 0
        assert {clinic.versions(one) for one in (*before, *missed)} == {1}
