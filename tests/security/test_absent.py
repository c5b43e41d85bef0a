"""What the product does not do yet has no half-open door: no outgoing subscriptions, no bulk export, no second parser."""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from scripts.budgets import PACKAGES, ROOT, sources
from tests.conformance.talk import JSON

PARSERS = (
    "xml",
    "lxml",
    "defusedxml",
    "html",
    "bs4",
    "zipfile",
    "tarfile",
    "shutil",
    "pickle",
    "marshal",
    "shelve",
    "dill",
)
ALLOWED = {
    ("xml", "fhir_tracker/fhir/xhtml.py"),  # the one parser of XML: narratives
    ("shutil", "*"),  # its disk_usage and which; unpack_archive is looked for below
    ("html", "*"),  # its escape; it parses nothing by that name
}
DANGEROUS = {"eval", "exec", "compile", "unpack_archive", "extractall", "system", "popen", "loads_pickle"}
DANGEROUS_ALLOWED = {"compile"}


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A web server on this machine, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def do_PUT(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.security("S46", "S27", "S28", "S29")
def test_a_stored_subscription_or_address_makes_us_call_nobody(
    one_client: httpx.Client, listener: tuple[str, list[str]]
) -> None:
    url, asked = listener
    subscription = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "x",
        "criteria": "Task?status=requested",
        "channel": {"type": "rest-hook", "endpoint": f"{url}/hook", "header": ["Authorization: stolen", "Host: evil"]},
    }
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [{"attachment": {"contentType": "text/html", "url": f"{url}/doc"}}],
    }
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "focus": {"reference": f"{url}/Task/1"}}
    task |= {"instantiatesCanonical": f"{url}/PlanDefinition/1"}
    for body in (subscription, document, task):
        answer = one_client.post(f"/{body['resourceType']}", content=json.dumps(body), headers=JSON)
        assert answer.status_code in (201, 400, 403, 405, 422), answer.text[:300]
        if answer.status_code == 201:
            for path in (f"/{body['resourceType']}/{answer.json()['id']}", f"/{body['resourceType']}?_include=*"):
                one_client.get(path)
            one_client.post(f"/{body['resourceType']}/$validate", content=json.dumps(body), headers=JSON)
    one_client.post("/Task", content=json.dumps(task | {"id": "again"}), headers=JSON)
    assert asked == []


@pytest.mark.security("S47", "M1")
@pytest.mark.parametrize(
    "path", ["/$export", "/Patient/$export", "/Group/1/$export", "/$export-poll-status", "/Patient/x/$everything"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_there_is_no_export_of_many_through_the_api(one_client: httpx.Client, method: str, path: str) -> None:
    answer = one_client.request(method, path, headers={"Prefer": "respond-async"})
    assert 400 <= answer.status_code < 500, (path, answer.status_code)
    assert "content-location" not in answer.headers
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.security("S35", "S36")
def test_one_module_alone_parses_xml_and_none_unpacks_archives_or_runs_text() -> None:
    """CVE-2024-45294 and after it: one helper was hardened, its sibling was not."""
    found: list[str] = []
    for path in sources(*PACKAGES):
        place = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in (one.partition(".")[0] for one in names):
                if name in PARSERS and not {(name, place), (name, "*")} & ALLOWED:
                    found.append(f"{place} imports {name}")
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in DANGEROUS - DANGEROUS_ALLOWED:
                    found.append(f"{place}:{node.lineno} calls {called}")
            if isinstance(node, ast.keyword) and node.arg == "shell" and getattr(node.value, "value", True):
                found.append(f"{place} runs a shell")
    assert found == []


@pytest.mark.security("S36", "S37")
def test_yaml_is_never_read_by_a_loader_that_makes_objects() -> None:
    for path in sources(*PACKAGES):
        text = path.read_text()
        for wrong in ("yaml.load(", "yaml.full_load", "yaml.unsafe_load", "UnsafeLoader", "FullLoader", "yaml.Loader"):
            assert wrong not in text, (path, wrong)
