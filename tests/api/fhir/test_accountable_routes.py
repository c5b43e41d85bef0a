"""Every route of the FHIR API leaves its row, whether it answers, refuses, or has nobody before it."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from api.context import Access
from api.fhir.actions import Action, Route
from api.fhir.routes import ROUTES
from fhir_tracker.errors import Unavailable
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import audit
from fhir_tracker.storage.audit import AuditRow
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.api.fhir.talk import JSON

WALKED = [
    pytest.param(route, method, action, id=f"{method} {route.name}")
    for route in ROUTES
    for method, action in route.actions.items()
    if route.template != ("metadata",)
]
PATIENT = '{"resourceType":"Patient","id":"p1"}'
TASK = '{"resourceType":"Task","id":"t1","status":"requested","intent":"order","for":{"reference":"Patient/p1"}}'
BUNDLE = '{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Task/t1"}}]}'


def rows(database: Database) -> list[AuditRow]:
    with database.read() as tx:
        return list(reversed(audit.list(tx, open_viewer(), limit=1000)))


def path_of(route: Route) -> str:
    type_ = "Patient" if "{member}" in route.template else "Task"
    named = {"{type}": type_, "{id}": "p1" if type_ == "Patient" else "t1", "{version}": "1", "{member}": "Task"}
    return "/fhir/" + "/".join(named.get(part, part) for part in route.template)


def ask(client: TestClient, route: Route, method: str, action: Action) -> int:
    body = BUNDLE if not route.template else TASK
    headers = JSON if method in ("POST", "PUT", "PATCH") else {}
    if "_search" in route.template:
        body, headers = "_count=1", {"Content-Type": "application/x-www-form-urlencoded"}
    sent = {"content": body} if headers else {}
    return client.request(method, path_of(route), headers=headers, **sent).status_code  # type: ignore[arg-type]


@pytest.mark.requirement(139)
@pytest.mark.security("S52", "B1")
@pytest.mark.parametrize(("route", "method", "action"), WALKED)
def test_every_interaction_leaves_a_row_however_it_ends(
    serve: Serve, database: Database, route: Route, method: str, action: Action
) -> None:
    client = serve(Access.OPEN)
    for path, text in (("Patient/p1", PATIENT), ("Task/t1", TASK)):
        assert client.put(f"/fhir/{path}", content=text, headers=JSON).status_code == 201
    before = len(rows(database))
    status = ask(client, route, method, action)
    found = rows(database)[before:]
    assert found, (status, action.interaction)
    assert all(row.kind in ("fhir", "worker") and row.who for row in found)
    assert (found[-1].outcome == "success") == (status < 400)


@pytest.mark.security("S52", "B1", "A1")
@pytest.mark.parametrize(("route", "method", "action"), WALKED)
def test_who_is_not_let_in_leaves_a_denial_that_names_nothing(
    serve: Serve, database: Database, route: Route, method: str, action: Action
) -> None:
    before = len(rows(database))
    assert ask(serve(Access.LOCKED), route, method, action) == 401
    (row,) = rows(database)[before:]
    assert (row.outcome, row.ref, row.patient, row.query) == ("denied", "", None, None)


@pytest.mark.requirement(140)
@pytest.mark.security("B2")
@pytest.mark.parametrize(
    ("method", "path", "body"), [("PUT", "Task/t2", TASK.replace("t1", "t2")), ("DELETE", "Task/t1", "")]
)
def test_a_write_whose_row_cannot_be_written_does_not_happen(
    serve: Serve, database: Database, method: str, path: str, body: str
) -> None:
    client = serve(Access.OPEN)
    assert client.put("/fhir/Task/t1", content=TASK, headers=JSON).status_code == 201
    database.seal_rows(_no_key)
    answer = client.request(method, f"/fhir/{path}", content=body or None, headers=JSON)
    assert answer.status_code >= 500
    database.seal_rows(lambda: b"k" * 32)
    assert client.get("/fhir/Task/t1").status_code == 200
    assert client.get("/fhir/Task/t2").status_code == 404


def _no_key() -> bytes:
    raise Unavailable("The key of the trail cannot be read.")


@pytest.mark.security("B2", "S52")
@pytest.mark.parametrize("path", ["Task/t1", "Task?status=requested", "Task/t1/_history", "Task/t1/_history/1"])
def test_a_read_whose_row_cannot_be_written_is_not_answered(serve: Serve, database: Database, path: str) -> None:
    client = serve(Access.OPEN)
    assert client.put("/fhir/Task/t1", content=TASK, headers=JSON).status_code == 201
    database.seal_rows(_no_key)
    answer = client.get(f"/fhir/{path}")
    assert answer.status_code == 503
    assert "requested" not in answer.text
