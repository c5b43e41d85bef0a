"""A server killed with -9 amid transactions: each is there as a whole or not at all, and those that were answered are."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import pytest

from tests.conformance.bundles import SYSTEM, about, post, send, urn
from tests.conformance.server import running_tracker

SIZE = 30
ROUNDS = 3


def _post_many(base: str, run: int, answered: list[str], enough: threading.Event) -> None:
    """Post one transaction after the other until the server is gone."""
    with httpx.Client(base_url=base, timeout=60, trust_env=False) as client:
        for number in range(10_000):
            name = f"{run}-{number}"
            marked = {"identifier": [{"system": SYSTEM, "value": name}]}
            first = urn()
            entries = [post(about(first, **marked), first), *[post(about(first, **marked)) for _ in range(SIZE - 1)]]
            try:
                answer = send(client, "transaction", *entries)
            except httpx.TransportError:
                return
            assert answer.status_code == 200, answer.text[:300]
            answered.append(name)
            if len(answered) >= 4 * (run % ROUNDS + 1):
                enough.set()


@pytest.mark.requirement(33)
def test_a_killed_server_leaves_no_part_of_a_transaction(ready_url: str, tmp_path: Path) -> None:
    seen: list[str] = []
    for run in range(ROUNDS):
        answered: list[str] = []
        enough = threading.Event()
        with running_tracker(ready_url, tmp_path, "--open") as tracker:
            posting = threading.Thread(target=_post_many, args=(tracker.fhir, run, answered, enough))
            posting.start()
            assert enough.wait(180), tracker.process.tail()
            tracker.process.kill()
            posting.join(120)
        seen += answered
        (tmp_path / "tracker.log").unlink()
    with running_tracker(ready_url, tmp_path, "--open") as tracker, httpx.Client(trust_env=False, timeout=60) as client:
        for run in range(ROUNDS):
            known = [name for name in seen if name.startswith(f"{run}-")]
            for name in [*known, f"{run}-{len(known)}"]:
                query = {"identifier": f"{SYSTEM}|{name}", "_summary": "count"}
                total = client.get(f"{tracker.fhir}/Basic", params=query).json()["total"]
                assert total == SIZE if name in known else total in (0, SIZE), name
