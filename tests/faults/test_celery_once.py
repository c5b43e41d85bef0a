"""Real Celery workers and a real Redis without a file: killed one after the other, and every escalation is there once."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import update

from fhir_tracker import clock, records
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.work_tables import work_item
from tests.conformance.server import SECRET
from tests.faults.proxy import FaultProxy
from tests.peers.postgres.server import Postgres
from tests.peers.process import Process
from tests.peers.redis.server import RedisServer
from tests.support.clinic import Clinic, encounter
from tests.support.crowd import check_once

PATIENTS = [f"p{number}" for number in range(320)]
PATIENCE = 180.0
pytestmark = pytest.mark.peer


@pytest.fixture
def url(postgres: Postgres, prepared_name: str) -> Iterator[str]:
    """The address of a PostgreSQL database, set up and empty."""
    name = postgres.create(template=prepared_name)
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    with redis.Redis.from_url(server.url) as client:
        client.config_set("appendonly", "no")
    yield server
    server.stop()


class Workers:
    """`fhir-tracker worker` and Celery's own commands on one database and broker."""

    def __init__(self, url: str, broker: str, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "FHIR_TRACKER_DATABASE": url,
            "FHIR_TRACKER_REDIS_URL": broker,
            "FHIR_TRACKER_SECRET_KEY": SECRET,
            "FHIR_TRACKER_SWEEP_INTERVAL": "1s",
            "FHIR_TRACKER_SWEEP_BATCH": "100",
            "FHIR_TRACKER_MASS_ESCALATION_LIMIT": "0",
        }
        self.running: list[Process] = []

    def start(self, name: str, *words: str, program: str = "fhir-tracker") -> Process:
        command: list[str | Path] = [Path(sys.executable).parent / program, *words]
        log = self.folder / f"{name}.log"
        self.running.append(Process(command, log=log, env=self.environment, cwd=self.folder))
        return self.running[-1]

    def stop(self) -> None:
        for one in self.running:
            if one.running:
                one.stop()


def wait_for(what: Callable[[], object], name: str, *watched: Process) -> None:
    ends = time.monotonic() + PATIENCE
    while not what():
        ended = [one.tail() for one in watched if not one.running]
        assert not ended, f"ended while waiting for {name}: {ended}"
        assert time.monotonic() < ends, f"never: {name}: {[one.tail() for one in watched]}"
        time.sleep(0.2)


def discharge(clinic: Clinic, patients: list[str]) -> None:
    """Stays that ended three days ago: the first call is late by a day already."""
    at = clock.now() - timedelta(days=3)
    with clinic.acting(clock.now()) as (tx, by):
        for one in patients:
            records.save(tx, {"resourceType": "Patient", "id": one, "name": [{"family": "Synthetic"}]}, by)
            records.save(tx, encounter(one, at, id_=f"stay-{one}"), by)


def escalated(clinic: Clinic) -> int:
    with clinic.database.read() as tx:
        return len(tx.rows(work_item.select().where(work_item.c.kind == "escalation")))


def forget_claims(clinic: Clinic) -> None:
    """The time of what killed workers had in hand is over."""
    with clinic.database.begin() as tx:
        tx.execute(
            update(work_item).where(work_item.c.claim_token.is_not(None)).values(claim_token=None, claimed_until=None)
        )


def leader(clinic: Clinic) -> str:
    with clinic.database.read() as tx:
        text = states.get(tx, "leader:beat")
    return str(json.loads(text)["who"]) if text else ""


def a_child_of(process: Process) -> int | None:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(children[0]) if children else None


@pytest.mark.fault("F11", "F13", "F15", "F18")
def test_postgresql_redis_workers_children_and_beats_are_killed_and_every_escalation_is_there_once(
    url: str, broker: RedisServer, tmp_path: Path
) -> None:
    with closing(Database.open(url)) as database:
        clinic = Clinic(database, at=clock.now())
        workers = Workers(url, broker.url, tmp_path)
        try:
            first = workers.start("first", "worker")
            forking = workers.start(
                "forking",
                *("--app", "api.queue:app", "worker", "--pool", "prefork", "--concurrency", "2", "--without-mingle"),
                program="celery",
            )
            wait_for(lambda: leader(clinic), "a beat that leads", first, forking)
            second = workers.start("second", "worker")
            discharge(clinic, PATIENTS[:120])
            wait_for(lambda: escalated(clinic) > 0, "the first escalations", first, second, forking)
            led_by = leader(clinic)
            leading, other = (first, second) if led_by.endswith(f":{first.pid}") else (second, first)
            assert led_by.endswith(f":{leading.pid}"), "one beat gives hints at a time"
            discharge(clinic, PATIENTS[120:])
            broker.kill()
            leading.kill()
            child = a_child_of(forking)
            if child is not None:
                os.kill(child, signal.SIGKILL)
            broker.restart()
            forget_claims(clinic)
            wait_for(lambda: leader(clinic).endswith(f":{other.pid}"), "another beat that leads", other)
            wait_for(lambda: escalated(clinic) >= len(PATIENTS), "every escalation", other)
            os.kill(other.pid, signal.SIGTERM)
            assert other.wait(PATIENCE) == 0, other.tail()
        finally:
            workers.stop()
        check_once(clinic, PATIENTS, {1: ["in-app"]})


