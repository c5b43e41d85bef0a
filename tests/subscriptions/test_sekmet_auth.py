"""Each way to show who we are, against sekmet-fhir, which checks assertions against our own page of keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.keys_page import PATH
from fhir_tracker import clock, connections
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage import connections as stored
from fhir_tracker.storage import resources
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from subscriptions import SyncReport, client_of, sync_connection
from tests.api.test_serve import serving
from tests.peers.process import Process, answers
from tests.peers.sekmet.server import Sekmet

pytestmark = pytest.mark.peer
SECRET = "a made-up secret"
KEY = "k" * 40


class Ours:
    """A tracker whose server publishes its keys, and which follows sekmet."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder}/t.db"
        self.process: Process
        self.process, self.address = serving(folder, "--no-worker", database=url)
        self.process.wait_until(answers(f"{self.address}{PATH}"), seconds=60, what="serve")
        self.database = Database.open(url)
        prepare(self.database)
        self.keys = Keyring(database=self.database, secret_key=KEY)

    def stop(self) -> None:
        self.database.close()
        self.process.kill()

    def follow(self, sekmet: Sekmet, key: str, options: dict[str, Any]) -> SyncReport:
        with self.database.begin() as tx:
            made = connections.add(tx, key, sekmet.base_url, now=clock.now(), types=["Patient"], options=options)
        return self.sync(made)

    def sync(self, connection: Connection) -> SyncReport:
        with client_of(connection, keys=self.keys) as client:
            return sync_connection(self.database, connection, client=client, now=clock.now)

    def held(self, key: str) -> set[str]:
        with self.database.read() as tx:
            return set(resources.ids_of(tx, key, "Patient"))

    def state(self, key: str) -> tuple[str, str]:
        with self.database.read() as tx:
            found = stored.find(tx, key)
        assert found is not None
        return found.state, found.last_error or ""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    made = Ours(tmp_path_factory.mktemp("tracker"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def sekmet(ours: Ours, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekmet]:
    clients = [
        {"client_id": "signing", "jwks_url": f"{ours.address}{PATH}", "scopes": "system/*.*"},
        {"client_id": "secretive", "client_secret": SECRET, "scopes": "system/*.read"},
    ]
    auth = {"users": {"nurse": SECRET}, "tokens": ["made-up-token"], "smart_clients": clients, "token_lifetime": 300}
    types = ["basic", "bearer", "smart"]
    server = Sekmet(tmp_path_factory.mktemp("sekmet"), server_auth={"types": types, **auth})
    with httpx.Client(auth=("nurse", SECRET), timeout=60, trust_env=False) as http:
        body = json.dumps({"resourceType": "Patient", "id": "made-up", "active": True})
        headers = {"content-type": "application/fhir+json"}
        http.put(f"{server.base_url}/Patient/made-up", content=body, headers=headers).raise_for_status()
    yield server
    server.stop()


def secret(folder: Path, text: str) -> str:
    (folder / "secret").write_text(text, encoding="utf-8")
    return str(folder / "secret")


@pytest.mark.requirement(102, 103)
@pytest.mark.parametrize("kind", ["basic", "bearer", "client_secret", "private_key_jwt"])
def test_each_way_of_showing_who_we_are_lets_us_in(ours: Ours, sekmet: Sekmet, tmp_path: Path, kind: str) -> None:
    told: dict[str, dict[str, Any]] = {
        "basic": {"secret_file": secret(tmp_path, f"nurse:{SECRET}")},
        "bearer": {"secret_file": str(tmp_path / "token")},
        "client_secret": {"client_id": "secretive", "secret_file": str(tmp_path / "client")},
        "private_key_jwt": {"client_id": "signing"},
    }
    (tmp_path / "token").write_text("made-up-token", encoding="utf-8")
    (tmp_path / "client").write_text(SECRET, encoding="utf-8")
    key = kind.replace("_", "")
    report = ours.follow(sekmet, key, {"auth": kind, **told[kind]})
    assert report.complete, report.error
    assert ours.held(key) == {"made-up"}
    assert ours.state(key) == ("ok", "")


@pytest.mark.parametrize(
    ("key", "options", "said"),
    [
        ("nobody", {"auth": "none"}, "401"),
        ("wrong", {"auth": "bearer"}, "401"),
        ("unknown", {"auth": "private_key_jwt", "client_id": "somebody"}, "register the client id somebody"),
        ("mistaken", {"auth": "client_secret", "client_id": "secretive"}, "check the client id secretive"),
        ("greedy", {"auth": "client_secret", "client_id": "secretive", "scopes": "user/Task.write"}, "check --scopes"),
    ],
)
def test_whoever_is_refused_is_told_what_to_mend(
    ours: Ours, sekmet: Sekmet, tmp_path: Path, key: str, options: dict[str, Any], said: str
) -> None:
    if options["auth"] in ("bearer", "client_secret"):
        options = {**options, "secret_file": secret(tmp_path, SECRET if key == "greedy" else "not the secret")}
    report = ours.follow(sekmet, key, options)
    assert not report.complete
    state, error = ours.state(key)
    assert state == "auth_failed"
    assert said in error
    assert ours.held(key) == set()


@pytest.mark.requirement(102)
def test_after_a_rotation_the_server_still_knows_us(ours: Ours, sekmet: Sekmet) -> None:
    now: datetime = clock.now()
    ours.keys.ensure(now)
    assert ours.follow(
        sekmet, "before", {"auth": "private_key_jwt", "client_id": "signing", "scopes": "system/*.rs"}
    ).complete
    new = ours.keys.rotate(clock.now(), at_once=True)
    published = httpx.get(f"{ours.address}{PATH}", trust_env=False, timeout=60).json()["keys"]
    assert published[0]["kid"] == new.kid
    assert len(published) == 2
    told = {"auth": "private_key_jwt", "client_id": "signing", "scopes": "system/Patient.rs"}
    assert ours.follow(sekmet, "after", told).complete
