"""Another vendor is a module with its code table, fixtures, a test and a line in the registry: tried in a copy of the package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MODULE = '''"""Greenfield: a server of nobody's, that finds by time and calls its statuses by words of its own."""

from __future__ import annotations

from mappings.base import Hint, Mapping
from mappings.tables import shipped
from mappings.vendor import VendorMapping

mapping: Mapping = VendorMapping(
    name="greenfield",
    wanted=("Patient", "Task"),
    codes=shipped("greenfield"),
    strategy_hints={"Task": Hint(strategy="last_updated", why="Greenfield finds by time")},
    writes={"Task": "update"},
)
'''
TABLE = '[status.Task]\n"to do" = "requested"\nfinished = "completed"\n'
HELD: dict[str, list[dict[str, Any]]] = {
    "Patient": [{"resourceType": "Patient", "id": "p"}],
    "Task": [
        {"resourceType": "Task", "id": "1", "status": "to do", "intent": "order", "for": {"reference": "Patient/p"}},
        {"resourceType": "Task", "id": "2", "status": "odd", "intent": "order"},
    ],
}
STATEMENT = {
    "resourceType": "CapabilityStatement",
    "fhirVersion": "4.0.1",
    "rest": [{"mode": "server", "resource": [{"type": one, "interaction": [{"code": "search-type"}]} for one in HELD]}],
}


class Greenfield(BaseHTTPRequestHandler):
    """Answers metadata and searches, each whole."""

    def do_GET(self) -> None:
        type_ = self.path.partition("?")[0].rpartition("/")[2]
        found: dict[str, Any] = STATEMENT
        if type_ in HELD:
            link = [{"relation": "self", "url": f"http://{self.headers['Host']}{self.path}"}]
            entries = [{"resource": one} for one in HELD[type_]]
            found = {"resourceType": "Bundle", "type": "searchset", "link": link, "entry": entries}
        body = json.dumps(found).encode()
        self.send_response(200 if type_ in HELD or type_ == "metadata" else 404)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Greenfield) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/fhir"
        server.shutdown()
        thread.join()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of `mappings` with the files of the new vendor and its line in the registry."""
    copy = tmp_path / "mappings"
    shutil.copytree(ROOT / "mappings", copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "greenfield.py").write_text(MODULE, encoding="utf-8")
    (copy / "codes" / "greenfield.toml").write_text(TABLE, encoding="utf-8")
    registry = copy / "registry.py"
    text = registry.read_text(encoding="utf-8")
    assert text.count('    "hapi",\n') == 1
    registry.write_text(text.replace('    "hapi",\n', '    "greenfield",\n    "hapi",\n'), encoding="utf-8")
    return tmp_path


def test_another_vendor_is_followed_after_its_files_are_added(package: Path, prepared_file: Path, address: str) -> None:
    file = package / "tracker.db"
    shutil.copyfile(prepared_file, file)
    environ = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{ROOT}", "XDG_DATA_HOME": str(package)}

    def run(*words: str) -> Any:
        code = "import sys; from api.cli import main; sys.exit(main(sys.argv[1:]))"
        told = [sys.executable, "-c", code, *words, "--json", "--database", f"sqlite:///{file}"]
        done = subprocess.run(told, env=environ, cwd=package, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    run("connection", "add", "clinic", "--base-url", address, "--mapping", "greenfield")
    (report,) = run("sync", "clinic", "--once")["connections"]
    assert {one["type"]: (one["applied"], one["quarantined"]) for one in report["types"]} == {
        "Patient": (1, 0),
        "Task": (1, 1),
    }
    (waits,) = run("quarantine", "list")["quarantined"]
    assert waits["reason"] == "No code table knows the Task.status 'odd'."
    (way,) = [one for one in run("connection", "show", "clinic")["ways"] if one["type"] == "Task"]
    assert (way["strategy"], way["why"]) == ("last_updated", "Greenfield finds by time")
