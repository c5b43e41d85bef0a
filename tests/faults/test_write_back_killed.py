"""F3: the writer killed with -9 between its POST and its own note of it: started again, there is no second Task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from fhir_tracker import clock, connections, failpoints, writes
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import outbox, resources
from fhir_tracker.storage.database import Database
from tests.faults.checker import check_always
from tests.peers.process import Process
from tests.subscriptions.fake_ehr import BASE, by_get
from tests.subscriptions.writing_ehr import WritingEhr
from tests.support.leases import run_out

VIEWER = open_viewer()
PATIENCE = 90


class HeldEhr:
    """The EHR in memory behind a real port; while `holds`, a create is done (or not, `does` False) and never answered."""

    def __init__(self) -> None:
        self.ehr = WritingEhr()
        self.holds = True
        self.does = True
        self.met = threading.Event()
        self.over = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.answer(self)

            def do_POST(self) -> None:
                owner.answer(self)

            def do_PUT(self) -> None:
                owner.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self.server.server_address[1]}/fhir"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        held = self.holds and handler.command == "POST" and not handler.path.endswith("/_search")
        if held and not self.does:
            self._hold()
            return
        told = {name: value for name, value in handler.headers.items() if name.lower() != "host"}
        asked = httpx.Request(handler.command, f"https://ehr.example{handler.path}", headers=told, content=body)
        answer = self.ehr.answer(by_get(asked))
        if held:
            self._hold()
            return
        text = answer.text.replace(BASE, self.base_url).encode()
        handler.send_response_only(answer.status_code)
        for name in ("content-type", "date", "etag", "location"):
            if name in answer.headers:
                handler.send_header(name, answer.headers[name])
        handler.send_header("content-length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def _hold(self) -> None:
        self.met.set()
        self.over.wait(PATIENCE)


@contextmanager
def serving() -> Iterator[HeldEhr]:
    made = HeldEhr()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        made.server.shutdown()
        thread.join()
        made.server.server_close()


def started(ready_url: str, folder: Path) -> Process:
    command: list[str | Path] = [Path(sys.executable).parent / "fhir-tracker", "outbox", "retry"]
    return Process([*command, "--database", ready_url], log=folder / "outbox.log")


@pytest.mark.fault("F3")
@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
def test_a_writer_killed_in_mid_create_makes_no_second_task(
    database: Database, ready_url: str, tmp_path: Path, done: bool
) -> None:
    with serving() as held:
        held.does = done
        now = clock.now()
        task = {"resourceType": "Task", "status": "requested", "intent": "order"}
        with database.begin() as tx:
            connections.add(tx, "clinic", held.base_url, now=now, options={"write_back": ["Task"]})
            author = Author(viewer=VIEWER, origin="api", at=now)
            made = writes.create(tx, task | {"for": {"reference": "Patient/clinic-p1"}}, author)
        process = started(ready_url, tmp_path)
        assert held.met.wait(PATIENCE), process.tail()
        process.kill()
        assert run_out(database) >= 1
        assert held.ehr.created == (1 if done else 0)
        held.holds = False
        finish(database, ready_url, tmp_path)
        (there,) = held.ehr.of("Task")
        assert [one["value"] for one in there["identifier"]] == [made.id]
        assert held.ehr.created == 1
        truth = {f"{type_}/{id_}": {"text": text} for (type_, id_), text in held.ehr.texts.items()}
        check_always(database, truth, now=clock.now(), logs=[tmp_path / "outbox.log"])


WRITER = """
import sys
from fhir_tracker import clock, writes
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage.database import Database

task = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": "Patient/clinic-p1"}}
database = Database.open(sys.argv[1])
with database.begin() as tx:
    writes.create(tx, task, Author(viewer=open_viewer(), origin="api", at=clock.now()))
database.close()
"""


@pytest.mark.fault("F1")
@pytest.mark.parametrize("place", ["change-before-outbox", "change-after-outbox", ""])
def test_a_change_and_what_is_to_be_written_of_it_are_both_there_or_neither(
    database: Database, ready_url: str, place: str
) -> None:
    with database.begin() as tx:
        options = {"write_back": ["Task"]}
        connections.add(tx, "clinic", "http://127.0.0.1:9/fhir", now=clock.now(), options=options)
    environ = {**os.environ, failpoints.VARIABLE: place}
    done = subprocess.run([sys.executable, "-c", WRITER, ready_url], env=environ, timeout=PATIENCE, check=False)
    assert done.returncode == (-signal.SIGKILL if place else 0)
    with database.read() as tx:
        rows = [one.ref for one in outbox.listed(tx, VIEWER)]
        tasks = [one.ref for one in resources.scan(tx, VIEWER, ["Task"])]
    assert rows == tasks
    assert len(rows) == (0 if place else 1)


def finish(database: Database, ready_url: str, folder: Path) -> None:
    """Start the writer until the row is done.

    What is not found there has to be so for 150 seconds: they are put behind it.
    """
    ends = time.monotonic() + PATIENCE
    while True:
        process = started(ready_url, folder)
        code = process.wait(PATIENCE)
        with database.read() as tx:
            (row,) = outbox.listed(tx, VIEWER, states=outbox.STATES)
        if row.state == "done":
            assert (code, row.sent_at) == (0, None)
            return
        assert time.monotonic() < ends, f"{row.state}: {row.reason} {process.tail()}"
        with database.begin() as tx:
            if row.sent_at is not None:
                outbox.note(tx, row, sent_at=row.sent_at - timedelta(seconds=150))
        time.sleep(0.5)
