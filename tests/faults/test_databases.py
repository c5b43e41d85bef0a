"""The database killed, frozen, full of sessions, in a deadlock or locked, while the tracker serves."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import psycopg
import pytest

from fhir_tracker import clock
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.conformance.server import Tracker, running_tracker
from tests.faults.checker import check_always, check_audited, check_logs
from tests.peers.postgres.server import Postgres, running_postgres

PATIENCE = 120.0
TASK = {"resourceType": "Basic", "code": {"text": "synthetic"}}


def wait_for(what: Callable[[], object], name: str) -> None:
    ends = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < ends, f"never: {name}"
        time.sleep(0.2)


class Load:
    """Creates one after the other in threads, and what came of each."""

    def __init__(self, tracker: Tracker, threads: int = 3) -> None:
        self.acknowledged: set[str] = set()
        self.refused: list[httpx.Response] = []
        self._stop = threading.Event()
        self._url = f"{tracker.fhir}/Basic"
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Load:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for one in self._threads:
            one.join(PATIENCE)

    def _run(self) -> None:
        with httpx.Client(
            timeout=PATIENCE, trust_env=False, headers={"content-type": "application/fhir+json"}
        ) as client:
            while not self._stop.is_set():
                answer = client.post(self._url, content=json.dumps(TASK))
                if answer.status_code == 201:
                    self.acknowledged.add(answer.headers["location"].split("/Basic/")[1].split("/")[0])
                else:
                    self.refused.append(answer)
                    time.sleep(0.1)

    def check_refusals(self) -> None:
        """Whoever was refused heard 503, that it will pass, and when to come back."""
        for answer in self.refused:
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"].isdigit()
            assert answer.json()["resourceType"] == "OperationOutcome"
            assert answer.json()["issue"][0]["code"] in ("transient", "throttled", "timeout", "lock-error")


def status(tracker: Tracker, path: str) -> int:
    return httpx.get(f"{tracker.url}{path}", timeout=PATIENCE, trust_env=False).status_code


def check_kept(tracker: Tracker, load: Load) -> None:
    """What was acknowledged is there once the load has ended, and every invariant that needs no EHR holds."""
    found = set()
    url: str | None = f"{tracker.fhir}/Basic?_count=1000"
    while url:
        bundle = httpx.get(url, timeout=PATIENCE, trust_env=False).json()
        found |= {one["resource"]["id"] for one in bundle.get("entry", [])}
        url = next((one["url"] for one in bundle["link"] if one["relation"] == "next"), None)
    assert load.acknowledged <= found
    check_logs([tracker.log])
    with closing(Database.open(tracker.database)) as database:
        check_always(database, {}, now=clock.now())
        check_audited(database)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """One cluster for the tests of this module, each of which may kill it and leaves it running; it has few sessions."""
    with running_postgres(settings={"max_connections": "60", "superuser_reserved_connections": "0"}) as server:
        yield server


@pytest.fixture(scope="module")
def own_template(own_postgres: Postgres) -> str:
    """A database there that is set up and empty, to be copied."""
    name = own_postgres.create()
    with closing(Database.open(own_postgres.url(name))) as opened:
        prepare(opened)
    return name


@pytest.fixture
def own_url(own_postgres: Postgres, own_template: str) -> str:
    """The address of a database of the test's own there."""
    return own_postgres.url(own_postgres.create(template=own_template))


@pytest.fixture
def served(own_url: str, tmp_path: Path) -> Iterator[Tracker]:
    with running_tracker(own_url, tmp_path, "--open") as tracker:
        yield tracker


@pytest.mark.fault("F7")
def test_postgresql_killed_under_load_loses_nothing_that_was_acknowledged(
    own_postgres: Postgres, served: Tracker
) -> None:
    with Load(served) as load:
        wait_for(lambda: len(load.acknowledged) > 20, "creates")
        own_postgres.kill()
        wait_for(lambda: len(load.refused) > 3, "refusals")
        assert (status(served, "/livez"), status(served, "/readyz")) == (200, 503)
        own_postgres.restart()
        before = len(load.acknowledged)
        wait_for(lambda: len(load.acknowledged) > before + 20, "creates again")
    load.check_refusals()
    check_kept(served, load)
    wait_for(lambda: status(served, "/readyz") == 200, "ready again")


