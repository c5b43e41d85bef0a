"""HAPI FHIR and sekmet-fhir tell us of changes, while polling is too seldom to matter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli import main
from fhir_tracker import clock, connections
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import remote_subscriptions, resources
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.remote_subscriptions import RemoteSubscription
from fhir_tracker.storage.resources import Stored
from tests.conformance.server import running_tracker
from tests.peers.hapi.server import Hapi
from tests.peers.process import free_port
from tests.peers.sekmet.server import Sekmet

VIEWER = worker_viewer("test")
PATIENCE = 120.0
SELDOM = 3600
pytestmark = pytest.mark.peer


class Site:
    """A tracker behind one port, whose processes come and go, and the EHR it follows."""

    def __init__(self, folder: Path, base_url: str, type_: str, subscribe: str, **more: Any) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.type = type_
        self.database_url = f"sqlite:///{folder / 'tracker.db'}"
        self.ehr = httpx.Client(
            base_url=f"{base_url}/",
            timeout=60,
            trust_env=False,
            headers={"content-type": "application/fhir+json", "cache-control": "no-cache"},
        )
        with self.running():
            pass
        self.database = Database.open(self.database_url)
        with self.database.begin() as tx:
            given = {"poll_seconds": SELDOM, "types": [type_], "subscribe": subscribe, **more}
            connections.add(tx, "clinic", base_url, now=clock.now(), **given)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The tracker serves, nobody may log in, and hooks are open all the same."""
        words = ("--port", str(self.port), "--public-url", self.url)
        with running_tracker(self.database_url, self.folder, *words):
            yield

    def make(self, **members: Any) -> str:
        """Something new at the EHR; its id there."""
        made = self.ehr.post(self.type, json={"resourceType": self.type, **members}).raise_for_status()
        return str(made.headers["location"].split(f"/{self.type}/")[1].split("/")[0])

    def find(self, remote_id: str) -> Stored | None:
        with self.database.read() as tx:
            return resources.find(tx, VIEWER, self.type, local_id("clinic", remote_id, self.type))

    def subscription(self) -> RemoteSubscription | None:
        with self.database.read() as tx:
            return next(iter(remote_subscriptions.of_connection(tx, "clinic")), None)

    def look_soon(self) -> None:
        """Look at the Subscription now, and not only when a minute has passed."""
        held = self.subscription()
        assert held is not None
        with self.database.begin() as tx:
            remote_subscriptions.change(tx, held.id, {"due_at": clock.now()})

    def is_active(self) -> bool:
        """Whether the EHR has taken our Subscription into use."""
        held = self.subscription()
        if held is None or held.remote_id is None:
            return False
        return bool(self.ehr.get(f"Subscription/{held.remote_id}").json().get("status") == "active")


def wait_for(what: Callable[[], object], name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, f"never: {name}"
        time.sleep(0.2)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """`site(base_url, type, subscribe)`, and what else the connection is to be."""
    with ExitStack() as undo:

        def make(base_url: str, type_: str, subscribe: str, **more: Any) -> Site:
            made = Site(tmp_path, base_url, type_, subscribe, **more)
            undo.enter_context(closing(made.database))
            undo.enter_context(closing(made.ehr))
            return made

        yield make


@pytest.mark.requirement(70, 71, 72, 77)
def test_hapi_tells_of_creates_updates_and_deletions(site: Callable[..., Site], hapi: Hapi) -> None:
    clinic = site(hapi.base_url, "Flag", "auto")
    with clinic.running():
        wait_for(clinic.is_active, "the Subscription is active")
        told = clinic.subscription()
        assert told is not None
        assert (told.kind, told.criteria) == ("rest-hook", "Flag?")
        one = clinic.make(status="active", code={"text": "synthetic"})
        wait_for(lambda: clinic.find(one), "the new one is here")
        clinic.ehr.put(f"Flag/{one}", json={"resourceType": "Flag", "id": one, "status": "inactive"}).raise_for_status()
        wait_for(lambda: (found := clinic.find(one)) and '"inactive"' in found.body, "the update is here")
        clinic.ehr.delete(f"Flag/{one}").raise_for_status()
        wait_for(lambda: (found := clinic.find(one)) and found.deleted, "the deletion is here")
        for headers in ({}, {"x-hook-secret": "guess"}, {"authorization": "Bearer guess"}):
            answer = httpx.post(f"{clinic.url}/hooks/clinic", headers=headers, trust_env=False)
            assert answer.status_code == 401
        assert main(["connection", "remove", "clinic", "--yes", "--database", clinic.database_url]) == 0
    assert clinic.ehr.get(f"Subscription/{told.remote_id}").status_code == 410


@pytest.mark.requirement(77, 78)
def test_a_topic_that_hapi_does_not_take_is_said_and_polled(site: Callable[..., Site], hapi: Hapi) -> None:
    options = {"topics": {"Basic": "http://example.org/SubscriptionTopic/basic-change"}}
    clinic = site(hapi.base_url, "Basic", "backport", poll_seconds=1, options=options)
    with clinic.running():
        wait_for(lambda: (held := clinic.subscription()) and held.status == "refused", "it was refused")
        told = clinic.subscription()
        assert told is not None
        assert (told.kind, told.remote_id) == ("backport", None)
        assert "it answered 4" in told.reason
        one = clinic.make(code={"text": "synthetic"})
        wait_for(lambda: clinic.find(one), "a poll has brought it")


@pytest.mark.requirement(70, 72, 73, 75, 76, 77)
def test_sekmet_sends_ids_and_what_it_gave_up_is_pulled_and_subscribed_again(
    site: Callable[..., Site], sekmet: Sekmet
) -> None:
    clinic = site(sekmet.base_url, "Patient", "backport")
    with clinic.running():
        wait_for(clinic.is_active, "the handshake was answered")
        first = clinic.make(name=[{"family": "Synthetic"}])
        wait_for(lambda: clinic.find(first), "the new one is here")
        before = clinic.subscription()
        assert before is not None
        assert (before.kind, before.events) == ("backport", 1)
    missed = clinic.make(name=[{"family": "Missed"}])
    wait_for(lambda: not clinic.is_active(), "the EHR has given up")
    clinic.look_soon()
    with clinic.running():
        wait_for(lambda: clinic.find(missed), "what was missed is here")
        wait_for(clinic.is_active, "the Subscription is active again")
        later = clinic.make(name=[{"family": "Later"}])
        wait_for(lambda: clinic.find(later), "news comes again")
    after = clinic.subscription()
    assert after is not None
    assert after.digest != before.digest
    assert after.remote_id == before.remote_id


@pytest.mark.requirement(72, 75)
def test_sekmet_puts_resources_and_a_deleted_subscription_is_made_anew(
    site: Callable[..., Site], sekmet: Sekmet
) -> None:
    clinic = site(sekmet.base_url, "Patient", "rest-hook")
    with clinic.running():
        wait_for(clinic.is_active, "the Subscription is active")
        first = clinic.make(name=[{"family": "Synthetic"}])
        wait_for(lambda: clinic.find(first), "the new one is here")
        held = clinic.subscription()
        assert held is not None
    clinic.ehr.delete(f"Subscription/{held.remote_id}").raise_for_status()
    missed = clinic.make(name=[{"family": "Missed"}])
    clinic.look_soon()
    with clinic.running():
        wait_for(lambda: clinic.find(missed), "what was missed is here")
        wait_for(clinic.is_active, "there is a Subscription again")
        later = clinic.make(name=[{"family": "Later"}])
        wait_for(lambda: clinic.find(later), "news comes again")
