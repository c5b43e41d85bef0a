"""Every answer about a resource leaves one audit row: who, what, which, how it ended, and never what it said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.context import Access
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.storage import audit
from fhir_tracker.storage.audit import AuditRow
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.api.fhir.talk import JSON

CANARY = "Zanzibar-1911"
PATIENT = f'{{"resourceType":"Patient","id":"p1","name":[{{"family":"{CANARY}"}}]}}'
TASK = '{"resourceType":"Task","id":"t1","status":"requested","intent":"order","for":{"reference":"Patient/p1"}}'
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def stocked(client: TestClient) -> TestClient:
    """A patient and a task in two versions."""
    for path, text in (("Patient/p1", PATIENT), ("Task/t1", TASK), ("Task/t1", TASK)):
        assert client.put(f"/fhir/{path}", content=text, headers=JSON).status_code in (200, 201)
    return client


def rows(database: Database) -> list[AuditRow]:
    with database.read() as tx:
        return list(reversed(audit.list(tx, open_viewer())))


def one_row(client: TestClient, database: Database, method: str, path: str, **sent: Any) -> AuditRow:
    """The only row that one request left."""
    before = len(rows(database))
    client.request(method, f"/fhir/{path}", **sent)
    (row,) = rows(database)[before:]
    return row


# method, path, what is sent, and the row: action, ref, patient, outcome, detail
ASKED: list[tuple[str, str, dict[str, Any], tuple[str, str, str | None, str, dict[str, Any]]]] = [
    ("GET", "Task/t1", {}, ("read", "Task/t1", "p1", "success", {})),
    ("HEAD", "Task/t1", {}, ("read", "Task/t1", "p1", "success", {})),
    ("GET", "Task/t1", {"headers": {"If-None-Match": "*"}}, ("read", "Task/t1", "p1", "success", {})),
    ("GET", "Patient/p1", {}, ("read", "Patient/p1", "p1", "success", {})),
    ("GET", "Task/t1/_history/1", {}, ("vread", "Task/t1", "p1", "success", {"version": 1})),
    ("GET", "Task/t1/_history", {}, ("history", "Task/t1", "p1", "success", {"versions": 2})),
    ("GET", "Task/t1/_history?_count=1", {}, ("history", "Task/t1", "p1", "success", {"versions": 1})),
    ("GET", "Task/_history?_count=1", {}, ("history", "Task", None, "success", {"versions": 1})),
    ("GET", "_history?_count=1", {}, ("history", "", None, "success", {"versions": 1})),
    (
        "GET",
        f"Patient/p1/Task?status={CANARY}",
        {},
        ("search", "Patient/p1", "p1", "success", {"type": "Task", "parameters": ["status"], "found": 0}),
    ),
    (
        "GET",
        "?_type=Task&_id=t1",
        {},
        ("search", "", None, "success", {"parameters": ["_id", "_type"], "found": 1}),
    ),
    (
        "GET",
        f"Patient?name={CANARY}&_count=5",
        {},
        ("search", "Patient", None, "success", {"parameters": ["_count", "name"], "found": 1}),
    ),
    (
        "POST",
        "Patient/_search",
        {"content": f"name={CANARY}", "headers": FORM},
        ("search", "Patient", None, "success", {"parameters": ["name"], "found": 1}),
    ),
    ("PUT", "Task/t1", {"content": TASK, "headers": JSON}, ("update", "Task/t1", "p1", "success", {"version": 3})),
    (
        "PUT",
        "Task/t2",
        {"content": TASK.replace("t1", "t2"), "headers": JSON},
        ("create", "Task/t2", "p1", "success", {"version": 1}),
    ),
    ("DELETE", "Task/t1", {}, ("delete", "Task/t1", "p1", "success", {"version": 3})),
    ("DELETE", "Task/never", {}, ("delete", "Task/never", None, "success", {})),
    ("GET", "Task/none", {}, ("read", "Task/none", None, "denied", {"status": 404})),
    ("GET", "Task/t1/_history/9", {}, ("vread", "Task/t1", None, "denied", {"status": 404})),
    ("GET", "Task/none/_history", {}, ("history-instance", "Task/none", None, "denied", {"status": 404})),
    ("GET", f"Patient?birthdate={CANARY}", {}, ("search-type", "Patient", None, "error", {"status": 400})),
    (
        "PUT",
        "Task/t1",
        {"content": TASK.replace("requested", CANARY), "headers": JSON},
        ("update", "Task/t1", None, "error", {"status": 400}),
    ),
    ("POST", "Patient", {"content": f'{{"x":"{CANARY}"', "headers": JSON}, ("create", "Patient", None, "error", {"status": 400})),
    (
        "PUT",
        "Task/t1",
        {"content": TASK, "headers": JSON | {"If-Match": 'W/"1"'}},
        ("update", "Task/t1", None, "error", {"status": 412}),
    ),
    ("DELETE", "Task/t1", {"headers": {"If-Match": 'W/"1"'}}, ("delete", "Task/t1", None, "error", {"status": 412})),
    ("POST", "Task", {"content": TASK, "headers": {"Content-Type": "text/plain"}}, ("create", "Task", None, "error", {"status": 415})),
    ("POST", "AuditEvent", {"content": "{}", "headers": JSON}, ("create", "AuditEvent", None, "error", {"status": 405})),
]  # fmt: skip


@pytest.mark.requirement(139)
@pytest.mark.security("S52", "B1")
@pytest.mark.parametrize(("method", "path", "sent", "told"), ASKED, ids=lambda value: str(value)[:30])
def test_each_request_leaves_its_row(
    stocked: TestClient,
    database: Database,
    method: str,
    path: str,
    sent: dict[str, Any],
    told: tuple[str, str, str | None, str, dict[str, Any]],
) -> None:
    row = one_row(stocked, database, method, path, **sent)
    detail = dict(row.detail) | ({"version": row.version} if row.action != "read" and row.version else {})
    assert (row.action, row.ref, row.patient, row.outcome, detail) == told
    assert row.kind == "fhir"
    assert row.who == open_viewer().who
    assert row.request_id
    assert CANARY not in repr(row)


@pytest.mark.requirement(15)
def test_the_request_id_of_the_answer_is_in_the_row(stocked: TestClient, database: Database) -> None:
    for given in ("trace-7", ""):
        answer = stocked.get("/fhir/Task/t1", headers={"X-Request-Id": given})
        assert rows(database)[-1].request_id == answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["metadata", "Nope", "Nope/1", "Task/t1/x", "Task/a_b"])
def test_what_touches_no_resource_leaves_no_row(stocked: TestClient, database: Database, path: str) -> None:
    before = len(rows(database))
    stocked.get(f"/fhir/{path}")
    assert len(rows(database)) == before


@pytest.mark.security("S52")
def test_a_read_whose_trail_cannot_be_written_is_not_answered(serve: Serve) -> None:
    answer = serve(Access.OPEN, reached=False).get("/fhir/Patient/p1")
    assert answer.status_code == 503


def test_a_stranger_leaves_a_row_that_names_nothing(serve: Serve, database: Database) -> None:
    client = serve(Access.LOCKED)
    asked: Sequence[tuple[str, str]] = [
        *(("GET", f"Patient/{CANARY}"), ("GET", f"Patient?name={CANARY}"), ("DELETE", f"Task/{CANARY}")),
        *(("POST", "Patient"), ("GET", f"{CANARY}/x"), ("GET", f"Patient/{CANARY}/_history")),
    ]
    for method, path in asked:
        assert client.request(method, f"/fhir/{path}").status_code == 401
    found = rows(database)
    assert [(row.who, row.action, row.ref, row.outcome) for row in found] == [("nobody", "call", "", "denied")] * len(
        asked
    )
    assert CANARY not in repr(found)


def test_a_write_that_was_rolled_back_leaves_only_its_error(stocked: TestClient, database: Database) -> None:
    closed = TASK.replace("requested", "completed")
    assert stocked.put("/fhir/Task/t1", content=closed, headers=JSON).status_code == 200
    before = len(rows(database))
    assert stocked.put("/fhir/Task/t1", content=TASK, headers=JSON).status_code == 422
    (row,) = rows(database)[before:]
    assert (row.action, row.outcome, dict(row.detail)) == ("update", "error", {"status": 422})
    assert json.loads(stocked.get("/fhir/Task/t1").content)["status"] == "completed"


def test_a_patient_sees_the_rows_about_them_alone(stocked: TestClient, database: Database) -> None:
    stocked.put("/fhir/Patient/p2", content=PATIENT.replace("p1", "p2"), headers=JSON)
    with database.read() as tx:
        seen = audit.list(tx, Viewer(who="Patient/p1", patient="p1", sight=EVERYTHING))
        chosen = audit.list(tx, open_viewer(), patient="p2")
    assert {row.patient for row in seen} == {"p1"}
    assert [row.ref for row in chosen] == ["Patient/p2"]
