"""What somebody with a good token may send: everything large is done within its bound of processor time, or refused in words."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access
from fhir_tracker.config import load_settings
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.support.contexts import context_of
from tests.support.systems import let_in_with

MOST_SECONDS = 20.0
"""Of this process' processor time for one request; each takes a few at most, and what grows faster than it is long takes minutes."""
FHIR = {"Content-Type": "application/fhir+json"}
PATCH = {"Content-Type": "application/json-patch+json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
EXTENSION = {"url": "u:e", "valueBoolean": True}
Asked = tuple[str, str, bytes, dict[str, str]]


def _resource(type_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": type_, "id": "large", **more}


def _put(resource: dict[str, Any], headers: dict[str, str] = FHIR) -> Asked:
    return "PUT", f"/fhir/{resource['resourceType']}/{resource['id']}", json.dumps(resource).encode(), headers


def _bundle(kind: str, entries: Sequence[Any]) -> Asked:
    return "POST", "/fhir", json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}).encode(), FHIR


def _entry(method: str, url: str, resource: Any = None, **more: Any) -> dict[str, Any]:
    made = {"request": {"method": method, "url": url}, **more}
    return made if resource is None else made | {"resource": resource}


def _items(depth: int, width: int) -> list[dict[str, Any]]:
    """Items of a form within items."""
    found: list[dict[str, Any]] = [{"linkId": f"last{number}"} for number in range(width)]
    for level in range(depth):
        found = [{"linkId": f"level{level}", "item": found}]
    return found


def _urn(number: int) -> str:
    return f"urn:uuid:00000000-0000-4000-8000-{number:012d}"


def _chain(count: int) -> list[dict[str, Any]]:
    """Entries each of which is a part of the one before, and the first of the last."""
    return [
        _entry(
            "POST",
            "Task",
            {**UNNAMED, "partOf": [{"reference": _urn((one - 1) % count)}]},
            fullUrl=_urn(one),
        )
        for one in range(count)
    ]  # fmt: skip


TASK = _resource("Task", status="requested", intent="order")
UNNAMED = {name: value for name, value in TASK.items() if name != "id"}
DEEP = 100_000
PACKED = FHIR | {"Content-Encoding": "gzip"}


