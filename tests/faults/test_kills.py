"""Processes of the tracker that are killed, stopped or ended at exact lines of a sync or of a notification."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_tracker import clock, connections
from fhir_tracker.storage import connections as stored
from fhir_tracker.storage import cursors, inbox, resources
from fhir_tracker.storage.database import Database
from subscriptions import EhrClient, SyncReport, sync_connection
from tests.conformance.server import running_tracker
from tests.faults.checker import CONNECTION, check, check_always
from tests.faults.ehr_process import EhrProcess
from tests.faults.ehr_server import CANARY
from tests.peers.process import Process, free_port

PATIENTS = tuple(f"{CANARY}-{number:03}" for number in range(40))
FIRST, REFUSED, KEPT, SECOND, UNHEARD = (f"{CANARY}-{one}" for one in ("first", "refused", "kept", "second", "unheard"))
PATIENCE = 120.0
SELDOM = 3600


def add(database: Database, ehr: EhrProcess, *, options: dict[str, object] | None = None, **others: Any) -> None:
    """The connection to the fake EHR, whose clock runs as ours does and shows ten rows a page; its token is a canary too."""
    ehr.act("switch", page_size=10, runs=True)
    secret = ehr.folder / "token"
    secret.write_text(f"{CANARY}-token")
    kept = {"auth": "bearer", "secret_file": str(secret), **(options or {})}
    with database.begin() as tx:
        connections.add(tx, CONNECTION, ehr.base_url, now=clock.now(), types=("Patient",), options=kept, **others)


def started(url: str, folder: Path, failpoint: str = "") -> Process:
    """`fhir-tracker sync`, which meets a failpoint."""
    program = Path(sys.executable).parent / "fhir-tracker"
    command: list[str | Path] = [program, "sync", CONNECTION, "--once", "--database", url]
    return Process(command, log=folder / "sync.log", env={"FHIR_TRACKER_FAILPOINT": failpoint})


def sync_here(database: Database, ehr: EhrProcess) -> SyncReport:
    """A sync in this process, at a time when the lease of any other has run out."""
    with database.read() as tx:
        connection = stored.find(tx, CONNECTION)
    assert connection is not None
    with EhrClient(ehr.base_url) as client:
        return sync_connection(database, connection, client=client, now=lambda: clock.now() + timedelta(minutes=1))


def wait_for(what: Callable[[], object], name: str) -> None:
    ends = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < ends, f"never: {name}"
        time.sleep(0.1)


def held(database: Database) -> set[str]:
    with database.read() as tx:
        return set(resources.ids_of(tx, CONNECTION, "Patient"))


@pytest.mark.fault("F1", "F2")
@pytest.mark.parametrize("place", ["page-read", "page-before-commit", "page-after-commit"])
def test_a_sync_killed_at_a_page_leaves_rows_and_cursor_at_one_moment(
    database: Database, ready_url: str, ehr: EhrProcess, tmp_path: Path, place: str
) -> None:
    add(database, ehr)
    ehr.write(*PATIENTS)
    process = started(ready_url, tmp_path, f"{place}:2")
    assert process.wait(60) == -signal.SIGKILL, process.tail()
    with database.read() as tx:
        cursor = cursors.find(tx, CONNECTION, "Patient")
    pages = 2 if place == "page-after-commit" else 1
    assert len(held(database)) == 10 * pages
    assert cursor is not None
    assert int(cursor.detail["pages"]) == pages
    check_always(database, ehr.truth(), now=clock.now())
    assert sync_here(database, ehr).complete
    check(database, ehr.truth(), now=clock.now(), logs=[tmp_path / "sync.log"])


@pytest.mark.fault("F4")
def test_a_sync_that_stood_still_while_another_took_over_writes_nothing_any_more(
    database: Database, ready_url: str, ehr: EhrProcess, tmp_path: Path
) -> None:
    add(database, ehr)
    ehr.write(*PATIENTS)
    process = started(ready_url, tmp_path, "page-read:2:stop")
    wait_for(lambda: _stands_still(process), "the first sync stands still")
    ehr.write(*PATIENTS[:20])
    assert sync_here(database, ehr).complete
    before = ehr.truth()
    process.send(signal.SIGCONT)
    assert process.wait(60) == 0, "it is refused, and begins anew from what the other has committed"
    check(database, before, now=clock.now(), logs=[tmp_path / "sync.log"])


@pytest.mark.fault("F18")
def test_a_server_that_is_ended_politely_in_mid_load_loses_nothing(
    database: Database, ready_url: str, ehr: EhrProcess, tmp_path: Path
) -> None:
    add(database, ehr)
    ehr.write(*PATIENTS)
    ehr.fault({"match": "_getpages", "do": "hang", "seconds": 2, "times": 1})
    with running_tracker(ready_url, tmp_path, "--open", "--port", "0") as tracker:
        wait_for(lambda: len(held(database)) >= 10, "the load is under way")
        assert tracker.process.stop() == 0
    check_always(database, ehr.truth(), now=clock.now(), logs=[tmp_path / "tracker.log"])
    ehr.fault()
    assert sync_here(database, ehr).complete
    check(database, ehr.truth(), now=clock.now())


@pytest.mark.fault("F5", "F6", "F32", "F33")
def test_a_server_killed_at_a_notification_loses_none_and_disorder_changes_nothing(
    database: Database, ready_url: str, ehr: EhrProcess, tmp_path: Path
) -> None:
    """Killed before it was kept (F6) and after, before the answer (F5); the EHR sends again or gives up."""
    port = free_port()
    words = ("--port", str(port), "--processes", "1", "--public-url", f"http://127.0.0.1:{port}")
    add(database, ehr, subscribe="rest-hook", poll_seconds=SELDOM)
    ehr.write(FIRST)
    env = {"FHIR_TRACKER_FAILPOINT": "hook-before-insert", "FHIR_TRACKER_INSECURE": "failpoint"}
    with running_tracker(ready_url, tmp_path, *words, env=env) as tracker:
        wait_for(lambda: FIRST in held(database) and ehr.state()["subscriptions"], "loaded and subscribed")
        ehr.write(REFUSED)
        assert ehr.act("notify", order=[_told(REFUSED)]) == [0]
        tracker.process.wait(60)
    assert _open(database) == 0
    check_always(database, ehr.truth(), now=clock.now())
    env = {"FHIR_TRACKER_FAILPOINT": "hook-after-insert:3", "FHIR_TRACKER_INSECURE": "failpoint"}
    with running_tracker(ready_url, tmp_path, *words, env=env) as tracker:
        assert ehr.act("notify", order=[_told(REFUSED), _told(REFUSED)]) == [204, 204]
        wait_for(lambda: REFUSED in held(database), "what was sent again is here")
        ehr.write(KEPT)
        assert ehr.act("notify", order=[_told(KEPT)]) == [0]
        tracker.process.wait(60)
    check_always(database, ehr.truth(), now=clock.now())
    with running_tracker(ready_url, tmp_path, *words) as tracker:
        wait_for(lambda: KEPT in held(database), "what was kept and never answered is here")
        ehr.write(FIRST, SECOND, UNHEARD)
        ehr.write(FIRST)
        order = [_told(FIRST, 3), _told(FIRST, 1), _told(SECOND), _told(FIRST, 2), _told(SECOND)]
        assert ehr.act("notify", order=order) == [204] * 5
        assert ehr.act("notify", order=[{"secret": False, "body": {}}] * 20) == [401] * 20
        assert ehr.act("notify", order=[{}] * 20) == [204] * 20
        wait_for(lambda: {SECOND, UNHEARD} <= held(database), "the bare ones have it pulled")
        wait_for(lambda: not _open(database), "the inbox is empty")
        metrics = httpx.get(f"{tracker.url}/metrics", trust_env=False).text
    pulls = [one for one in ehr.state()["seen"] if "_lastUpdated=ge" in one["url"]]
    assert len(pulls) < 20, "a flood is one pull a window"
    assert sync_here(database, ehr).complete
    check(database, ehr.truth(), now=clock.now(), logs=[tmp_path / "tracker.log"], texts=[metrics])


def _told(id_: str, version: int = 1) -> dict[str, object]:
    meta = {"versionId": str(version)}
    return {"method": "PUT", "path": f"/Patient/{id_}", "body": {"resourceType": "Patient", "id": id_, "meta": meta}}


def _open(database: Database) -> int:
    with database.read() as tx:
        return inbox.waiting(tx, CONNECTION)


def _stands_still(process: Process) -> bool:
    assert process.running, process.tail()
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
