"""A server killed with -9 at random moments while it polls, hears, and writes back: nothing is lost here, nothing doubled there."""

from __future__ import annotations

import random
import time
from pathlib import Path

import httpx
import pytest

from fhir_tracker import clock, writes
from fhir_tracker.errors import Busy
from fhir_tracker.model.author import Author
from fhir_tracker.storage import outbox
from fhir_tracker.storage.database import Database
from tests.conformance.server import Tracker, running_tracker
from tests.faults.checker import CONNECTION, VIEWER, check, check_always
from tests.faults.ehr_process import EhrProcess
from tests.faults.ehr_server import CANARY
from tests.faults.jumping import ROOT, Jumps
from tests.faults.test_kills import add, wait_for
from tests.peers.process import free_port

IDS = tuple(f"{CANARY}-{number}" for number in range(30))
KILLS = 3
LEASES_OVER = 15
"""Seconds by which the clock of each next server is ahead, so that nobody waits for the leases of the killed one."""


class Traffic:
    """What happens meanwhile, by chance: rows change there, some are told of, twice or as old ones; Tasks are made here."""

    def __init__(self, seed: int, database: Database, ehr: EhrProcess) -> None:
        self._chance = random.Random(seed)
        self._database = database
        self._ehr = ehr
        self.tasks: list[str] = []

    def step(self) -> None:
        some = self._chance.sample(IDS, self._chance.randrange(1, 8))
        self._ehr.write(*some, late=self._chance.choice([0, 0, 0.5]))
        told = [_told(one, self._chance.randrange(1, 5)) for one in self._chance.choices(some, k=3)]
        if self._ehr.state()["subscriptions"]:
            self._ehr.act("notify", order=[*told, {}])
        self._make()

    def last(self) -> float:
        """How long the next server lives."""
        return self._chance.uniform(0, 2.5)

    def _make(self) -> None:
        task = {"resourceType": "Task", "status": "requested", "intent": "order"}
        about = {"for": {"reference": f"Patient/{CONNECTION}-{self._chance.choice(IDS)}"}}
        try:
            with self._database.begin() as tx:
                made = writes.create(tx, task | about, Author(viewer=VIEWER, origin="test", at=clock.now()))
        except Busy:
            return
        self.tasks.append(made.id)


@pytest.mark.fault("F1", "F3", "F5", "F6", "F32", "F33")
@pytest.mark.requirement(73, 78)
def test_a_server_killed_at_any_moment_loses_nothing_and_doubles_nothing(
    database: Database, ready_url: str, ehr: EhrProcess, tmp_path: Path
) -> None:
    port, jumps = free_port(), Jumps(tmp_path)
    words = ("--port", str(port), "--processes", "1", "--public-url", f"http://127.0.0.1:{port}")
    env, log = {"PYTHONPATH": str(ROOT)}, [tmp_path / "tracker.log"]
    add(database, ehr, poll_seconds=1, subscribe="rest-hook", options={"write_back": ["Task"]})
    traffic = Traffic(11, database, ehr)

    for kill in range(KILLS):
        jumps.set(kill * LEASES_OVER)
        with running_tracker(ready_url, tmp_path, *words, env=env, program=jumps.program) as tracker:
            ends = time.monotonic() + traffic.last()
            traffic.step()
            while time.monotonic() < ends:
                traffic.step()
            tracker.process.kill()
        check_always(database, ehr.truth(), now=clock.now(), logs=log)
    jumps.set(KILLS * LEASES_OVER)
    with running_tracker(ready_url, tmp_path, *words, env=env, program=jumps.program) as tracker:
        traffic.step()
        wait_for(lambda: _is_at_rest(database, ehr), "all is here, and all that was made here is there")
        numbers = _numbers(tracker)
    truth = ehr.truth()
    secrets = [line.partition(": ")[2] for one in ehr.state()["subscriptions"] for line in one["channel"]["header"]]
    assert secrets
    check(database, truth, now=clock.now(), logs=log, texts=[numbers], secrets=secrets)
    there = [key for key in truth if key.startswith("Task/")]
    assert len(there) == len(traffic.tasks) == ehr.state()["created"]


def _is_at_rest(database: Database, ehr: EhrProcess) -> bool:
    with database.read() as tx:
        rows = outbox.listed(tx, VIEWER, states=outbox.STATES, limit=1000)
    if any(one.state != "done" for one in rows):
        return False
    try:
        check(database, ehr.truth(), now=clock.now())
    except AssertionError as error:
        if not str(error).startswith("I1"):
            raise
        return False
    return True


def _numbers(tracker: Tracker) -> str:
    return httpx.get(f"{tracker.url}/metrics", timeout=60, trust_env=False).text


def _told(id_: str, version: int) -> dict[str, object]:
    meta = {"versionId": str(version)}
    return {"method": "PUT", "path": f"/Patient/{id_}", "body": {"resourceType": "Patient", "id": id_, "meta": meta}}