class Hints:
    """The process ids of the beats whose hints reached the broker, in that order."""

    def __init__(self, broker: RedisServer) -> None:
        self.givers: list[int] = []
        self._client = redis.Redis.from_url(broker.url, socket_timeout=None)
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._over = False
        self._listening.start()

    def _listen(self) -> None:
        with self._client.monitor() as heard:  # type: ignore[no-untyped-call]
            while not self._over:
                said = str(heard.next_command()["command"])
                if said.upper().startswith("LPUSH CELERY"):
                    self.givers.extend(int(one) for one in re.findall(r"origin\W+gen(\d+)@", said))

    def close(self) -> None:
        self._over = True
        self._client.ping()
        self._listening.join(PATIENCE)
        self._client.close()


@pytest.mark.fault("F4", "F15")
def test_a_beat_that_stands_still_beyond_its_lease_is_followed_by_one_and_says_nothing_when_it_wakes(
    url: str, broker: RedisServer, tmp_path: Path
) -> None:
    """Wherever it stands still: amid a transaction too, which the server ends (sooner here than in a clinic)."""
    soon = f"{url}?options=-c%20idle_in_transaction_session_timeout%3D3s"
    with closing(Database.open(url)) as database, closing(Hints(broker)) as hints:
        clinic, workers = Clinic(database, at=clock.now()), Workers(soon, broker.url, tmp_path)
        try:
            first, second = workers.start("first", "worker"), workers.start("second", "worker")
            wait_for(lambda: leader(clinic), "a beat that leads", first, second)
            frozen, other = (first, second) if leader(clinic).endswith(f":{first.pid}") else (second, first)
            wait_for(lambda: frozen.pid in hints.givers, "a hint", first, second)
            assert other.pid not in hints.givers, "one beat gives hints at a time"
            frozen.send(signal.SIGSTOP)
            discharge(clinic, PATIENTS[:20])
            wait_for(lambda: leader(clinic).endswith(f":{other.pid}"), "another beat that leads", other)
            forget_claims(clinic)
            wait_for(lambda: escalated(clinic) >= 20, "what was left undone", other)
            discharge(clinic, PATIENTS[20:40])
            frozen.send(signal.SIGCONT)
            hints.givers.clear()
            wait_for(lambda: len(hints.givers) > 20 and {*hints.givers[-20:]} == {other.pid}, "one beat alone", other)
            wait_for(lambda: escalated(clinic) >= 40, "what came meanwhile", first, second)
            assert leader(clinic).endswith(f":{other.pid}"), "who wakes does not take the place back"
            os.kill(other.pid, signal.SIGTERM)
            assert other.wait(PATIENCE) == 0, other.tail()
            discharge(clinic, PATIENTS[40:60])
            wait_for(lambda: escalated(clinic) >= 60, "the one that woke goes on when it is needed", frozen)
            assert leader(clinic).endswith(f":{frozen.pid}")
        finally:
            workers.stop()
        check_once(clinic, PATIENTS[:60], {1: ["in-app"]})


@pytest.mark.fault("F37")
def test_a_worker_cut_off_from_postgresql_and_redis_goes_on_when_the_network_is_back(
    postgres: Postgres, url: str, broker: RedisServer, tmp_path: Path
) -> None:
    name = url.rpartition("/")[2]
    with (
        closing(Database.open(url)) as database,
        FaultProxy(target=postgres.port) as to_database,
        FaultProxy(target=broker.port) as to_broker,
    ):
        clinic = Clinic(database, at=clock.now())
        through = f"postgresql://postgres@127.0.0.1:{to_database.port}/{name}"
        workers = Workers(through, f"redis://127.0.0.1:{to_broker.port}/0", tmp_path)
        try:
            worker = workers.start("cut", "worker")
            discharge(clinic, PATIENTS[:30])
            wait_for(lambda: escalated(clinic) >= 30, "the first escalations", worker)
            for proxy in (to_database, to_broker):
                proxy.toxics.down = True
                proxy.drop()
            discharge(clinic, PATIENTS[30:60])
            tried = to_database.connections
            wait_for(lambda: to_database.connections > tried, "a try in vain", worker)
            assert escalated(clinic) == 30
            for proxy in (to_database, to_broker):
                proxy.heal()
            forget_claims(clinic)
            wait_for(lambda: escalated(clinic) >= 60, "what was left undone", worker)
            assert worker.running
        finally:
            workers.stop()
        check_once(clinic, PATIENTS[:60], {1: ["in-app"]})
