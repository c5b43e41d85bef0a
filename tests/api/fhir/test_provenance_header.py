"""A caller's own Provenance in X-Provenance: stored beside ours with the very version it tells of, or nothing is stored.

https://hl7.org/fhir/R4/provenance.html#header
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.storage.database import Database
from tests.api.fhir.talk import JSON
from tests.support.asking import Asker, holder
from tests.support.contexts import context_of

PROOF = {"resourceType": "Provenance", "agent": [{"who": {"display": "A made-up scribe"}}]}
TASK = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": "Patient/ann"}}
ANN = {"resourceType": "Patient", "id": "ann"}
PATCH = {"Content-Type": "application/json-patch+json"}
DONE = [{"op": "replace", "path": "/status", "value": "in-progress"}]


@pytest.fixture
def client(database: Database) -> Iterator[TestClient]:
    """A server in open mode with one patient."""
    with closing(TestClient(create_app(context_of(database)))) as one:
        assert one.put("/fhir/Patient/ann", json=ANN, headers=JSON).status_code == 201
        yield one


def header(**changed: Any) -> dict[str, str]:
    kept = {name: value for name, value in (PROOF | changed).items() if value is not None}
    return JSON | {"X-Provenance": json.dumps(kept)}


def brought(client: TestClient, ref: str) -> list[dict[str, Any]]:
    """The Provenances of a resource that name the scribe, oldest first."""
    answer = client.get("/fhir/Provenance", params={"target": ref, "_count": "50", "_sort": "_lastUpdated"})
    assert answer.status_code == 200, answer.text
    found = [entry["resource"] for entry in answer.json().get("entry", [])]
    return [one for one in found if "scribe" in json.dumps(one, ensure_ascii=False)]


@pytest.mark.requirement(141)
def test_each_version_that_is_written_has_the_provenance_that_came_with_it(client: TestClient) -> None:
    made = client.post("/fhir/Task", json=TASK, headers=header())
    assert made.status_code == 201, made.text
    ref = f"Task/{made.json()['id']}"
    assert client.put(f"/fhir/{ref}", json=made.json() | {"priority": "urgent"}, headers=header()).status_code == 200
    patched = client.patch(f"/fhir/{ref}", content=json.dumps(DONE), headers=header() | PATCH)
    assert patched.status_code == 200, patched.text
    versions = [one["target"][0]["reference"] for one in brought(client, ref)]
    assert versions == [f"{ref}/_history/{number}" for number in (1, 2, 3)]


@pytest.mark.requirement(141)
def test_it_stands_beside_ours_and_says_when_it_was_recorded(client: TestClient) -> None:
    made = client.post("/fhir/Task", json=TASK, headers=header(recorded="2020-01-02T03:04:05Z", policy=["urn:x:p"]))
    (mine,) = brought(client, f"Task/{made.json()['id']}")
    assert (mine["recorded"], mine["policy"]) == ("2020-01-02T03:04:05Z", ["urn:x:p"])
    every = client.get("/fhir/Provenance", params={"target": f"Task/{made.json()['id']}"}).json()["entry"]
    assert len(every) == 2
    made = client.post("/fhir/Task", json=TASK, headers=header())
    (mine,) = brought(client, f"Task/{made.json()['id']}")
    assert mine["recorded"] == mine["meta"]["lastUpdated"]


@pytest.mark.requirement(141)
def test_conditional_writes_take_it_when_they_write(client: TestClient) -> None:
    named = TASK | {"identifier": [{"system": "urn:s", "value": "1"}]}
    first = client.put("/fhir/Task?identifier=urn:s|1", json=named, headers=header())
    assert first.status_code == 201, first.text
    ref = f"Task/{first.json()['id']}"
    again = client.post("/fhir/Task", json=named, headers=header() | {"If-None-Exist": "identifier=urn:s|1"})
    assert again.status_code == 200
    second = client.put("/fhir/Task?identifier=urn:s|1", json=named | {"priority": "asap"}, headers=header())
    assert second.status_code == 200, second.text
    assert [one["target"][0]["reference"] for one in brought(client, ref)] == [
        f"{ref}/_history/1",
        f"{ref}/_history/2",
    ]


@pytest.mark.requirement(141, 4)
@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"resourceType":"Nope"}', "cannot be read"),
        ('{"resourceType":"Task","status":"requested","intent":"order"}', "another resource"),
        (json.dumps(PROOF | {"target": [{"reference": "Patient/ann"}]}), "names no target"),
        (json.dumps({"resourceType": "Provenance"}), "agent"),
        (json.dumps(PROOF | {"recorded": "yesterday"}), "recorded"),
        (json.dumps(PROOF | {"nosuch": 1}), "nosuch"),
        (json.dumps(PROOF)[:-1] + ',"agent":[]}', "cannot be read"),
    ],
)
def test_what_is_no_provenance_is_refused_and_nothing_is_written(client: TestClient, text: str, named: str) -> None:
    answer = client.post("/fhir/Task", json=TASK, headers=JSON | {"X-Provenance": text})
    assert answer.status_code in (400, 422), answer.text
    assert named in answer.text
    assert client.get("/fhir/Task", params={"_summary": "count"}).json()["total"] == 0
    assert client.get("/fhir/Provenance", params={"_summary": "count"}).json()["total"] == 0


@pytest.mark.requirement(141)
def test_a_refused_write_leaves_no_provenance(client: TestClient) -> None:
    assert client.post("/fhir/Task", json=TASK | {"status": "nope"}, headers=header()).status_code in (400, 422)
    assert client.get("/fhir/Provenance", params={"_summary": "count"}).json()["total"] == 0


@pytest.mark.requirement(141)
def test_letters_of_every_language_come_through(client: TestClient) -> None:
    proof = PROOF | {"agent": [{"who": {"display": "Schr\u00f6der \u9648, made-up scribe"}}]}
    sent = JSON | {"X-Provenance": json.dumps(proof, ensure_ascii=False).encode()}
    made = client.post("/fhir/Task", json=TASK, headers=sent)  # type: ignore[arg-type]
    assert made.status_code == 201, made.text
    (mine,) = brought(client, f"Task/{made.json()['id']}")
    assert mine["agent"] == proof["agent"]


@pytest.mark.requirement(141, 33)
@pytest.mark.parametrize("type_", ["transaction", "batch"])
def test_a_bundle_brings_its_provenances_as_entries(client: TestClient, type_: str) -> None:
    entry = {"resource": TASK, "request": {"method": "POST", "url": "Task"}}
    bundle = {"resourceType": "Bundle", "type": type_, "entry": [entry]}
    answer = client.post("/fhir", json=bundle, headers=header())
    assert answer.status_code == 400
    assert "entry" in answer.text
    assert client.get("/fhir/Task", params={"_summary": "count"}).json()["total"] == 0


@pytest.mark.requirement(141, 87)
@pytest.mark.security("S40", "S45")
@pytest.mark.parametrize(
    ("scopes", "status"),
    [(("system/Task.cruds",), 403), (("system/Task.cruds", "system/Provenance.c"), 201), (("system/*.cruds",), 201)],
)
def test_it_needs_the_right_to_create_provenance(database: Database, scopes: tuple[str, ...], status: int) -> None:
    asker = Asker(database=database, viewer=open_viewer())
    asker.put(ANN)
    answer = asker.as_viewer(holder(*scopes)).ask("POST", "Task", TASK, {"x-provenance": json.dumps(PROOF)}, keep=False)
    assert answer.status == status, answer.body


@pytest.mark.requirement(141, 86)
@pytest.mark.security("S42", "A4")
def test_it_belongs_to_the_patient_of_what_it_tells_of(database: Database) -> None:
    asker = Asker(database=database, viewer=open_viewer())
    asker.put(ANN, {"resourceType": "Patient", "id": "bob"})
    made = asker.ask("POST", "Task", TASK, {"x-provenance": json.dumps(PROOF)})
    ref = f"Task/{json.loads(made.body)['id']}"

    def seen(patient: str) -> int:
        locked: Viewer = holder("patient/*.rs", patient=patient, who=f"Patient/{patient}")
        return int(json.loads(asker.as_viewer(locked).ask("GET", f"Provenance?target={ref}").body)["total"])

    assert (seen("ann"), seen("bob")) == (2, 0)
