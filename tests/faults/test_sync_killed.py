"""`fhir-tracker sync` killed with -9 before, in and after the writing of a page: started again, nothing is lost or doubled."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from fhir_tracker import clock, connections
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import cursors, quarantine, resources
from fhir_tracker.storage.database import Database
from tests.peers.process import Process
from tests.subscriptions.fake_ehr import BASE, FakeEhr
from tests.support.leases import run_out

VIEWER = worker_viewer("test")
PATIENTS = 400


class SlowEhr:
    """The EHR in memory behind a real port; it tells when page `watched` is asked for and after `watched` was sent."""

    def __init__(self) -> None:
        self.ehr = FakeEhr(page_size=100)
        self.watched = 0
        self.pages = 0
        self.sent = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self.server.server_address[1]}/fhir"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        answer = self.ehr.answer(httpx.Request("GET", f"https://ehr.example{handler.path}"))
        body = answer.text.replace(BASE, self.base_url).encode()
        handler.send_response_only(answer.status_code)
        for name in ("content-type", "date"):
            handler.send_header(name, answer.headers[name])
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        if "Patient?" in handler.path or "_getpages" in handler.path:
            self.pages += 1
            if self.pages == self.watched:
                self.sent.set()

    def watch(self, pages_more: int) -> None:
        self.sent.clear()
        self.watched = self.pages + pages_more


@contextmanager
def serving() -> Iterator[SlowEhr]:
    slow = SlowEhr()
    thread = threading.Thread(target=slow.server.serve_forever)
    thread.start()
    try:
        yield slow
    finally:
        slow.server.shutdown()
        thread.join()
        slow.server.server_close()


def started(ready_url: str, folder: Path) -> Process:
    command: list[str | Path] = [Path(sys.executable).parent / "fhir-tracker", "sync", "clinic", "--once"]
    return Process([*command, "--database", ready_url], log=folder / "sync.log")


@pytest.mark.fault("F1", "F2")
def test_a_killed_sync_loses_nothing_and_doubles_nothing(database: Database, ready_url: str, tmp_path: Path) -> None:
    with serving() as slow:
        for number in range(PATIENTS):
            slow.ehr.put("Patient", f"p{number:04}", active=True)
        with database.begin() as tx:
            connections.add(tx, "clinic", slow.base_url, now=clock.now(), types=("Patient",))
        for pages, wait in ((1, 0.0), (2, 0.08), (1, 0.2)):
            slow.watch(pages)
            process = started(ready_url, tmp_path)
            assert slow.sent.wait(120), process.tail()
            time.sleep(wait)
            process.kill()
            run_out(database)
            check_that_cursor_and_rows_agree(database)
        done = started(ready_url, tmp_path)
        assert done.wait(60) == 0, done.tail()
    with database.read() as tx:
        assert set(resources.ids_of(tx, "clinic", "Patient")) == {f"p{number:04}" for number in range(PATIENTS)}
        stored = resources.scan(tx, VIEWER, ["Patient"], limit=1000)
        assert [one.version for one in stored] == [1] * PATIENTS
        assert quarantine.open_count(tx) == 0


def check_that_cursor_and_rows_agree(database: Database) -> None:
    """Rows are there in whole pages, and exactly as many as the cursor says have been passed."""
    with database.read() as tx:
        held = len(resources.ids_of(tx, "clinic", "Patient"))
        cursor = cursors.find(tx, "clinic", "Patient")
    pages = int(cursor.detail["pages"]) if cursor else 0
    assert held == min(pages * 100, PATIENTS)
