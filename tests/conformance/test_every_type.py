"""The CapabilityStatement is true: what it claims for a type works, and what it does not claim is refused.

https://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from fhir_tracker.fhir.definitions.registry import resource_types
from tests.conformance.minimal import minimal
from tests.conformance.talk import JSON, TAGS, Corner, created, issue_of, matches_of

TYPES = sorted(resource_types())
WATCHING = {"read", "vread", "history-instance", "history-type", "search-type"}
HISTORIES = {"history-instance", "history-type"}
"""What only AuditEvents do not have, since they never change."""
LIFE = WATCHING | {"update", "patch", "delete", "create"}
VALUES = {
    "token": "http://example.org/none|none",
    "reference": "none-such-at-all",
    "string": "none such",
    "date": "1901-01-01",
    "number": "1",
    "quantity": "1|http://unitsofmeasure.org|mg",
    "uri": "http://example.org/none",
    "special": "1|1|1|km",
}


@pytest.fixture(scope="session")
def claimed(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """What the statement says of each type."""
    return rows_of(client)


@pytest.fixture(scope="session")
def claimed_once(one_client: httpx.Client) -> dict[str, dict[str, Any]]:
    """The same, of the server for questions that no database has a say in."""
    return rows_of(one_client)


def rows_of(client: httpx.Client) -> dict[str, dict[str, Any]]:
    statement = client.get("/metadata").json()
    return {row["type"]: row for row in statement["rest"][0]["resource"]}


@pytest.mark.requirement(1)
def test_the_statement_names_every_type_once(client: httpx.Client) -> None:
    rows = client.get("/metadata").json()["rest"][0]["resource"]
    assert [row["type"] for row in rows] == TYPES


@pytest.mark.requirement(1, 3, 5, 6, 7, 8, 17, 23, 40, 44)
@pytest.mark.parametrize("type_", TYPES)
def test_a_resource_of_the_type_lives_its_whole_life(
    one_client: httpx.Client, claimed_once: dict[str, dict[str, Any]], type_: str
) -> None:
    assert_lives(one_client, claimed_once, type_)


@pytest.mark.requirement(3, 5, 6, 7, 8, 40, 44)
@pytest.mark.parametrize(
    "type_", ["Task", "CarePlan", "Appointment", "Patient", "Communication", "Provenance", "Binary"]
)
def test_it_does_so_on_each_database(client: httpx.Client, claimed: dict[str, dict[str, Any]], type_: str) -> None:
    assert_lives(client, claimed, type_)


def assert_lives(client: httpx.Client, claimed: dict[str, dict[str, Any]], type_: str) -> None:
    offered = {one["code"] for one in claimed[type_]["interaction"]}
    if "create" not in offered:
        assert offered == WATCHING - (HISTORIES if type_ == "AuditEvent" else set())
        assert_only_watched(client, type_)
        if type_ == "AuditEvent":
            issue_of(client.get("/AuditEvent/_history"), 405)
            issue_of(client.get("/AuditEvent/1/_history"), 405)
        return
    assert LIFE - {"patch"} <= offered <= LIFE
    corner = Corner(client)
    body = minimal(type_) | {"meta": {"tag": [{"system": TAGS, "code": corner.name}]}}
    first = client.post(f"/{type_}", content=json.dumps(body), headers=JSON)
    made = created(first)
    address = f"/{type_}/{made['id']}"
    assert first.status_code == 201
    assert first.headers["location"] == f"{str(client.base_url).rstrip('/')}{address}/_history/1"
    assert first.headers["etag"] == 'W/"1"'
    fhir = {"Accept": "application/fhir+json"}
    for answer in (client.get(address, headers=fhir), client.get(f"{address}/_history/1", headers=fhir)):
        assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"1"')
        assert answer.content == first.content
    assert {key: made[key] for key in minimal(type_)} == minimal(type_)
    second = client.put(address, content=json.dumps(made | {"language": "en"}), headers=JSON | {"If-Match": 'W/"1"'})
    assert (second.status_code, second.headers["etag"]) == (200, 'W/"2"')
    assert [one["language"] for one in matches_of(corner.bundle(f"{type_}?_id={made['id']}"))] == ["en"]
    assert client.delete(address).status_code in (200, 204)
    assert_gone(client, corner, type_, address)


def assert_gone(client: httpx.Client, corner: Corner, type_: str, address: str) -> None:
    issue_of(client.get(address), 410)
    issue_of(client.get(f"{address}/_history/3"), 410)
    assert client.get(f"{address}/_history/2").status_code == 200
    issue_of(client.get(f"{address}/_history/4"), 404)
    assert corner.listed(f"{type_}?_id={address.rpartition('/')[2]}") == []
    history = client.get(f"{address}/_history").json()
    assert (history["type"], history["total"]) == ("history", 3)
    assert [one["request"]["method"] for one in history["entry"]] == ["DELETE", "PUT", "POST"]
    assert [one["response"]["etag"] for one in history["entry"]] == ['W/"3"', 'W/"2"', 'W/"1"']
    assert ["resource" in one for one in history["entry"]] == [False, True, True]
    assert client.delete(address).status_code in (200, 204)


def assert_only_watched(client: httpx.Client, type_: str) -> None:
    body = json.dumps(minimal(type_) | {"id": "never"})
    for answer in (
        client.post(f"/{type_}", content=body, headers=JSON),
        client.put(f"/{type_}/never", content=body, headers=JSON),
        client.delete(f"/{type_}/never"),
    ):
        issue_of(answer, 405)
    issue_of(client.get(f"/{type_}/never"), 404)
    assert client.get(f"/{type_}?_count=1").status_code == 200


@pytest.mark.requirement(1, 18, 19, 26)
@pytest.mark.parametrize("type_", TYPES)
def test_each_parameter_the_statement_lists_for_the_type_is_known(
    one_client: httpx.Client, claimed_once: dict[str, dict[str, Any]], type_: str
) -> None:
    strict = {"Prefer": "handling=strict"}
    for row in claimed_once[type_]["searchParam"]:
        assert row["definition"].startswith(("http://hl7.org/fhir/SearchParameter/", "https://fhir-tracker.example/"))
        if row["type"] == "composite":
            continue
        query = f"/{type_}?{row['name']}={VALUES[row['type']]}&_count=1"
        answer = one_client.get(query, headers=strict)
        assert answer.status_code == 200, f"{query}: {answer.text[:300]}"
        assert matches_of(answer.json()) == [], query


@pytest.mark.requirement(18)
def test_a_parameter_the_statement_does_not_list_is_not_taken_for_one(
    one_client: httpx.Client, claimed_once: dict[str, dict[str, Any]]
) -> None:
    for type_ in ("Task", "Patient", "CarePlan"):
        listed = {row["name"] for row in claimed_once[type_]["searchParam"]}
        for name in ("_text", "_content", "_list", "_filter", "_query", "colour"):
            assert name not in listed
            issue_of(one_client.get(f"/{type_}?{name}=x", headers={"Prefer": "handling=strict"}), 400)