def _told(inner: str) -> Asked:
    """A Task with this narrative."""
    return _put(
        {**TASK, "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>'}}
    )


LARGE: dict[str, Callable[[], Asked]] = {
    "a hundred thousand extensions": lambda: _put({**TASK, "extension": [EXTENSION] * 100_000}),
    "extensions in an allowed depth, and wide": lambda: _put(
        {**TASK, "extension": [{"url": "u:w", "extension": [EXTENSION] * 9_000} for _ in range(8)]}
    ),
    "deep objects": lambda: ("PUT", "/fhir/Task/large", b'{"a":' * DEEP + b"1" + b"}" * DEEP, FHIR),
    "deep arrays": lambda: ("PUT", "/fhir/Task/large", b"[" * DEEP + b"]" * DEEP, FHIR),
    "deep items of a form": lambda: _put(_resource("QuestionnaireResponse", status="completed", item=_items(400, 1))),
    "many items of a form": lambda: _put(_resource("QuestionnaireResponse", status="completed", item=_items(5, 40_000))),
    "twenty thousand identifiers": lambda: _put(
        {**TASK, "identifier": [{"system": "https://x.example/i", "value": f"{n}"} for n in range(20_000)]}
    ),
    "twenty thousand labels": lambda: _put(
        {**TASK, "meta": {"tag": [{"system": "https://x.example/t", "code": f"t{n}"} for n in range(20_000)]}}
    ),
    "twenty thousand codings": lambda: _put(
        {**TASK, "code": {"coding": [{"system": "https://x.example/c", "code": f"c{n}"} for n in range(20_000)]}}
    ),
    "ten thousand contained": lambda: _put(
        {**TASK, "contained": [{"resourceType": "Basic", "id": f"c{n}", "code": {"text": "x"}} for n in range(10_000)]}
    ),
    "ten thousand notes": lambda: _put({**TASK, "note": [{"text": "x" * 300}] * 10_000}),
    "ten thousand inputs": lambda: _put({**TASK, "input": [{"type": {"text": "x"}, "valueString": "y"}] * 10_000}),
    "ten thousand references": lambda: _put(
        {**TASK, "basedOn": [{"reference": f"ServiceRequest/s{n}"} for n in range(10_000)]}
    ),
    "a narrative of four megabytes": lambda: _told("<b>x</b>" * 500_000),
    "a narrative of a megabyte": lambda: _told("<b>x</b>" * 130_000),
    "a deep narrative": lambda: _told("<b>" * 9_000 + "x" + "</b>" * 9_000),
    "a bomb of spaces": lambda: ("PUT", "/fhir/Task/large", gzip.compress(b" " * 200_000_000), PACKED),
    "a bomb of a resource": lambda: ("PUT", "/fhir/Task/large", gzip.compress(b'{"id":"' + b"a" * 200_000_000), PACKED),
    "ten thousand entries": lambda: _bundle("batch", [_entry("GET", "Task?_count=1")] * 10_000),
    "ten thousand entries at once": lambda: _bundle("transaction", [_entry("GET", "Task?_count=1")] * 10_000),
    "a thousand entries that lean on each other": lambda: _bundle("transaction", _chain(1_000)),
    "a thousand searches for what to make": lambda: _bundle(
        "batch", [_entry("PUT", f"Task?identifier=https://x.example/once|{n}", UNNAMED) for n in range(1_000)]
    ),
    "ten thousand changes": lambda: (
        "PATCH", "/fhir/Task/kept", json.dumps([{"op": "add", "path": "/note/-", "value": {"text": "x"}}] * 10_000).encode(), PATCH,
    ),
    "changes that copy twice as much each time": lambda: (
        "PATCH", "/fhir/Task/kept",
        json.dumps([{"op": "add", "path": "/note/0/extension", "value": [EXTENSION]}]
                   + [{"op": "copy", "from": "/note", "path": "/note/0/extension/0/x"}] * 40).encode(), PATCH,
    ),
    "two hundred alternatives": lambda: ("GET", "/fhir/Task?_id=" + ",".join(f"t{n}" for n in range(200)), b"", {}),
    "twenty thousand alternatives in a form": lambda: (
        "POST", "/fhir/Task/_search", ("_id=" + ",".join(f"t{n}" for n in range(20_000))).encode(), FORM,
    ),
    "ten thousand parameters in a form": lambda: ("POST", "/fhir/Task/_search", b"&".join([b"status=requested"] * 10_000), FORM),
    "a chain of chains": lambda: ("GET", "/fhir/Task?" + "part-of:Task." * 150 + "status=requested", b"", {}),
    "has within has": lambda: ("GET", "/fhir/Patient?" + "_has:Task:patient:" * 100 + "status=requested", b"", {}),
    "includes of everything again and again": lambda: (
        "GET", "/fhir/Task?_include=*&_include:iterate=*&_revinclude=*&_revinclude:iterate=Task:part-of&_count=1000", b"", {},
    ),
    "a history of all, counted": lambda: ("GET", "/fhir/_history?_count=0", b"", {}),
    "a history of all, page of the greatest": lambda: ("GET", "/fhir/_history?_count=99999999", b"", {}),
    "everything counted": lambda: ("GET", "/fhir?_summary=count&_lastUpdated=gt1900", b"", {}),
    "a heap of validation": lambda: (
        "POST", "/fhir/Task/$validate", json.dumps({**TASK, "extension": [{"url": " ", "valueCode": " "}] * 40_000}).encode(), FHIR,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def client(empty_url: str) -> Iterator[TestClient]:
    """A system that may do everything, at a secured server with its usual limits but that of requests."""
    with closing(Database.open(empty_url)) as database:
        prepare(database)
        settings = load_settings({"HOME": "/nowhere", "FHIR_TRACKER_RATE_LIMIT": "off"})
        app = create_app(replace(context_of(database, access=Access.LOCKED), settings=settings))
        with closing(TestClient(app, base_url="http://testserver", raise_server_exceptions=False)) as made:
            system = let_in_with(made, database, "system/*.cruds")
            for name in ("kept", "other"):
                resource = {**TASK, "id": name, "note": [{"text": "x"}]}
                answer = system.put(f"/fhir/Task/{name}", content=json.dumps(resource), headers=FHIR)
                assert answer.status_code == 201, answer.text
            yield system


@pytest.mark.security("S34", "S38", "S39", "S56")
@pytest.mark.parametrize("name", LARGE)
def test_what_is_large_is_done_soon_or_refused_in_words(client: TestClient, name: str) -> None:
    method, path, body, headers = LARGE[name]()
    began = time.process_time()
    answer = client.request(method, path, content=body, headers=headers)
    took = time.process_time() - began
    assert took < MOST_SECONDS
    assert answer.status_code < 500, answer.text[:500]
    assert answer.status_code not in (401, 403, 404, 405), "the door that is tried is open to this caller"
    if answer.status_code >= 400:
        told = answer.json()
        assert told["resourceType"] == "OperationOutcome"
        assert len(answer.content) < 200_000
        assert told["issue"][0]["diagnostics"]
    assert client.get("/fhir/Task/kept").status_code == 200, "and the next is answered"
