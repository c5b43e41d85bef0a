"""Several processes behind one port: how many there are, that each serves, and what happens when one or all of them end."""

from __future__ import annotations

import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from api.processes import MOST_BY_ITSELF, how_many
from api.tally import Tally
from api.worker import HEARTBEAT
from fhir_tracker.config import load_settings
from fhir_tracker.errors import UsageError
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database
from tests.conformance.server import Tracker, running_tracker
from tests.peers.postgres.server import Postgres
from tests.support.processes import (
    JSON,
    PATIENCE_SECONDS,
    ask,
    connect,
    is_gone,
    numbers,
    serving,
    wait_for,
    wait_until_closed,
)

POSTGRESQL = {"FHIR_TRACKER_DATABASE": "postgresql://tracker@127.0.0.1/tracker"}
SQLITE = {"FHIR_TRACKER_DATABASE": "sqlite:////nowhere/t.db"}
BASIC = {"resourceType": "Basic", "code": {"text": "x"}}


@pytest.fixture
def url(postgres: Postgres, prepared_name: str) -> Iterator[str]:
    """A PostgreSQL database that is set up and empty."""
    name = postgres.create(template=prepared_name)
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture(scope="module")
def two(postgres: Postgres, prepared_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """Two processes that no test of this module ends."""
    url = postgres.url(postgres.create(template=prepared_name))
    env = {"FHIR_TRACKER_PROCESS_TIMEOUT": "1d"}
    with running_tracker(url, tmp_path_factory.mktemp("two"), "--open", "--processes", "2", env=env) as tracker:
        wait_for(tracker, 2)
        yield tracker


@pytest.fixture
def pair(url: str, tmp_path: Path) -> Iterator[Tracker]:
    """Two processes over a fresh database, for a test that ends them."""
    with running_tracker(url, tmp_path, "--open", "--processes", "2") as tracker:
        wait_for(tracker, 2)
        yield tracker


def test_by_itself_it_takes_the_cores_on_postgresql_and_one_process_on_sqlite() -> None:
    assert 1 <= how_many(None, load_settings(POSTGRESQL)) <= MOST_BY_ITSELF
    assert how_many(0, load_settings(POSTGRESQL | {"FHIR_TRACKER_PROCESSES": "3"})) <= MOST_BY_ITSELF
    assert how_many(None, load_settings(SQLITE)) == how_many(1, load_settings(SQLITE)) == 1


def test_the_option_goes_before_the_setting() -> None:
    settings = load_settings(POSTGRESQL | {"FHIR_TRACKER_PROCESSES": "3"})
    assert (how_many(None, settings), how_many(7, settings)) == (3, 7)


@pytest.mark.parametrize("asked", [None, 2])
def test_sqlite_is_not_for_several_processes(asked: int | None) -> None:
    settings = load_settings(SQLITE | {"FHIR_TRACKER_PROCESSES": "2"})
    with pytest.raises(UsageError, match="2 processes cannot share SQLite"):
        how_many(asked, settings)


@pytest.mark.parametrize("text", ["0", "65", "-1", "two", "1.5", ""])
def test_a_number_of_processes_that_is_none_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "fhir-tracker"
    command = [str(program), "serve", "--port", "0", "--database", f"sqlite:///{tmp_path}/t.db", "--processes", text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "use auto, or a number from 1 to 64" in done.stderr


def test_each_process_answers_and_tells_the_numbers_of_all(two: Tracker) -> None:
    for number, pid in enumerate(serving(two) * 3):
        assert ask(two, pid, "PUT", f"/fhir/Basic/b{number}", {**BASIC, "id": f"b{number}"}).status == 201
    for pid in serving(two):
        assert numbers(two, pid, "http_requests_total")["PUT", "/fhir/{type}/{id}", "201"] == 6
        assert numbers(two, pid, "http_request_seconds_count")["PUT", "/fhir/{type}/{id}"] == 6
        assert all(one >= 3 for one in numbers(two, pid, "process_requests_total").values())
        checks = ask(two, pid, "GET", "/readyz").body["checks"]
        assert {name: one["status"] for name, one in checks.items() if name != "worker"} == {
            "database": "ok",
            "schema": "ok",
        }


def test_connections_that_come_at_once_are_shared_evenly(two: Tracker) -> None:
    fewest: list[float] = []
    while len([one for one in fewest if one >= 3]) < 5:
        assert len(fewest) < 60, fewest
        with ExitStack() as undo:
            for _ in range(8):
                undo.enter_context(socket.create_connection(("127.0.0.1", two.port), timeout=60))
            fewest.append(min(held_once(two, 9)))
        held_once(two, 1)


def held_once(tracker: Tracker, count: int) -> list[float]:
    """How many connections each process holds, as soon as it is so many in all, the one that asks among them."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sum(held := [*numbers(tracker, serving(tracker)[0], "process_connections").values()]) != count:
        assert time.monotonic() < deadline, held
        time.sleep(0.02)
    return held


def test_short_connections_reach_both(two: Tracker) -> None:
    def come_and_go(_: int) -> None:
        for _ in range(20):
            with closing(http.client.HTTPConnection("127.0.0.1", two.port, timeout=60)) as connection:
                connection.request("GET", "/livez")
                assert connection.getresponse().status == 200

    before = numbers(two, serving(two)[0], "process_requests_total")
    for _ in range(20):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(come_and_go, range(8)))
        after = numbers(two, serving(two)[0], "process_requests_total")
        if all(after[process] - before[process] >= 16 for process in after):
            return
    raise AssertionError((before, after))


def test_a_process_that_hangs_does_not_keep_others_out(two: Tracker) -> None:
    first, second = serving(two)
    with ExitStack() as undo:
        for _ in range(3):
            undo.callback(connect(two, second).close)
        os.kill(first, signal.SIGSTOP)
        undo.callback(os.kill, first, signal.SIGCONT)
        for _ in range(20):
            assert httpx.get(f"{two.url}/livez", trust_env=False, timeout=60).status_code == 200


def test_processes_that_have_no_file_left_take_connections_again_later(two: Tracker) -> None:
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in serving(two)}
    with ExitStack() as undo:
        for pid, limits in before.items():
            undo.callback(resource.prlimit, pid, resource.RLIMIT_NOFILE, limits)
            held = max(int(one) for one in os.listdir(f"/proc/{pid}/fd"))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (held + 3, limits[1]))
        for _ in range(60):
            undo.enter_context(socket.create_connection(("127.0.0.1", two.port), timeout=60))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "no connection can be taken" not in two.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert [ask(two, pid, "GET", "/livez").status for pid in serving(two)] == [200, 200]


def test_a_server_whose_first_process_is_gone_ends_where_the_system_does_not_see_to_it() -> None:
    program = """
import os, socket, threading, uvicorn
from api.door import Server
from api.tally import Tally

async def app(scope, receive, send):
    pass

leash, end = os.pipe()
threading.Timer(0.3, os.close, [end]).start()
config = uvicorn.Config(app, loop="uvloop", lifespan="off", log_config=None)
Server(config, Tally(), leash, 60.0).run(sockets=[socket.create_server(("127.0.0.1", 0))])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_under_way_in_each_process_are_finished_before_it_ends(pair: Tracker, number: signal.Signals) -> None:
    body = b'{"resourceType":"Basic","id":"slow","code":{"text":"x"}}'
    head = "PUT /fhir/Basic/slow HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/fhir+json\r\n"
    head += f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    with ExitStack() as undo:
        connections = []
        for pid in serving(pair):
            connection = connect(pair, pid)
            undo.callback(connection.close)
            connection.sock.sendall(head.encode() + body[:10])
            assert connection.sock.recv(65536).startswith(b"HTTP/1.1 100 ")
            connections.append(connection.sock)
        pair.process.send(number)
        wait_until_closed(pair.port)
        for one in connections:
            one.sendall(body[10:])
            assert one.recv(65536).split(b"\r\n")[0].split()[1] in (b"200", b"201")
    assert pair.process.wait(30) == 0
    assert "Traceback" not in pair.log.read_text()


def test_a_key_press_that_reaches_every_process_ends_all(pair: Tracker) -> None:
    os.killpg(pair.process.pid, signal.SIGINT)
    assert pair.process.wait(30) == 0
    assert "Traceback" not in pair.log.read_text()


def test_the_first_killed_takes_all_with_it_and_frees_the_port(pair: Tracker, tmp_path: Path) -> None:
    others = serving(pair)
    made = ask(pair, others[1], "POST", "/fhir/Basic", BASIC)
    os.kill(pair.process.pid, signal.SIGKILL)
    pair.process.wait(10)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(is_gone(pid) for pid in others):
        assert time.monotonic() < deadline, others
        time.sleep(0.02)
    folder = tmp_path / "again"
    folder.mkdir()
    with running_tracker(pair.database, folder, "--open", "--port", str(pair.port)) as again:
        assert again.port == pair.port
        assert httpx.get(f"{again.fhir}/Basic/{made.body['id']}", timeout=60, trust_env=False).status_code == 200


@pytest.mark.parametrize("place", [0, 1])
def test_a_killed_process_is_replaced_and_no_acknowledged_write_is_lost(pair: Tracker, place: int) -> None:
    answered: list[str] = []
    stop = threading.Event()

    def keep_writing() -> None:
        while not stop.is_set():
            with httpx.Client(base_url=pair.fhir, timeout=60, trust_env=False) as client:
                try:
                    while not stop.is_set():
                        answer = client.post("Basic", json=BASIC, headers=JSON)
                        assert answer.status_code == 201, answer.text
                        answered.append(answer.json()["id"])
                except httpx.TransportError:
                    continue

    writers = [threading.Thread(target=keep_writing) for _ in range(6)]
    for one in writers:
        one.start()
    try:
        killed = serving(pair)[place]
        for count in (20, 40):
            deadline = time.monotonic() + PATIENCE_SECONDS
            while len(answered) < count:
                assert time.monotonic() < deadline, pair.process.tail()
                time.sleep(0.01)
            os.kill(killed, signal.SIGKILL)
            killed = wait_for(pair, 2, without=killed)[-1]
    finally:
        stop.set()
        for one in writers:
            one.join(PATIENCE_SECONDS)
    assert not any(one.is_alive() for one in writers)
    assert [count for count in Counter(answered).values() if count > 1] == []
    with httpx.Client(base_url=pair.fhir, timeout=60, trust_env=False) as client:
        for id_ in answered:
            assert client.get(f"Basic/{id_}").status_code == 200
    told = re.findall("WARNING api.processes .*another takes its place.*", pair.log.read_text())
    assert len(told) == 2
    assert all(f"process={place} code=-9" in line for line in told)


def test_a_process_that_hangs_is_ended_and_replaced(url: str, tmp_path: Path) -> None:
    quick = {"FHIR_TRACKER_PROCESS_TIMEOUT": "10s"}
    with running_tracker(url, tmp_path, "--open", "--processes", "2", env=quick) as tracker:
        first, _ = wait_for(tracker, 2)
        with closing(connect(tracker, first)) as connection:
            os.kill(first, signal.SIGSTOP)
            replaced = wait_for(tracker, 2, without=first)
            assert connection.sock.recv(10) == b""
        for pid in replaced:
            assert ask(tracker, pid, "GET", "/fhir/metadata").status == 200
        assert '"a process of the server hangs and is ended" process=0' in tracker.log.read_text()


def test_the_numbers_go_on_where_a_killed_process_stood(pair: Tracker) -> None:
    first, second = serving(pair)
    for _ in range(3):
        ask(pair, first, "GET", "/fhir/Basic/none")
    os.kill(first, signal.SIGKILL)
    wait_for(pair, 2, without=first)
    for pid in serving(pair):
        ask(pair, pid, "GET", "/fhir/Basic/none")
    assert numbers(pair, second, "http_requests_total")["GET", "/fhir/{type}/{id}", "404"] == 5


def test_the_worker_runs_in_one_process_and_again_when_that_was_killed(url: str, tmp_path: Path) -> None:
    quick = {"FHIR_TRACKER_SWEEP_INTERVAL": "200ms"}
    with running_tracker(url, tmp_path, "--open", "--processes", "2", env=quick) as tracker:
        first, second = wait_for(tracker, 2)
        os.kill(first, signal.SIGKILL)
        wait_for(tracker, 2, without=first)
        assert second in serving(tracker)
        with closing(Database.open(url)) as database:
            before = heartbeat(database)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while heartbeat(database) == before:
                assert time.monotonic() < deadline
                time.sleep(0.1)


def heartbeat(database: Database) -> str | None:
    """When the worker last said that it lives."""
    with database.read() as tx:
        return states.get(tx, HEARTBEAT)


def test_a_tally_too_full_for_another_kind_of_request_counts_it_with_the_rest() -> None:
    tally = Tally(2)
    other = tally.at(1)
    for number in range(3000):
        other.note("GET", f"/r{number}", 200, 0.002)
    rows = list(tally.rows())
    assert len(rows) < 2048
    assert sum(sum(row.buckets) for row in rows) == tally.answered(1) == 3000
    assert rows[-1].route == "other"
    assert tally.answered(0) == 0
