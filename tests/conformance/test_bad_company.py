"""Clients that are slow, that leave, or that come when the database or the server goes: the others are served meanwhile."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conformance.server import Tracker, running_tracker
from tests.conformance.talk import JSON, Corner, issue_of
from tests.peers.postgres.server import Postgres

CREATE = b"POST /fhir/Basic HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/fhir+json\r\n"


@contextmanager
def connected(tracker: Tracker, count: int) -> Iterator[list[socket.socket]]:
    """So many connections, closed at the end."""
    with ExitStack() as undo:
        yield [
            undo.enter_context(socket.create_connection(("127.0.0.1", tracker.port), timeout=60)) for _ in range(count)
        ]


def check_served(corner: Corner) -> None:
    """The usual requests are answered, while the slow ones never end."""
    made = corner.put("Patient", "p", name=[{"family": "Served"}])
    for _ in range(5):
        assert corner.client.get(f"Patient/{made['id']}").status_code == 200
        assert corner.client.get(f"Patient?_id={made['id']}").json()["entry"]
        assert corner.client.get(f"Patient?name=Served&_id={made['id']}").json()["entry"]


@pytest.mark.requirement(14)
def test_clients_that_stop_in_the_middle_of_a_body_keep_nobody_waiting(tracker: Tracker, corner: Corner) -> None:
    with connected(tracker, 60) as sockets:
        for one in sockets:
            one.sendall(CREATE + b"Content-Length: 1000\r\n\r\n{")
        check_served(corner)


@pytest.mark.requirement(14)
def test_clients_that_do_not_read_their_answer_keep_nobody_waiting(tracker: Tracker, corner: Corner) -> None:
    for number in range(20):
        corner.put("Basic", f"big{number}", code={"text": "x" * 100_000})
    with connected(tracker, 20) as sockets:
        ask = f"GET /fhir/Basic?_tag={corner.name}&_count=200 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.sendall(ask * 3)
        check_served(corner)


@pytest.mark.requirement(14)
def test_clients_that_never_read_their_answer_lose_their_connection(tmp_path: Path) -> None:
    env = {"FHIR_TRACKER_SEND_TIMEOUT": "1s"}
    with running_tracker(f"sqlite:///{tmp_path / 'tracker.db'}", tmp_path, "--open", env=env) as tracker:
        with httpx.Client(base_url=tracker.fhir, timeout=60, trust_env=False) as client:
            for _ in range(10):
                body = {"resourceType": "Basic", "code": {"text": "x" * 1_000_000}}
                assert client.post("Basic", json=body, headers=JSON).status_code == 201
        with connected(tracker, 10) as sockets:
            for one in sockets[:5]:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.sendall(b"GET /fhir/Basic?_count=200 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 3)
            for one in sockets[5:]:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.sendall(b"GET /fhir/Basic?_count=200 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            deadline = time.monotonic() + 120
            while held(tracker) > 1:
                assert time.monotonic() < deadline, tracker.process.tail()
                time.sleep(0.1)
        log = tracker.log.read_text()
        assert "clients take nothing of their answers" in log
        assert "request failed" not in log


def held(tracker: Tracker) -> float:
    """How many connections the server holds, the one that asks among them."""
    text = httpx.get(f"{tracker.url}/metrics", timeout=60, trust_env=False).text
    return sum(float(one.split()[-1]) for one in text.splitlines() if one.startswith("process_connections{"))


def test_clients_that_leave_before_their_answer_do_no_harm(tracker: Tracker, corner: Corner) -> None:
    before = tracker.log.read_text().count("request failed")
    body = json.dumps({"resourceType": "Basic", "code": {"text": "left"}}).encode()
    for ask in (
        b"GET /fhir/Basic?_count=50 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /fhir/Basic/none HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        CREATE + f"Content-Length: {len(body)}\r\n\r\n".encode() + body,
        CREATE + b"Content-Length: 500\r\n\r\n{",
    ):
        with connected(tracker, 20) as sockets:
            for one in sockets:
                one.sendall(ask)
    check_served(corner)
    assert tracker.log.read_text().count("request failed") == before


@pytest.mark.requirement(14)
def test_searches_that_take_long_do_not_hold_up_small_reads(tracker: Tracker, corner: Corner) -> None:
    stop = threading.Event()

    def keep_searching() -> int:
        count = 0
        with httpx.Client(base_url=tracker.fhir, timeout=60, trust_env=False) as client:
            while not count or not stop.is_set():
                answer = client.get("Patient?name:contains=e&_sort=-_lastUpdated&_count=1000&_revinclude=Task:patient")
                assert answer.status_code in (200, 503)
                count += 1
        return count

    with ThreadPoolExecutor(8) as pool:
        kept = [pool.submit(keep_searching) for _ in range(8)]
        try:
            check_served(corner)
        finally:
            stop.set()
        assert all(one.result() for one in kept)


def test_who_is_under_way_when_the_server_stops_is_answered(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'tracker.db'}"
    stored: set[str] = set()
    with running_tracker(database, tmp_path, "--open") as tracker:
        answered: list[str] = []

        def keep_writing(number: int) -> None:
            with httpx.Client(base_url=tracker.fhir, timeout=60, trust_env=False) as client:
                while True:
                    try:
                        answer = client.post(
                            "Basic", json={"resourceType": "Basic", "code": {"text": "x"}}, headers=JSON
                        )
                    except httpx.TransportError:
                        return
                    assert answer.status_code in (201, 503), answer.text
                    if answer.status_code == 201:
                        answered.append(answer.json()["id"])

        with ThreadPoolExecutor(6) as pool:
            kept = [pool.submit(keep_writing, number) for number in range(6)]
            while len(answered) < 30 and not any(one.done() for one in kept):
                time.sleep(0.02)
            tracker.process.stop()
            for one in kept:
                one.result()
        assert "request failed" not in tracker.log.read_text()
    folder = tmp_path / "again"
    folder.mkdir()
    with running_tracker(database, folder, "--open") as again:
        for id_ in answered:
            assert httpx.get(f"{again.fhir}/Basic/{id_}", timeout=60, trust_env=False).status_code == 200
            stored.add(id_)
    assert len(stored) == len(answered)


@pytest.mark.requirement(14)
def test_a_database_that_goes_and_comes_back_is_told_and_used_again(own_postgres: Postgres, tmp_path: Path) -> None:
    url = own_postgres.url(own_postgres.create())
    with (
        running_tracker(url, tmp_path, "--open", "--no-worker") as tracker,
        httpx.Client(base_url=tracker.fhir, timeout=60, trust_env=False) as client,
    ):
        assert (
            client.put("Basic/b", json={"resourceType": "Basic", "id": "b", "code": {"text": "x"}}).status_code == 201
        )
        asks = ("Basic/b", "Basic?_id=b", "Basic/b/_history", "Basic?code=x&_sort=_id")
        assert [client.get(ask).status_code for ask in asks] == [200] * 4
        own_postgres.kill()
        for ask in asks:
            answer = client.get(ask)
            assert issue_of(answer, 503)["code"] == "transient"
            assert int(answer.headers["retry-after"]) > 0
        body = {"resourceType": "Basic", "code": {"text": "y"}}
        assert client.post("Basic", json=body, headers=JSON).status_code == 503
        own_postgres.restart()
        assert [client.get(ask).status_code for ask in asks] == [200] * 4
        assert client.post("Basic", json=body, headers=JSON).status_code == 201
        assert not re.search("request failed", tracker.log.read_text())
