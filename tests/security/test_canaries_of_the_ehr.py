"""What an EHR says wrongly, with patient data in it, does not get into logs, output, reasons or job rows."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.server import SECRET

NAME, MRN, BORN = "Kanarienvogel", "MRN-730915", "1931-07-13"
CANARIES = (NAME, MRN, BORN)
STORE = ("resource", "resource_version", "remote_body", "ixs", "patient_summary")
KEPT = {"quarantine": {"body"}} | {table: {"*"} for table in STORE}
"""Where an EHR's own words may be: the store, its index and summaries, and the body of what waits in quarantine."""
META = {"versionId": "1", "lastUpdated": "2026-01-05T10:00:00Z"}
PATIENT = {"resourceType": "Patient", "meta": META, "name": [{"family": NAME}], "identifier": [{"value": MRN}]}
WRONG: list[dict[str, Any]] = [
    PATIENT | {"id": "good", "birthDate": BORN},
    PATIENT | {"id": f"{NAME} {MRN}"},
    PATIENT | {"id": "typed", "name": NAME, "birthDate": {"x": BORN}},
    PATIENT | {"id": "deep", "extension": [{"url": NAME, "valueString": [[[[NAME]]]]}]},
    PATIENT | {"id": "kind", "resourceType": NAME},
    PATIENT | {"id": "stamp", "meta": {"lastUpdated": NAME}},
]
OUTCOME = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "x", "diagnostics": f"{NAME} {MRN}"}],
}


class Handler(BaseHTTPRequestHandler):
    """An EHR with one page of bad patients, an OperationOutcome for Encounter and an HTML page for Task."""

    def do_GET(self) -> None:
        type_ = self.path.removeprefix("/fhir/").partition("?")[0].partition("/")[0]
        entries = [{"resource": one} for one in WRONG] if type_ == "Patient" and "_history" not in self.path else []
        bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
        status, body = 200, json.dumps(bundle)
        if type_ == "metadata":
            body = json.dumps(
                {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [{"mode": "server"}]}
            )
        elif type_ == "Encounter":
            status, body = 422, json.dumps(OUTCOME)
        elif type_ == "Task":
            body = f"<html>{NAME} {MRN} {BORN}</html>"
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if type_ == "Task" else "application/fhir+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        pass


@pytest.fixture
def ehr() -> Iterator[str]:
    """The address of the EHR."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/fhir"
    server.shutdown()
    thread.join()
    server.server_close()


def run(folder: Path, *arguments: str) -> str:
    program = Path(sys.executable).parent / "fhir-tracker"
    env = {"FHIR_TRACKER_SECRET_KEY": SECRET, "FHIR_TRACKER_LOG_LEVEL": "DEBUG", "HOME": str(folder)}
    done = subprocess.run(
        [str(program), *arguments, "--database", f"sqlite:///{folder / 'tracker.db'}"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=env | {"PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.mark.security("L1", "S53", "S58")
def test_what_an_ehr_sends_stays_in_the_store(ehr: str, tmp_path: Path) -> None:
    said = run(tmp_path, "connection", "add", "clinic", "--base-url", ehr, "--types", "Patient,Encounter,Task")
    said += run(tmp_path, "sync", "clinic", "--once") + run(tmp_path, "sync", "clinic", "--once", "--json")
    said += run(tmp_path, "quarantine", "list") + run(tmp_path, "connection", "show", "clinic")
    said += run(tmp_path, "worker", "--once") + run(tmp_path, "doctor")
    for canary in CANARIES:
        assert canary not in said, [line for line in said.splitlines() if canary in line][:3]
    rows = sqlite3.connect(f"file:{tmp_path / 'tracker.db'}?mode=ro", uri=True)
    try:
        assert rows.execute("SELECT count(*) FROM resource WHERE type = 'Patient'").fetchone()[0] >= 1
        assert rows.execute("SELECT count(*) FROM quarantine").fetchone()[0] >= 2
        assert found_in(rows) == []
    finally:
        rows.close()


def found_in(rows: sqlite3.Connection) -> list[str]:
    """The table.column of every canary outside of where the EHR's words may be."""
    rows.row_factory = sqlite3.Row
    found: set[str] = set()
    for (table,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        kept = KEPT.get(table, set())
        for row in rows.execute(f"SELECT * FROM {table}") if kept != {"*"} else ():
            for column in set(row.keys()) - kept:
                if any(canary in str(row[column]) for canary in CANARIES):
                    found.add(f"{table}.{column}")
    return sorted(found)
