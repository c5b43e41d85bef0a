"""What $validate leaves behind: an audit row, and nothing else."""

from __future__ import annotations

import json

from starlette.testclient import TestClient

from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import audit
from fhir_tracker.storage.database import Database
from tests.api.fhir.talk import outcome, post, put

TASK = '{"resourceType":"Task","id":"t1","status":"requested","intent":"order","for":{"reference":"Patient/p1"}}'


def wrapped(mode: str) -> str:
    mode_row = {"name": "mode", "valueCode": mode}
    rows = [mode_row, {"name": "resource", "resource": json.loads(TASK)}]
    return json.dumps({"resourceType": "Parameters", "parameter": rows})


def rows(database: Database) -> list[tuple[str, str, str | None, str]]:
    with database.read() as tx:
        return [(one.action, one.ref, one.patient, one.outcome) for one in reversed(audit.list(tx, open_viewer()))]


def test_each_validation_leaves_one_row_that_names_the_patient_of_a_stored_resource(
    client: TestClient, database: Database
) -> None:
    put(client, "Task/t1", TASK)
    before = len(rows(database))
    outcome(post(client, "Task/$validate", TASK), 200)
    outcome(client.get("/fhir/Task/t1/$validate"), 200)
    for mode in ("create", "update"):
        outcome(post(client, "Task/t1/$validate" if mode == "update" else "Task/$validate", wrapped(mode)), 200)
    outcome(post(client, "Task/$validate", "{}"), 400)
    assert rows(database)[before:] == [
        ("validate", "Task", None, "success"),
        ("validate", "Task/t1", "p1", "success"),
        ("validate", "Task", None, "success"),
        ("validate", "Task/t1", None, "success"),
        ("operation", "Task", None, "error"),
    ]
    bundle = client.get("/fhir/Task/t1/_history").json()
    assert len(bundle["entry"]) == 1
    assert client.get("/fhir/Task?_summary=count").json()["total"] == 1
