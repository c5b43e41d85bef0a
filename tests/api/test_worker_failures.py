"""The worker beside an EHR that is away or answers nonsense: the rules go on, and no loop ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from api.worker import Worker, run_once, run_rules
from fhir_tracker import clock, connections
from fhir_tracker.config import Settings
from fhir_tracker.errors import Unavailable
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, Clinic, encounter

DAY = timedelta(days=1)
LATE = MONDAY + 2 * DAY
ANSWERS = {
    "an error": (500, b'{"resourceType":"OperationOutcome","issue":[]}'),
    "no JSON": (200, b"<html>Down for maintenance</html>"),
    "no FHIR": (200, b'{"hello": [1, 2'),
    "a refusal": (403, b"{}"),
    "nothing": (200, b""),
}


@contextmanager
def broken_ehr(status: int, body: bytes) -> Iterator[str]:
    """A server on loopback that answers every request alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is that of the library
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/fhir"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def discharged(clinic: Clinic) -> None:
    clinic.patient("ann")
    clinic.put(encounter("ann", MONDAY, id_="stay-ann"), MONDAY)


def follow(database: Database, address: str) -> None:
    with database.begin() as tx:
        connections.add(tx, "north", address, now=MONDAY - DAY)


@pytest.mark.parametrize("kind", sorted(ANSWERS))
def test_an_ehr_that_answers_nonsense_keeps_no_work_from_escalating(
    database: Database, settings: Settings, kind: str
) -> None:
    clinic = Clinic(database)
    discharged(clinic)
    with broken_ehr(*ANSWERS[kind]) as address:
        follow(database, address)
        report = run_once(database, settings, lambda: LATE)
    assert (report.enrolled, report.swept.escalated) == (1, 1)
    assert len(clinic.escalations("ann")) == 1


def test_an_ehr_that_is_away_keeps_no_work_from_escalating(database: Database, settings: Settings) -> None:
    clinic = Clinic(database)
    discharged(clinic)
    follow(database, "http://127.0.0.1:9/fhir")
    for _ in range(2):
        run_once(database, settings, lambda: LATE)
    assert len(clinic.escalations("ann")) == 1


def test_the_loops_outlive_an_ehr_that_is_away(database: Database, settings: Settings) -> None:
    now = clock.now()
    clinic = Clinic(database, at=now)
    follow(database, "http://127.0.0.1:9/fhir")
    worker = Worker(database, settings).start()
    try:
        clinic.patient("ann", now)
        clinic.put(encounter("ann", now - 2 * DAY, id_="stay-ann"), now)
        until = time.monotonic() + 120
        while not clinic.escalations("ann"):
            assert time.monotonic() < until, "the rules did not run"
            time.sleep(0.1)
    finally:
        worker.stop()


def test_a_database_that_is_gone_is_told_and_not_hidden(settings: Settings) -> None:
    with pytest.raises(Unavailable):
        Database.open("postgresql://127.0.0.1:1/none")


def test_a_round_after_a_failed_one_does_what_was_left(database: Database, settings: Settings) -> None:
    clinic = Clinic(database)
    discharged(clinic)
    assert run_rules(database, settings, MONDAY).enrolled == 1
    assert run_rules(database, settings, LATE).swept.escalated == 1
    assert run_rules(database, settings, LATE).swept.applied == 0