@pytest.mark.fault("F8")
def test_postgresql_that_stands_still_is_waited_for_within_limits(own_postgres: Postgres, served: Tracker) -> None:
    def freeze(number: signal.Signals) -> None:
        for pid in _family(own_postgres.pid):
            _send(pid, number)

    with Load(served) as load:
        wait_for(lambda: len(load.acknowledged) > 20, "creates")
        freeze(signal.SIGSTOP)
        try:
            assert status(served, "/livez") == 200
            wait_for(lambda: status(served, "/readyz") == 503, "not ready")
            assert status(served, "/livez") == 200
            wait_for(lambda: load.refused, "a refusal")
        finally:
            freeze(signal.SIGCONT)
        before = len(load.acknowledged)
        wait_for(lambda: len(load.acknowledged) > before + 20, "creates again")
    load.check_refusals()
    check_kept(served, load)


@pytest.mark.fault("F9")
def test_postgresql_without_a_free_session_means_waiting_and_no_crash(own_url: str, tmp_path: Path) -> None:
    """Somebody else takes all sessions that are left."""
    with running_tracker(own_url, tmp_path, "--open", "--processes", "1") as tracker, ExitStack() as others:
        with Load(tracker, 6) as load:
            wait_for(lambda: len(load.acknowledged) > 10, "creates")
            assert _take_all(own_url, others)
            before = len(load.acknowledged) + len(load.refused)
            wait_for(lambda: len(load.acknowledged) + len(load.refused) > before + 20, "answers of some kind")
            assert status(tracker, "/livez") == 200
            others.close()
            before = len(load.acknowledged)
            wait_for(lambda: len(load.acknowledged) > before + 20, "creates again")
        load.check_refusals()
        check_kept(tracker, load)


def _take_all(url: str, others: ExitStack) -> bool:
    """Whether PostgreSQL has said that there are no more."""
    for _ in range(80):
        try:
            others.enter_context(closing(psycopg.connect(url)))
        except psycopg.OperationalError:
            return True
    return False


@pytest.mark.fault("F10")
def test_two_transactions_that_wait_for_each_other_end_in_one_success_and_no_500(
    own_postgres: Postgres, served: Tracker
) -> None:
    head = {"content-type": "application/fhir+json"}
    with httpx.Client(base_url=served.fhir, timeout=PATIENCE, trust_env=False, headers=head) as client:
        for id_ in ("a", "b"):
            client.put(f"/Basic/{id_}", content=json.dumps(TASK | {"id": id_})).raise_for_status()

    def bundle(*ids: str) -> str:
        entries = [{"resource": TASK | {"id": one}, "request": {"method": "PUT", "url": f"Basic/{one}"}} for one in ids]
        return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries})

    answers: list[httpx.Response] = []

    def send(*ids: str) -> None:
        with httpx.Client(timeout=PATIENCE, trust_env=False, headers=head) as client:
            for _ in range(25):
                answers.append(client.post(served.fhir, content=bundle(*ids)))

    threads = [threading.Thread(target=send, args=ids) for ids in (("a", "b"), ("b", "a"), ("a", "b"), ("b", "a"))]
    for one in threads:
        one.start()
    for one in threads:
        one.join(PATIENCE)
    assert len(answers) == 100
    assert {one.status_code for one in answers} <= {200, 409, 412, 503}, {one.text for one in answers}
    assert sum(one.status_code == 200 for one in answers) > 10


@pytest.mark.fault("F17")
def test_a_sqlite_file_that_another_process_locks_is_waited_for_and_then_503(tmp_path: Path) -> None:
    """sqlite"""
    path = tmp_path / "tracker.db"
    with running_tracker(f"sqlite:///{path}", tmp_path, "--open") as tracker:
        with Load(tracker) as load:
            wait_for(lambda: len(load.acknowledged) > 10, "creates")
            with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as other:
                other.execute("begin immediate")
                wait_for(lambda: load.refused, "a refusal")
                read = httpx.get(f"{tracker.fhir}/Basic?_count=1", timeout=PATIENCE, trust_env=False)
                assert read.status_code in (200, 503), "a reading writes an audit row, and waits for that"
                assert status(tracker, "/livez") == 200
                other.execute("rollback")
            before = len(load.acknowledged)
            wait_for(lambda: len(load.acknowledged) > before + 10, "creates again")
        load.check_refusals()
        check_kept(tracker, load)


def _family(pid: int) -> list[int]:
    return [pid, *(int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def _send(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)
