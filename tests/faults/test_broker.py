"""The scale-out mode: what Celery and Redis lose is done all the same, since they carry hints and no work."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import redis

from api.worker import HEARTBEAT
from fhir_tracker import clock, records
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database
from tests.conformance.server import SECRET, running_tracker
from tests.faults.checker import check, check_always
from tests.faults.ehr_process import EhrProcess
from tests.faults.ehr_server import CANARY
from tests.faults.test_kills import PATIENTS, add, held
from tests.peers.process import Process
from tests.peers.redis.server import RedisServer
from tests.support.clinic import Clinic, encounter

PATIENCE = 120.0
pytestmark = pytest.mark.peer


def wait_for(what: Callable[[], object], name: str) -> None:
    ends = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < ends, f"never: {name}"
        time.sleep(0.2)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    yield server
    server.stop()


class Scale:
    """A Celery worker that hears hints of the test's own; there is no beat but the test."""

    def __init__(self, url: str, broker: RedisServer, folder: Path, failpoint: str = "") -> None:
        self.broker = broker
        self.folder = folder
        self.environment = {
            "FHIR_TRACKER_DATABASE": url,
            "FHIR_TRACKER_REDIS_URL": broker.url,
            "FHIR_TRACKER_SECRET_KEY": SECRET,
            "FHIR_TRACKER_FAILPOINT": failpoint,
        }
        self.worker = self.celery("worker")

    def restart(self) -> None:
        """Another worker, which meets no failpoint."""
        self.environment["FHIR_TRACKER_FAILPOINT"] = ""
        self.worker = self.celery("worker")

    def celery(self, *words: str) -> Process:
        program = Path(sys.executable).parent / "celery"
        command: list[str | Path] = [program, "--app", "api.queue:app", *words]
        return Process(command, log=self.folder / f"{words[0]}.log", env=self.environment, cwd=self.folder)

    def hint(self, what: str = "rules", *, times: int = 1) -> None:
        """So many hints that the rules (or what follows EHRs) may have something to do, as the beat sends them."""
        for _ in range(times):
            sent = self.celery("call", what)
            assert sent.wait(PATIENCE) == 0, sent.tail()


def discharge(clinic: Clinic, patients: Sequence[str]) -> None:
    """Stays that ended an hour ago; nobody has looked at them yet."""
    at = clock.now()
    with clinic.acting(at) as (tx, by):
        for one in patients:
            records.save(tx, {"resourceType": "Patient", "id": one, "name": [{"family": "Synthetic"}]}, by)
            records.save(tx, encounter(one, at - timedelta(hours=1), id_=f"stay-{one}"), by)


def heartbeat(database: Database) -> str:
    with database.read() as tx:
        return states.get(tx, HEARTBEAT) or ""


def waiting(broker: RedisServer) -> int:
    with redis.Redis.from_url(broker.url) as client:
        return int(client.llen("celery"))


@pytest.mark.fault("F11", "F13", "F14")
def test_hints_lost_doubled_or_cut_off_leave_all_work_done_once(
    database: Database, ready_url: str, broker: RedisServer, tmp_path: Path
) -> None:
    clinic = Clinic(database)
    patients = [f"p{number}" for number in range(30)]
    discharge(clinic, patients[:10])
    scale = Scale(ready_url, broker, tmp_path)
    try:
        scale.hint(times=2)
        scale.worker.wait_until(lambda: bool(heartbeat(database)), seconds=60, what="the first sweep")
        scale.worker.kill()
        discharge(clinic, patients[10:])
        scale.hint()
        assert waiting(broker) >= 1
        broker.kill()
        for one in broker.folder.glob("appendonlydir/*"):
            one.unlink()
        broker.restart()
        assert waiting(broker) == 0, "all hints are lost"
        before = heartbeat(database)
        scale.worker = scale.celery("worker")
        scale.hint(times=2)
        scale.worker.wait_until(lambda: heartbeat(database) > before, seconds=60, what="a sweep after all was lost")
    finally:
        scale.worker.stop()
    for patient in patients:
        assert sorted(one.kind for one in clinic.items(patient)) == ["plan", "task"], patient


@pytest.mark.fault("F12")
def test_a_broker_that_is_away_keeps_no_write_from_being_taken(
    ready_url: str, broker: RedisServer, tmp_path: Path
) -> None:
    with running_tracker(ready_url, tmp_path, "--open", env={"FHIR_TRACKER_REDIS_URL": broker.url}) as tracker:
        broker.kill()
        made = httpx.post(
            f"{tracker.fhir}/Basic",
            json={"resourceType": "Basic", "code": {"text": "synthetic"}},
            headers={"content-type": "application/fhir+json"},
            timeout=PATIENCE,
            trust_env=False,
        )
        assert made.status_code == 201
        told = httpx.get(f"{tracker.url}/readyz", timeout=PATIENCE, trust_env=False)
        assert (told.status_code, told.json()["status"]) == (200, "degraded")
        assert told.json()["checks"]["broker"]["status"] == "degraded"
        broker.restart()
        told = httpx.get(f"{tracker.url}/readyz", timeout=PATIENCE, trust_env=False)
        assert (told.json()["status"], told.json()["checks"]["broker"]) == ("ok", {"status": "ok"})


@pytest.mark.fault("F13")
def test_a_celery_worker_killed_in_mid_load_is_followed_by_one_that_ends_it(
    database: Database, ready_url: str, broker: RedisServer, ehr: EhrProcess, tmp_path: Path
) -> None:
    add(database, ehr)
    ehr.write(*PATIENTS)
    scale = Scale(ready_url, broker, tmp_path, failpoint="page-before-commit:2")
    scale.hint("follow")
    assert scale.worker.wait(PATIENCE) == -signal.SIGKILL
    with redis.Redis.from_url(broker.url) as client:
        carried = [*client.lrange("celery", 0, -1), *client.hgetall("unacked").values()]
    assert not [one for one in carried if CANARY.encode() in one], "I9: hints hold no data"
    check_always(database, ehr.truth(), now=clock.now())
    assert len(held(database)) == 10
    scale.restart()
    try:
        while len(held(database)) < len(PATIENTS):
            assert scale.worker.running, scale.worker.tail()
            scale.hint("follow")
    finally:
        scale.worker.stop()
    check(database, ehr.truth(), now=clock.now(), logs=[tmp_path / "worker.log"])
