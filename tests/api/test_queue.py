from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.worker import HEARTBEAT
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database
from tests.peers.process import Process
from tests.peers.redis.server import RedisServer

pytestmark = pytest.mark.peer


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    yield server
    server.stop()


def celery(folder: Path, environment: dict[str, str], *words: str) -> Process:
    program = Path(sys.executable).parent / "celery"
    command = [str(program), "--app", "api.queue:app", *words]
    return Process(command, log=folder / f"{words[0]}.log", env=environment, cwd=folder)


def heartbeat(database: Database) -> str:
    with database.read() as tx:
        return states.get(tx, HEARTBEAT) or ""


@pytest.mark.fault("F11")
def test_hints_of_the_beat_let_a_worker_run_the_rules_and_go_on_after_the_broker_was_killed(
    database: Database, ready_url: str, own_redis: RedisServer, tmp_path: Path
) -> None:
    environment = {
        "FHIR_TRACKER_DATABASE": ready_url,
        "FHIR_TRACKER_REDIS_URL": own_redis.url,
        "FHIR_TRACKER_SWEEP_INTERVAL": "500ms",
    }
    worker = celery(tmp_path, environment, "worker")
    beat = celery(tmp_path, environment, "beat", "--schedule", str(tmp_path / "schedule"))
    try:
        worker.wait_until(lambda: bool(heartbeat(database)), seconds=60, what="the first sweep")
        own_redis.kill()
        own_redis.restart()
        before = heartbeat(database)
        worker.wait_until(lambda: heartbeat(database) > before, seconds=90, what="a sweep after the broker came back")
    finally:
        beat.stop()
        worker.stop()


def test_without_a_broker_the_scale_out_mode_says_what_to_set() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "FHIR_TRACKER_REDIS_URL"}
    run = subprocess.run(
        [sys.executable, "-c", "import api.queue"], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode != 0
    assert "FHIR_TRACKER_REDIS_URL" in run.stderr
