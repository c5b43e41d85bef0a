"""Work moves over HTTP: what is refused and why, what is offered, one step on many tasks, and one's last step taken back.

https://hl7.org/fhir/R4/task.html#statemachine
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.server import Tracker
from tests.conformance.talk import JSON, Body, Corner, created, issue_of

PROGRAM = """
program: moving
title: Work that is moved over HTTP
reasons:
  - {code: not-wanted, title: Not wanted, means: "The patient does not want it", for: stop}
statuses:
  - {code: to-do, is: requested, means: "Nobody has begun"}
  - {code: done, is: completed, means: "Done and written down"}
  - {code: dropped, is: cancelled, means: "Not needed any more"}
transitions:
  - {from: to-do, to: done, require: [note, field.location]}
  - {from: to-do, to: dropped, require: reason.code}
tasks:
  - {code: call, role: rn}
"""
PATCH = {"Content-Type": "application/json-patch+json"}
CANONICAL = "https://fhir-tracker.example/ActivityDefinition/moving.call"


@pytest.fixture(scope="session")
def published(tracker: Tracker, tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    """The shared server with the program above, which takes nobody in by itself."""
    file = tmp_path_factory.mktemp("moving") / "moving.yaml"
    file.write_text(PROGRAM)
    command: list[str | Path] = [
        Path(sys.executable).parent / "fhir-tracker",
        "program",
        "publish",
        file,
        "--database",
        tracker.database,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return tracker


def plain(corner: Corner, short: str, **members: Any) -> Body:
    return corner.put("Task", short, **{"status": "requested", "intent": "order", **members})


def send(client: httpx.Client, method: str, path: str, body: Any, **headers: str) -> httpx.Response:
    return client.request(method, path, content=json.dumps(body), headers=JSON | headers)


def parameters(answer: httpx.Response, name: str) -> list[dict[str, list[Any]]]:
    """The parts of each parameter of that name, by name."""
    assert answer.status_code == 200, answer.text
    found = []
    for one in answer.json().get("parameter", []):
        assert one["name"] == name
        parts: dict[str, list[Any]] = {}
        for part in one["part"]:
            value = next((part[key] for key in part if key.startswith("value") or key == "resource"), part.get("part"))
            parts.setdefault(part["name"], []).append(value)
        found.append(parts)
    return found


@pytest.mark.requirement(130)
@pytest.mark.parametrize("way", ["put", "patch", "transaction"])
def test_what_was_asked_for_cannot_be_changed_while_it_is_worked_on(
    client: httpx.Client, corner: Corner, way: str
) -> None:
    task = plain(corner, "asked", status="in-progress", requester={"reference": "Practitioner/p"}, intent="order")
    url = f"/Task/{task['id']}"
    changed = task | {"intent": "plan"}
    if way == "put":
        answer = send(client, "PUT", url, changed)
    elif way == "patch":
        operations = [{"op": "replace", "path": "/intent", "value": "plan"}]
        answer = client.patch(url, content=json.dumps(operations), headers=PATCH)
    else:
        entry = {"resource": changed, "request": {"method": "PUT", "url": url[1:]}}
        answer = send(client, "POST", "/", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    issue = issue_of(answer, 422)
    assert (issue["code"], "intent" in issue["details"]["text"]) == ("business-rule", True)
    assert client.get(url).json()["intent"] == "order"


@pytest.mark.requirement(124)
def test_a_refused_move_says_what_may_be_done_instead(client: httpx.Client, corner: Corner) -> None:
    task = plain(corner, "illegal")
    answer = send(client, "PUT", f"/Task/{task['id']}", task | {"status": "on-hold", "statusReason": {"text": "x"}})
    assert issue_of(answer, 422)["code"] == "business-rule"
    told = [one["details"]["text"] for one in answer.json()["issue"]]
    assert "allowed next: received, accepted, rejected, ready, in-progress, cancelled, completed or failed" in told[0]
    assert told[1].startswith("What you may do next: received; accepted; rejected with a reason;")
    same = send(client, "PUT", f"/Task/{task['id']}", task)
    assert created(same)["status"] == "requested"


def filed(client: httpx.Client) -> Body:
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "instantiatesCanonical": CANONICAL}
    return created(send(client, "POST", "/Task", task))


def test_the_moves_there_are_are_told_with_what_they_need_and_mean(published: Tracker, client: httpx.Client) -> None:
    task = filed(client)
    offers = parameters(client.get(f"/Task/{task['id']}/$options"), "move")
    by_code = {one["to"][0]: one for one in offers}
    assert by_code["done"]["require"] == ["note", "field.location"]
    assert by_code["done"]["missing"] == ["a note", "a value for location"]
    assert by_code["dropped"]["means"] == ["Not needed any more"]
    (reason,) = by_code["dropped"]["reason"]
    assert reason[0]["valueCoding"]["code"] == "not-wanted"
    assert reason[1]["valueString"] == "The patient does not want it"
    refused = send(client, "PUT", f"/Task/{task['id']}", task | {"status": "completed"})
    assert refused.status_code == 422


def test_one_step_on_many_tasks_has_a_result_for_each(published: Tracker, client: httpx.Client) -> None:
    first, second = filed(client), filed(client)
    names = [f"Task/{first['id']}", f"Task/{second['id']}/_history/7", "Task/nowhere"]
    rows: list[Body] = [{"name": "task", "valueReference": {"reference": one}} for one in names]
    rows.append({"name": "to", "valueCode": "dropped"})
    body = {"resourceType": "Parameters", "parameter": rows}
    bare = parameters(send(client, "POST", "/Task/$move", body), "result")
    assert [one["outcome"][0] for one in bare] == ["failed", "failed", "failed"]
    assert "a coded reason (not-wanted)" in bare[0]["why"][0]
    assert bare[0]["details"][0]["resourceType"] == "OperationOutcome"
    rows.append({"name": "reasonCode", "valueCode": "not-wanted"})
    done = parameters(send(client, "POST", "/Task/$move", body), "result")
    assert [one["outcome"][0] for one in done] == ["done", "failed", "failed"]
    again = parameters(send(client, "POST", "/Task/$move", body), "result")
    assert (again[0]["outcome"], again[0]["why"]) == (["skipped"], ["It is dropped already."])
    moved = client.get(f"/Task/{first['id']}").json()
    assert (moved["status"], moved["statusReason"]["coding"][0]["code"]) == ("cancelled", "not-wanted")


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"name": "to", "valueCode": "done"}],
        [{"name": "task", "valueReference": {"reference": "Task/x"}}],
        [{"name": "task", "valueReference": {"reference": "Patient/x"}}, {"name": "to", "valueCode": "done"}],
        [{"name": "task", "valueReference": {"reference": "Task/x"}}, {"name": "nonsense", "valueCode": "done"}],
        [{"name": "task", "valueReference": {"reference": "Task/x"}}, {"name": "priority", "valueCode": "soon"}],
        [*({"name": "task", "valueReference": {"reference": "Task/x"}} for _ in range(2)), {"name": "to", "valueCode": "a"}],
    ],
)  # fmt: skip
def test_a_step_that_cannot_be_understood_is_refused_whole(one_client: httpx.Client, rows: list[Any]) -> None:
    body = {"resourceType": "Parameters", **({"parameter": rows} if rows else {})}
    assert issue_of(send(one_client, "POST", "/Task/$move", body), 400)


def test_the_last_step_is_taken_back_within_its_time(client: httpx.Client, corner: Corner) -> None:
    task = plain(corner, "undone")
    url = f"/Task/{task['id']}"
    assert issue_of(client.post(f"{url}/$undo"), 422)["details"]["text"] == "There is nothing to undo."
    created(send(client, "PUT", url, task | {"status": "in-progress", "owner": {"reference": "Practitioner/p"}}))
    back = client.post(f"{url}/$undo", headers={"If-Match": 'W/"2"'})
    assert (back.status_code, back.headers["etag"]) == (200, 'W/"3"')
    assert back.json()["status"] == "requested"
    assert "owner" not in back.json()
    statuses = [one["resource"]["status"] for one in client.get(f"{url}/_history").json()["entry"]]
    assert statuses == ["requested", "in-progress", "requested"]


def test_every_operation_on_work_has_its_definition(one_client: httpx.Client) -> None:
    rest = one_client.get("/metadata").json()["rest"][0]["resource"]
    named = {row["type"]: {one["name"] for one in row.get("operation", [])} for row in rest}
    assert named["Task"] >= {"move", "options", "undo"}
    assert named["CarePlan"] >= {"options", "undo"}
    for id_ in ("Task-move", "Task-options", "Task-undo", "CarePlan-options", "CarePlan-undo"):
        assert created(one_client.get(f"/OperationDefinition/{id_}"))["kind"] == "operation"
