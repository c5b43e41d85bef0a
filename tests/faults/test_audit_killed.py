"""A killed server leaves a trail that is whole, with a row for each answer it gave; the next one goes on with its chain."""

from __future__ import annotations

import json
import signal
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import pytest

from fhir_tracker import audit_anchor
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.sealing import audit_key
from fhir_tracker.storage import audit
from fhir_tracker.storage.audit_checking import Finding, check
from fhir_tracker.storage.audit_rows import Signer
from fhir_tracker.storage.database import Database
from tests.conformance.server import SECRET, running_tracker

TASK = {"resourceType": "Task", "id": "t", "status": "requested", "intent": "order"}


def looked(url: str, anchor: Path) -> tuple[Finding, set[str]]:
    """What a look through the trail finds, and the request ids in it."""
    key = audit_key(SECRET)
    with closing(Database.open(url)) as database, database.read() as tx:
        found = check(tx, {Signer(lambda: key).known_id(): key}, audit_anchor.read(anchor))
        return found, {row.request_id for row in audit.list(tx, open_viewer(), limit=10_000)}


def asked(fhir: str, count: int, mark: str) -> set[str]:
    """Reads and writes, each under an id of its own; those that were answered."""
    answered = set()
    with httpx.Client(base_url=fhir, timeout=60, trust_env=False) as client:
        for number in range(count):
            id_ = f"{mark}-{number}"
            headers = {"X-Request-Id": id_, "Content-Type": "application/fhir+json"}
            if number % 3:
                client.get("/Task", headers=headers).raise_for_status()
            else:
                client.put("/Task/t", content=json.dumps(TASK), headers=headers).raise_for_status()
            answered.add(id_)
    return answered


def folder(within: Path) -> Path:
    """One of its own for each server, which finds its address in its log."""
    made = within / str(len(list(within.iterdir())))
    made.mkdir()
    return made


def anchored(anchor: Path, count: int) -> bool:
    return len(list(audit_anchor.read(anchor))) >= count


@pytest.mark.security("S51", "B2")
def test_a_killed_server_leaves_a_whole_trail_and_the_next_goes_on(ready_url: str, tmp_path: Path) -> None:
    anchor = tmp_path / "heads"
    env = {"FHIR_TRACKER_AUDIT_ANCHOR": str(anchor)}
    answered = set()
    for round_ in range(2):
        with running_tracker(
            ready_url, folder(tmp_path), "--open", "--processes", "1", "--no-worker", env=env
        ) as server:
            answered |= asked(server.fhir, 20, f"a{round_}")
            server.process.wait_until(partial(anchored, anchor, round_ + 1), seconds=60, what="a head that is anchored")
            answered |= asked(server.fhir, 20, f"b{round_}")
            server.process.send(signal.SIGKILL)
            server.process.wait(60)
        found, ids = looked(ready_url, anchor)
        assert found.problems == ()
        assert answered <= ids
    with running_tracker(ready_url, folder(tmp_path), "--open", "--processes", "1", "--no-worker", env=env) as server:
        answered |= asked(server.fhir, 3, "last")
    found, ids = looked(ready_url, anchor)
    assert (found.problems, found.unsealed) == ((), 0)
    assert answered <= ids
    assert found.head is not None
    assert list(audit_anchor.read(anchor))[-1].hash == found.head.hash
