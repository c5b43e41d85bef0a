"""The CapabilityStatement claims exactly what works.

https://hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.context import Access
from api.fhir.policy import OWNERS, all_types
from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.checks import check
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.api.fhir.talk import post, put
from tests.support.systems import let_in_with

MINIMAL: dict[str, dict[str, Any]] = {
    "Task": {"status": "requested", "intent": "order"},
    "CarePlan": {"status": "active", "intent": "plan", "subject": {"reference": "Patient/p1"}},
    "Appointment": {
        "status": "proposed",
        "participant": [{"status": "accepted", "actor": {"reference": "Patient/p1"}}],
    },
    "Patient": {},
}
VALUES = {
    "token": "x",
    "reference": "Patient/p1",
    "date": "2026-01-01",
    "string": "x",
    "number": "1",
    "quantity": "1",
    "uri": "http://x",
    "composite": "x$x",
    "special": "1|1|1|km",
}


def described(client: TestClient) -> dict[str, dict[str, Any]]:
    statement = client.get("/fhir/metadata").json()
    return {one["type"]: one for one in statement["rest"][0]["resource"]}


@pytest.mark.requirement(1)
@pytest.mark.parametrize("access", list(Access))
def test_anyone_may_read_it_and_it_is_valid(serve: Serve, access: Access) -> None:
    answer = serve(access).get("/fhir/metadata")
    assert answer.status_code == 200
    statement = read_resource(answer.content)
    assert check(statement) == ()
    assert (statement["fhirVersion"], statement["kind"]) == ("4.0.1", "instance")
    assert [one["type"] for one in statement["rest"][0]["resource"]] == list(all_types())


@pytest.mark.requirement(1)
def test_its_tag_changes_with_its_content(serve: Serve) -> None:
    opened, locked = serve(Access.OPEN), serve(Access.LOCKED)
    tag = opened.get("/fhir/metadata").headers["etag"]
    assert opened.get("/fhir/metadata").headers["etag"] == tag
    assert opened.get("/fhir/metadata", headers={"If-None-Match": tag}).status_code == 304
    assert locked.get("/fhir/metadata").headers["etag"] != tag


@pytest.mark.requirement(1)
@pytest.mark.parametrize("type_", sorted(MINIMAL))
def test_every_interaction_it_claims_works(client: TestClient, type_: str) -> None:
    claimed = [one["code"] for one in described(client)[type_]["interaction"]]
    assert set(claimed) >= {"read", "vread", "update", "delete", "history-instance", "create", "search-type"}
    body = {"resourceType": type_} | MINIMAL[type_]
    made = post(client, type_, json.dumps(body))
    assert made.status_code == 201, made.content
    path = f"{type_}/{made.json()['id']}"
    assert put(client, path, json.dumps(made.json())).status_code == 200
    assert client.get(f"/fhir/{path}").status_code == 200
    assert client.get(f"/fhir/{path}/_history/1").status_code == 200
    assert client.get(f"/fhir/{path}/_history").json()["total"] == 2
    assert client.get(f"/fhir/{type_}?_id={made.json()['id']}").json()["total"] == 1
    assert client.delete(f"/fhir/{path}").status_code == 204


@pytest.mark.requirement(1, 23)
def test_every_search_parameter_it_claims_is_applied(client: TestClient) -> None:
    types = described(client)
    chosen = [*MINIMAL, *random.Random(7).sample(sorted(types.keys() - MINIMAL.keys()), 20)]
    for type_ in chosen:
        assert {"_id", "_lastUpdated"} <= {one["name"] for one in types[type_]["searchParam"]}
        for one in types[type_]["searchParam"]:
            value = "2026-01-01" if one["name"] == "_lastUpdated" else VALUES[one["type"]]
            query = {one["name"]: value}
            answer = client.get(f"/fhir/{type_}", params=query, headers={"Prefer": "handling=strict"})
            if one["type"] == "composite" and answer.status_code == 400:
                continue
            assert answer.status_code == 200, (type_, one["name"], answer.text)


@pytest.mark.requirement(2)
def test_a_type_without_a_claimed_write_refuses_it(serve: Serve, database: Database) -> None:
    client = let_in_with(serve(Access.LOCKED), database)
    for type_, one in described(client).items():
        claimed = {interaction["code"] for interaction in one["interaction"]}
        status = post(client, type_, f'{{"resourceType":"{type_}","id":"x","nonsense":1}}').status_code
        assert status == (400 if "create" in claimed else 405), type_


def test_each_type_the_design_names_has_one_owner() -> None:
    named = [type_ for types in OWNERS.values() for type_ in types]
    assert len(named) == len(set(named))
    assert set(named) <= set(all_types())
