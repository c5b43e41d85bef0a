from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import pytest

from fhir_tracker import clock, connections
from fhir_tracker.storage import inbox, remote_subscriptions
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.remote_subscriptions import RemoteSubscription
from tests.benchmarks.table import row
from tests.conformance.server import Tracker, running_tracker
from tests.subscriptions.test_notifications import event, r4

EACH = 150
SENDERS = 8


@pytest.fixture
def tracker(ready_url: str, tmp_path: Path) -> Iterator[Tracker]:
    url = ready_url
    with running_tracker(url, tmp_path, "--no-worker", env={"FHIR_TRACKER_LOG_LEVEL": "WARNING"}) as made:
        with closing(Database.open(url)) as database, database.begin() as tx:
            connections.add(tx, "clinic", "http://127.0.0.1:9/fhir", now=clock.now(), types=["Task"])
            held = RemoteSubscription(
                id=tx.keys.take(),
                connection="clinic",
                type="Task",
                kind="backport",
                criteria="http://example.org/topic",
                remote_id="s",
                digest=hashlib.sha256(b"right").hexdigest(),
                status="active",
                events=0,
                due_at=clock.now(),
            )
            remote_subscriptions.add(tx, held)
        yield made


def test_notifications_are_answered_within_a_second(tracker: Tracker) -> None:
    """Milliseconds until the empty answer, while eight senders send without a pause; afterwards everything waits once."""
    kinds: dict[str, Callable[[int], tuple[str, bytes]]] = {
        "a resource is put": lambda number: (f"/Task/{number}", b'{"resourceType":"Task"}'),
        "an event of the backport": lambda number: (
            "",
            json.dumps(r4("event-notification", number + 1, event(number + 1, f"Task/e{number}"))).encode(),
        ),
        "an empty post": lambda number: ("", b""),
    }
    for name, made in kinds.items():
        with ThreadPoolExecutor(SENDERS) as pool:
            begun = time.perf_counter()
            sent = pool.map(partial(send, tracker, made), range(SENDERS))
            took = sorted(one for some in sent for one in some)
            seconds = time.perf_counter() - begun
        what = f"{tracker.database.partition(':')[0]}, {name}"
        row(f"{what}: median", took[len(took) // 2] * 1000, "ms")
        row(f"{what}: 99 of 100 within", took[len(took) * 99 // 100] * 1000, "ms")
        row(f"{what}: slowest", took[-1] * 1000, "ms")
        row(f"{what}: answered", len(took) / seconds, "/s")
    with closing(Database.open(tracker.database)) as database, database.read() as tx:
        assert inbox.waiting(tx, "clinic") <= 2 * SENDERS * EACH + 1


def send(tracker: Tracker, made: Callable[[int], tuple[str, bytes]], sender: int) -> list[float]:
    """Seconds of each."""
    took = []
    with httpx.Client(headers={"x-hook-secret": "right"}, timeout=60, trust_env=False) as http:
        for number in range(sender * EACH, (sender + 1) * EACH):
            path, body = made(number)
            begun = time.perf_counter()
            answer = http.request("PUT" if path else "POST", f"{tracker.url}/hooks/clinic{path}", content=body)
            took.append(time.perf_counter() - begun)
            assert answer.status_code == 204, answer.text
    return took
