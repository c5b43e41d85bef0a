"""A disk that is full: what was acknowledged stays, what is refused hears so, nothing is broken, and room lets it go on."""

from __future__ import annotations

import re
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import httpx
import psycopg
import pytest

from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.conformance.server import Tracker, running_tracker
from tests.peers.postgres.server import Postgres

ROOM = 3_000_000
_CHANCE = Random(16)


def put(tracker: Tracker, number: int) -> httpx.Response:
    """One resource of 200 KB that cannot be squeezed."""
    text = _CHANCE.randbytes(100_000).hex()
    body = {"resourceType": "Basic", "id": f"b{number}", "code": {"text": text}}
    return httpx.put(f"{tracker.fhir}/Basic/b{number}", json=body, timeout=120, trust_env=False)


def fill(tracker: Tracker) -> list[int]:
    """Write until something is refused as it should be; the numbers of what was acknowledged."""
    kept: list[int] = []
    for number in range(500):
        answer = put(tracker, number)
        if answer.status_code not in (200, 201):
            assert answer.status_code in (503, 507), answer.text
            assert answer.json()["resourceType"] == "OperationOutcome"
            return kept
        kept.append(number)
    raise AssertionError("the disk was never full")


def check_after(tracker: Tracker, kept: list[int]) -> None:
    for number in kept:
        found = httpx.get(f"{tracker.fhir}/Basic/b{number}", timeout=60, trust_env=False)
        assert found.status_code == 200, number
    assert put(tracker, 1000).status_code == 201
    assert httpx.get(f"{tracker.url}/livez", timeout=60, trust_env=False).status_code == 200


@pytest.mark.fault("F16")
def test_a_full_disk_under_sqlite_refuses_writes_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tracker.db"
    with running_tracker(f"sqlite:///{path}", tmp_path, "--open") as tracker:
        room = max(one.stat().st_size for one in tmp_path.iterdir() if one.is_file()) + ROOM
        resource.prlimit(tracker.process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        kept = fill(tracker)
        assert kept
        read = httpx.get(f"{tracker.fhir}/Basic/b{kept[0]}", timeout=60, trust_env=False)
        assert read.status_code in (200, 503), "reading goes on for as long as there is room for its audit row"
        assert read.json()["resourceType"] == ("Basic" if read.status_code == 200 else "OperationOutcome")
        resource.prlimit(tracker.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        check_after(tracker, kept)
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def may_mount() -> bool:
    """Whether this process has CAP_SYS_ADMIN, as root has but for most containers."""
    (held,) = re.findall(r"^CapEff:\s+([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return bool(int(held, 16) >> 21 & 1)


@contextmanager
def small_disk(folder: Path, owner: str | None) -> Iterator[Path]:
    """A disk of 24 MB in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0777", "none", folder], check=True)
    try:
        inner = folder / "space"
        inner.mkdir()
        if owner:
            subprocess.run(["chown", owner, inner], check=True)
        yield inner
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def space_of(url: str) -> Callable[[str], None]:
    def run(statement: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())

    return run


@pytest.mark.fault("F16")
@pytest.mark.skipif(not may_mount(), reason="a disk of its own can only be mounted by who has CAP_SYS_ADMIN")
def test_a_full_disk_under_postgresql_refuses_writes_and_loses_nothing(own_postgres: Postgres, tmp_path: Path) -> None:
    name = own_postgres.create()
    with small_disk(own_postgres.folder / "small", own_postgres.user) as disk:
        run = space_of(own_postgres.url("postgres"))
        run(f"CREATE TABLESPACE small LOCATION '{disk}'")
        run(f'ALTER DATABASE "{name}" SET TABLESPACE small')
        with closing(Database.open(own_postgres.url(name))) as database:
            prepare(database)
        with running_tracker(own_postgres.url(name), tmp_path, "--open") as tracker:
            kept = fill(tracker)
            assert kept
            subprocess.run(["mount", "-o", "remount,size=200m", disk.parent], check=True)
            check_after(tracker, kept)
        own_postgres.drop(name)
        run("DROP TABLESPACE small")
