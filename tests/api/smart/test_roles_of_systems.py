"""Where a program says who may move work, a system moves it as the roles it was given say, and reaches no more for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.cli import main
from api.context import Access
from fhir_tracker import clients, clock, publishing
from fhir_tracker.errors import UsageError
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import clients as stored
from fhir_tracker.storage import epochs
from fhir_tracker.storage.clients import Client
from fhir_tracker.storage.database import Database
from tests.support.contexts import context_of
from tests.support.systems import System, key_set

PROGRAM = """
program: systems
title: Work that systems move
statuses:
  - {code: to-do, is: requested, means: "Nobody has begun"}
  - {code: done, is: completed, means: "Done"}
  - {code: dropped, is: cancelled, means: "Not needed"}
transitions:
  - {from: to-do, to: done, by: [rn, provider]}
  - {from: to-do, to: dropped, require: [reason]}
tasks:
  - {code: call, role: rn}
"""
CANONICAL = "https://fhir-tracker.example/ActivityDefinition/systems.call"
JSON = {"Content-Type": "application/fhir+json"}
NURSES, DESK = "nurses-system", "desk-system"


def add(database: Database, id_: str, *roles: str, scopes: str = "system/Task.cruds") -> Client:
    new = Client(id=id_, name="", scopes=(scopes,), roles=roles, jwks=key_set("ec", "rsa"), added_at=clock.now())
    with database.begin() as tx:
        return clients.add(tx, new)


@pytest.fixture
def server(database: Database) -> Iterator[TestClient]:
    """A server that knows the program, and a system with the role of nurses beside one with none."""
    with database.begin() as tx:
        publishing.publish(tx, PROGRAM, Author(viewer=open_viewer(), origin="cli", at=clock.now()))
    add(database, NURSES, "rn")
    add(database, DESK)
    with closing(TestClient(create_app(context_of(database, access=Access.LOCKED)))) as one:
        yield one


def headers(server: TestClient, id_: str) -> dict[str, str]:
    answer = server.post("/auth/token", data=System(id=id_).form("system/Task.cruds"))
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}", **JSON}


def filed(server: TestClient, given: dict[str, str]) -> dict[str, Any]:
    body = {"resourceType": "Task", "status": "requested", "intent": "order", "instantiatesCanonical": CANONICAL}
    answer = server.post("/fhir/Task", headers=given, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.mark.requirement(89)
@pytest.mark.security("A3", "S40")
def test_a_system_moves_work_as_its_roles_may(server: TestClient) -> None:
    nurses, desk = headers(server, NURSES), headers(server, DESK)
    task = filed(server, desk)
    moved = task | {"status": "completed"}
    refused = server.put(f"/fhir/Task/{task['id']}", headers=desk, json=moved)
    assert refused.status_code == 422, refused.text
    assert "provider or rn" in refused.text or "rn or provider" in refused.text
    assert server.get(f"/fhir/Task/{task['id']}", headers=desk).json()["status"] == "requested"
    answer = server.put(f"/fhir/Task/{task['id']}", headers=nurses, json=moved)
    assert (answer.status_code, answer.json()["status"]) == (200, "completed"), answer.text


@pytest.mark.requirement(89)
def test_what_anybody_may_do_needs_no_role(server: TestClient) -> None:
    desk = headers(server, DESK)
    task = filed(server, desk)
    dropped = task | {"status": "cancelled", "statusReason": {"text": "called twice by mistake"}}
    answer = server.put(f"/fhir/Task/{task['id']}", headers=desk, json=dropped)
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled"), answer.text


@pytest.mark.requirement(89)
@pytest.mark.security("A3", "S9")
@pytest.mark.parametrize("path", ["/fhir/Patient", "/fhir/Patient/x", "/fhir/AuditEvent", "/fhir/Observation?code=x"])
def test_a_role_opens_nothing_that_the_scopes_do_not(server: TestClient, database: Database, path: str) -> None:
    add(database, "auditors-system", "auditor", "provider", "clinic-admin")
    given = headers(server, "auditors-system")
    assert server.get("/fhir/Task", headers=given).status_code == 200
    assert server.get(path, headers=given).status_code == 403


@pytest.mark.security("S50")
def test_other_roles_of_a_system_that_comes_back_count_from_its_next_token_on(
    server: TestClient, database: Database
) -> None:
    task = filed(server, headers(server, NURSES))
    with database.begin() as tx:
        before = epochs.epoch(tx)
        clients.revoke(tx, NURSES, clock.now())
    add(database, NURSES, "front-desk")
    with database.read() as tx:
        known = stored.find(tx, NURSES)
        assert known is not None
        assert known.roles == ("front-desk",)
        assert epochs.epoch(tx) > before
    answer = server.put(
        f"/fhir/Task/{task['id']}", headers=headers(server, NURSES), json=task | {"status": "completed"}
    )
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("roles", [("nurse",), ("rn", "RN"), ("",), ("rn", "no-such-role")])
def test_a_role_there_is_not_is_refused_and_the_system_not_let_in(database: Database, roles: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="There is no role"):
        add(database, "wrong", *roles)
    with database.read() as tx:
        assert stored.find(tx, "wrong") is None


def test_the_command_takes_roles_and_tells_them(
    ready_url: str, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    file.write_text(json.dumps(key_set("ec")))
    words = ["client", "add", NURSES, "--scopes", "system/Task.cruds", "--jwks-file", str(file)]
    assert main([*words, "--role", "rn", "--role", "provider", "--role", "rn", "--json", "--database", ready_url]) == 0
    assert json.loads(capsys.readouterr().out)["roles"] == ["rn", "provider"]
    assert main(["client", "list", "--database", ready_url]) == 0
    assert "rn provider" in capsys.readouterr().out
    assert main([*words[:2], "other", *words[3:], "--role", "nurse", "--database", ready_url]) == 2
    assert "There is no role 'nurse'" in capsys.readouterr().err
