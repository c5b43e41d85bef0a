"""A writer killed in mid-write: everything it was told is written is there, and nothing is there by halves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from fhir_tracker.storage import changes, resources
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from fhir_tracker.storage.tables import change, ix, resource, resource_version
from tests.peers.postgres.server import Postgres
from tests.storage.samples import VIEWER, found
from tests.support.sessions import sessions, wait_until_ended

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from fhir_tracker.storage.database import Database
from tests.storage.samples import put, task
database = Database.open(sys.argv[1])
for number in range(100_000):
    with database.begin() as tx:
        put(tx, task(f"t{number}"))
        put(tx, task(f"t{number}", status="accepted"), 2)
    print(f"t{number}", flush=True)
"""


def start_writer(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def read_acknowledged(writer: subprocess.Popen[str], count: int) -> list[str]:
    assert writer.stdout is not None
    return [writer.stdout.readline().strip() for _ in range(count)]


def kept(url: str) -> set[str]:
    """The ids that are there; every one must be whole."""
    with closing(Database.open(url)) as opened:
        with opened.begin() as tx:
            stored = resources.scan(tx, VIEWER, ["Task"], limit=100_000)
            assert {one.version for one in stored} == {2}
            counted = [tx.value(select(func.count()).select_from(one)) for one in (resource_version, change)]
            assert counted == [2 * len(stored)] * 2
            assert tx.value(select(func.count(ix.c.k.distinct()))) == tx.value(select(func.count(resource.c.k)))
            assert len(changes.read_since(tx, VIEWER, "test", 100_000)) == 2 * len(stored)
        assert len(found(opened, "Task", "status=accepted&_count=1000")) == len(stored)
        return {one.id for one in stored}


@pytest.mark.parametrize("count", [1, 40])
def test_a_killed_writer_loses_nothing_that_was_acknowledged(database: Database, ready_url: str, count: int) -> None:
    known = sessions(ready_url)
    writer = start_writer(ready_url)
    acknowledged = read_acknowledged(writer, count)
    os.kill(writer.pid, signal.SIGKILL)
    rest = [line.strip() for line in writer.communicate()[0].splitlines()]
    acknowledged += [line for line in rest if line]
    wait_until_ended(ready_url, known)
    present = kept(ready_url)
    assert set(acknowledged) <= present
    assert len(present) - len(acknowledged) <= 1


@pytest.mark.fault("F7")
def test_a_killed_postgresql_loses_nothing_that_was_acknowledged(own_postgres: Postgres) -> None:
    url = own_postgres.url(own_postgres.create())
    with closing(Database.open(url)) as opened:
        prepare(opened)
    writer = start_writer(url)
    acknowledged = read_acknowledged(writer, 30)
    own_postgres.kill()
    acknowledged += [line for line in writer.communicate()[0].split() if line]
    assert writer.returncode != 0
    own_postgres.restart()
    assert set(acknowledged) <= kept(url)
