"""Small sentences of the conversation with a FHIR server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from starlette.testclient import TestClient

BASE = "http://testserver/fhir"
JSON = {"Content-Type": "application/fhir+json"}


class Answer(Protocol):
    """What the test client answers with, whichever HTTP library it uses."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def content(self) -> bytes: ...

    def json(self) -> Any: ...


def post(client: TestClient, path: str, text: str | bytes, **headers: str) -> Answer:
    """Create; header names are given with underscores."""
    return client.post(f"/fhir/{path}", content=text, headers=_headers(headers))


def put(client: TestClient, path: str, text: str | bytes, **headers: str) -> Answer:
    """Update, or create under an id."""
    return client.put(f"/fhir/{path}", content=text, headers=_headers(headers))


def outcome(answer: Answer, status: int | None = None) -> dict[str, Any]:
    """The first issue of an OperationOutcome, after checking that it is one."""
    body = answer.json()
    assert str(body.get("resourceType")) == "OperationOutcome", answer.content[:300]
    assert status is None or answer.status_code == status, answer.content[:300]
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert body["issue"]
    issue: dict[str, Any] = body["issue"][0]
    assert issue["details"]["text"]
    return issue


def ids_in(bundle: dict[str, Any]) -> list[str]:
    """The ids of the matches, in order."""
    entries = bundle.get("entry", [])
    return [entry["resource"]["id"] for entry in entries if entry["search"]["mode"] == "match"]


def link(bundle: dict[str, Any], relation: str) -> str:
    """The address of a link, or ""."""
    return next((one["url"] for one in bundle["link"] if one["relation"] == relation), "")


def _headers(given: dict[str, str]) -> dict[str, str]:
    return JSON | {name.replace("_", "-"): value for name, value in given.items()}
