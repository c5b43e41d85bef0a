"""The OpenAPI description is whole and says what the server and its statement say; the page shows it without a script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page

from api.fhir.routes import ROUTES
from tests.conformance.server import Tracker, running_tracker
from tests.conformance.talk import Body

FILLED = {"type": "Patient", "id": "none-such", "version": "1", "member": "Task"}


@pytest.fixture(scope="module")
def described(one_tracker: Tracker) -> Body:
    """The document of the server on SQLite."""
    answer = httpx.get(f"{one_tracker.url}/openapi.json", timeout=60, trust_env=False)
    assert answer.headers["content-type"] == "application/json"
    body: Body = answer.json()
    return body


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_every_reference_in_the_document_resolves_and_every_component_is_used(described: Body) -> None:
    named = set(references(described))
    parts = {f"#/components/{kind}/{name}" for kind, found in described["components"].items() for name in found}
    assert named <= parts
    assert {one for one in parts - named if "/responses/" not in one} == set()


def test_every_route_is_in_the_document_and_nothing_else(described: Body) -> None:
    there = {("/" + "/".join(one.template), method.lower()) for one in ROUTES for method in one.actions}
    assert {(path, method) for path, found in described["paths"].items() for method in found} == there
    names = [one["operationId"] for found in described["paths"].values() for one in found.values()]
    assert len(names) == len(set(names))


@pytest.mark.requirement(1)
def test_the_document_and_the_statement_agree(one_client: httpx.Client, described: Body) -> None:
    statement = one_client.get("/metadata").json()
    rows = statement["rest"][0]["resource"]
    schemas = described["components"]["schemas"]
    assert described["servers"] == [{"url": statement["implementation"]["url"]}]
    assert schemas["Type"]["enum"] == [row["type"] for row in rows]
    creatable = [row["type"] for row in rows if "create" in {one["code"] for one in row["interaction"]}]
    assert schemas["WritableType"]["enum"] == creatable
    claimed = {one["name"] for row in rows for one in row.get("operation", [])}
    assert {name for path in described["paths"] for name in re.findall(r"\$([a-z-]+)", path)} == claimed
    assert sorted(described["paths"]["/{type}/{id}"]["patch"]["requestBody"]["content"]) == sorted(
        statement["patchFormat"]
    )


def test_each_path_is_served_with_statuses_the_document_names(one_client: httpx.Client, described: Body) -> None:
    for path, methods in described["paths"].items():
        for method, one in methods.items():
            answer = one_client.request(method, path.format(**FILLED))
            assert str(answer.status_code) in one["responses"], (method, path, answer.text[:200])
            if answer.status_code >= 400:
                assert answer.json()["resourceType"] == "OperationOutcome"
            told = json.dumps(answer.json()) if answer.content else ""
            assert "There is nothing at this address" not in told, (method, path)


@pytest.mark.requirement(14)
def test_a_server_that_knows_nobody_describes_itself_like_metadata(tmp_path: Path) -> None:
    words, token = ("--public-url", "https://tracker.example", "--no-worker"), "for-those-who-operate-it-" + "t" * 20
    env, shown = {"FHIR_TRACKER_METRICS_TOKEN": token}, {"Authorization": f"Bearer {token}"}
    with running_tracker(f"sqlite:///{tmp_path / 'a.db'}", tmp_path, *words, env=env) as locked:
        described = httpx.get(f"{locked.url}/openapi.json", headers=shown, timeout=60, trust_env=False).json()
        page = httpx.get(f"{locked.url}/docs", headers=shown, timeout=60, trust_env=False)
    assert described["servers"] == [{"url": "https://tracker.example/fhir"}]
    assert "Patient" not in described["components"]["schemas"]["WritableType"]["enum"]
    assert "401" in described["paths"]["/{type}/{id}"]["get"]["responses"]
    assert "401" not in described["paths"]["/metadata"]["get"]["responses"]
    assert page.status_code == 200


def test_the_page_shows_every_path_and_needs_no_script(one_tracker: Tracker, described: Body, page: Page) -> None:
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    answer = page.goto(f"{one_tracker.url}/docs")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert page.locator("h2 code").all_inner_texts() == list(described["paths"])
    page.get_by_text("Change a resource by JSON Patch or FHIRPath Patch").first.click()
    assert page.locator("details[open]").get_by_text("If-Match").is_visible()
    assert page.locator("main").evaluate("one => getComputedStyle(one).maxWidth") == "960px"
    assert [text for text in told if "favicon" not in text] == []
