"""Plans over HTTP: filed by a client with its work or without, moved by PATCH, stopped, taken back, by two at once.

https://hl7.org/fhir/R4/careplan.html
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_tracker.model.vocabulary import EXCEPTIONS, FLAG_SYSTEM, PLAN_REASON, PLAN_STAGE
from tests.conformance.server import Tracker
from tests.conformance.talk import JSON, Body, Corner, created, issue_of, matches_of

PROGRAM = """
program: filing
title: Plans that clients file
reasons:
  - {code: moved-away, title: Moved away, means: "Lives elsewhere now", for: stop}
stages:
  - {code: begun, is: active, title: Begun, means: "Work goes on"}
  - {code: finished, is: completed, title: Finished, means: "All was done"}
  - {code: left, is: revoked, title: Left, means: "The patient does not take part any more"}
stage_transitions:
  - {from: begun, to: finished}
  - {from: begun, to: left, require: reason.code}
statuses:
  - {code: to-do, is: requested, means: "Nobody has begun"}
  - {code: done, is: completed, means: "Done"}
  - {code: dropped, is: cancelled, means: "Not needed any more"}
transitions:
  - {from: to-do, to: done}
  - {from: to-do, to: dropped}
tasks:
  - {code: first, role: rn, due: {after: enrolment, within: 2 days}}
  - {code: second, role: front-desk}
  - {code: flagged, role: rn, on: rule}
rules:
  - {id: told, when: {exception: [EVERY]}, do: {create_task: flagged}}
""".replace("EVERY", ", ".join(EXCEPTIONS))
PATCH = {"Content-Type": "application/json-patch+json"}
CANONICAL = "https://fhir-tracker.example"
REASONS = f"{CANONICAL}/CodeSystem/filing-reason"
NEXT = "urn:uuid:6b1c2a52-0d8e-4d0c-9d11-0000000000"

AtOnce = Callable[[int, Callable[[int], httpx.Response]], list[httpx.Response]]


@pytest.fixture(scope="session")
def filing(tracker: Tracker, tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    """The shared server with the program above, which takes nobody in by itself."""
    file = tmp_path_factory.mktemp("filing") / "filing.yaml"
    file.write_text(PROGRAM)
    program = Path(sys.executable).parent / "fhir-tracker"
    command: list[str | Path] = [program, "program", "publish", file, "--database", tracker.database]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return tracker


@pytest.fixture
def client(filing: Tracker, client: httpx.Client) -> httpx.Client:
    """The client, once the program is there."""
    return client


def send(client: httpx.Client, method: str, path: str, body: Any, **headers: str) -> httpx.Response:
    return client.request(method, path, content=json.dumps(body), headers=JSON | headers)


def bundle(kind: str, *resources: Body) -> Body:
    """Each is created under the placeholder of its place."""
    entries = [
        {"fullUrl": f"{NEXT}{place:02}", "resource": one, "request": {"method": "POST", "url": one["resourceType"]}}
        for place, one in enumerate(resources)
    ]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def plan_of(patient: Body, **members: Any) -> Body:
    return {
        "resourceType": "CarePlan",
        "status": "active",
        "intent": "plan",
        "instantiatesCanonical": [f"{CANONICAL}/PlanDefinition/filing"],
        "subject": {"reference": f"Patient/{patient['id']}"},
        **members,
    }


def task_of(patient: Body, code: str, plan: str, **members: Any) -> Body:
    return {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "instantiatesCanonical": f"{CANONICAL}/ActivityDefinition/filing.{code}",
        "for": {"reference": f"Patient/{patient['id']}"},
        "basedOn": [{"reference": plan}],
        **members,
    }


def ids_of(answer: httpx.Response) -> list[str]:
    """What a Bundle created, in order: `Type/id`."""
    assert answer.status_code == 200, answer.text[:600]
    found = []
    for one in answer.json()["entry"]:
        assert one["response"]["status"].startswith("201"), one
        parts = one["response"]["location"].split("/_history")[0].split("/")
        found.append("/".join(parts[-2:]))
    return found


def work_of(client: httpx.Client, plan: str) -> dict[str, list[Body]]:
    """The Tasks of a plan by the code of their template."""
    found = matches_of(client.get("Task", params={"based-on": plan, "_count": "50"}).json())
    work: dict[str, list[Body]] = {}
    for one in found:
        work.setdefault(one["code"]["coding"][0]["code"], []).append(one)
    return work


def until(seen: Callable[[], bool], what: str) -> None:
    """Wait for what the worker does."""
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.2)


@pytest.fixture
def patient(client: httpx.Client, corner: Corner) -> Body:
    return corner.put("Patient", "p", name=[{"family": "Synthetic"}])


@pytest.fixture
def plan(client: httpx.Client, patient: Body) -> str:
    """A plan whose two Tasks came in its Bundle."""
    tasks = (task_of(patient, "first", f"{NEXT}00"), task_of(patient, "second", f"{NEXT}00"))
    return ids_of(send(client, "POST", "", bundle("transaction", plan_of(patient), *tasks)))[0]


def test_a_plan_filed_with_its_work_in_one_transaction_is_a_plan_of_the_program_and_gets_no_work_twice(
    client: httpx.Client, patient: Body
) -> None:
    named = f"{NEXT}02"
    entries = (
        task_of(patient, "first", named),
        task_of(patient, "second", named, description="Worded by the client"),
        plan_of(patient, activity=[{"reference": {"reference": f"{NEXT}00"}}]),
    )
    first, second, plan = ids_of(send(client, "POST", "", bundle("transaction", *entries)))
    bare = ids_of(send(client, "POST", "", bundle("transaction", plan_of(patient))))[0]
    until(lambda: set(work_of(client, bare)) >= {"first", "second"}, "the work of the plan that came without any")
    work = work_of(client, plan)
    assert {code: [f"Task/{one['id']}" for one in some] for code, some in work.items()} == {
        "first": [first],
        "second": [second],
    }
    filed = work["first"][0]
    assert filed["performerType"][0]["coding"][0]["code"] == "rn"
    assert filed["restriction"]["period"]["end"]
    assert filed["businessStatus"]["coding"][0]["code"] == "to-do"
    assert work["second"][0]["description"] == "Worded by the client"
    stages = client.get(f"{plan}/$options").json()["parameter"]
    assert {part["valueCode"] for one in stages for part in one["part"] if part["name"] == "to"} == {"finished", "left"}


@pytest.mark.requirement(125)
@pytest.mark.parametrize("way", ["post", "put", "if-none-exist", "transaction", "batch"])
def test_a_plan_filed_by_a_bare_url_is_told_and_keeps_its_version(
    client: httpx.Client, corner: Corner, patient: Body, way: str
) -> None:
    body, key = plan_of(patient), f"{patient['id']}-{way}"
    if way == "put":
        answer = send(client, "PUT", f"CarePlan/{key}", body | {"id": key})
        assert answer.status_code == 201, answer.text
        plan = answer.json()
    elif way in ("transaction", "batch"):
        plan = client.get(ids_of(send(client, "POST", "", bundle(way, body)))[0]).json()
    else:
        named = body | {"identifier": [{"system": "urn:x", "value": key}]}
        headers = {"If-None-Exist": f"identifier=urn:x|{key}"} if way == "if-none-exist" else {}
        plan = created(send(client, "POST", "CarePlan", named, **headers))
    pinned = [f"{CANONICAL}/PlanDefinition/filing|1"]
    assert plan["instantiatesCanonical"] == pinned
    again = send(
        client, "PUT", f"CarePlan/{plan['id']}", plan | {"instantiatesCanonical": body["instantiatesCanonical"]}
    )
    assert (again.status_code, again.json()["instantiatesCanonical"]) == (200, pinned)
    found = client.get("CarePlan", params={"instantiates-canonical": pinned[0], "patient": patient["id"]}).json()
    assert plan["id"] in {one["id"] for one in matches_of(found)}


@pytest.mark.parametrize(
    ("named", "says"),
    [
        (("filing|7",), "version 1 is active"),
        (("nothing",), "No program is published as"),
        (("filing#part",), "names a part of a program"),
        (("filing", "tcm"), "one version of one program"),
        (("filing|x",), "No program is published as"),
    ],
    ids=["version", "program", "part", "two", "word"],
)
def test_a_plan_of_no_version_that_there_is_is_refused_whichever_way_it_comes(
    client: httpx.Client, patient: Body, named: tuple[str, ...], says: str
) -> None:
    body = plan_of(patient, instantiatesCanonical=[f"{CANONICAL}/PlanDefinition/{one}" for one in named])
    key = f"{patient['id']}-refused"
    for answer in (
        send(client, "POST", "CarePlan", body),
        send(client, "PUT", f"CarePlan/{key}", body | {"id": key}),
        send(client, "POST", "", bundle("transaction", body)),
    ):
        issue = issue_of(answer, 422)
        assert says in issue["details"]["text"]
        assert "instantiatesCanonical" in json.dumps(issue["expression"])
    assert not matches_of(client.get("CarePlan", params={"patient": patient["id"]}).json())


def test_a_client_that_files_its_work_after_its_plan_gets_none_of_it_twice(client: httpx.Client, patient: Body) -> None:
    plan = created(send(client, "POST", "CarePlan", plan_of(patient)))["id"]
    ref = f"CarePlan/{plan}"
    until(lambda: set(work_of(client, ref)) >= {"first", "second"}, "the work of the plan that came without any")
    mine = {
        code: created(send(client, "POST", "Task", task_of(patient, code, ref)))["id"] for code in ("first", "second")
    }
    work = work_of(client, ref)
    left = {code: [one["id"] for one in some if one["status"] == "requested"] for code, some in work.items()}
    assert left == {code: [id_] for code, id_ in mine.items()}
    assert {one["status"] for some in work.values() for one in some if one["id"] not in mine.values()} == {"cancelled"}


def test_a_plan_with_wrong_work_in_its_bundle_leaves_nothing_behind(client: httpx.Client, patient: Body) -> None:
    body = bundle("transaction", plan_of(patient), task_of(patient, "third", f"{NEXT}00"))
    issue = issue_of(send(client, "POST", "", body), 422)
    assert "first, second, flagged" in issue["details"]["text"]
    assert not matches_of(client.get("CarePlan", params={"patient": patient["id"]}).json())
    assert not matches_of(client.get("Task", params={"patient": patient["id"]}).json())


@pytest.mark.requirement(124)
@pytest.mark.parametrize("way", ["stage", "status", "both"])
def test_a_patch_of_the_stage_is_a_move_of_the_plan_with_all_that_follows(
    client: httpx.Client, plan: str, way: str
) -> None:
    before = client.get(plan).json()
    others = [one for one in before.get("extension", []) if one["url"] != PLAN_STAGE]
    stage = [{"url": PLAN_STAGE, "valueCode": "left"}] if way != "status" else []

    def operations(*further: Body) -> str:
        sent: list[Body] = [{"op": "add", "path": "/extension", "value": [*others, *stage, *further]}]
        sent += [{"op": "replace", "path": "/status", "value": "revoked"}] if way != "stage" else []
        return json.dumps(sent if stage or further else sent[1:])

    refused = client.patch(plan, content=operations(), headers=PATCH)
    issue_of(refused, 422)
    assert "moved-away" in refused.text, refused.text
    assert client.get(plan).json()["meta"]["versionId"] == before["meta"]["versionId"]
    reason = {"url": PLAN_REASON, "valueCodeableConcept": {"coding": [{"system": REASONS, "code": "moved-away"}]}}
    moved = created(client.patch(plan, content=operations(reason), headers=PATCH))
    stages = [one["valueCode"] for one in moved["extension"] if one["url"] == PLAN_STAGE]
    assert (moved["status"], stages) == ("revoked", ["left"])
    for some in work_of(client, plan).values():
        assert [one["status"] for one in some] == ["cancelled"]
    back = client.post(f"{plan}/$undo")
    assert (back.status_code, back.json()["status"]) == (200, "active")
    assert {one["status"] for some in work_of(client, plan).values() for one in some} == {"requested"}


def test_a_stage_that_there_is_not_or_that_does_not_fit_its_status_moves_nothing(
    client: httpx.Client, plan: str
) -> None:
    body = client.get(plan).json()
    others = [one for one in body.get("extension", []) if one["url"] != PLAN_STAGE]
    for stage, status in (("nowhere", "active"), ("finished", "revoked"), ("begun", "on-hold"), ("left", "draft")):
        asked = body | {"extension": [*others, {"url": PLAN_STAGE, "valueCode": stage}], "status": status}
        issue_of(send(client, "PUT", plan, asked), 422)
    assert client.get(plan).json()["meta"]["versionId"] == body["meta"]["versionId"]


@pytest.mark.requirement(130)
def test_what_a_plan_is_of_and_whose_it_is_stays(client: httpx.Client, corner: Corner, plan: str) -> None:
    other = corner.put("Patient", "other")
    for path, value in (
        ("/subject/reference", f"Patient/{other['id']}"),
        ("/instantiatesCanonical/0", f"{CANONICAL}/PlanDefinition/tcm"),
    ):
        operations = [{"op": "replace", "path": path, "value": value}]
        issue_of(client.patch(plan, content=json.dumps(operations), headers=PATCH), 422)


def test_taking_back_twice_takes_back_once(client: httpx.Client, plan: str) -> None:
    task = work_of(client, plan)["first"][0]
    url = f"Task/{task['id']}"
    created(send(client, "PUT", url, task | {"status": "completed", "businessStatus": {"coding": [{"code": "done"}]}}))
    assert created(client.post(f"{url}/$undo"))["status"] == "requested"
    again = client.post(f"{url}/$undo")
    assert "taken back already" in issue_of(again, 422)["details"]["text"]
    rows = [one["resource"]["status"] for one in client.get(f"{url}/_history").json()["entry"]]
    assert rows == ["requested", "completed", "requested"]


def test_of_many_who_take_back_at_once_one_does(client: httpx.Client, plan: str, at_once: AtOnce) -> None:
    task = work_of(client, plan)["first"][0]
    url = f"Task/{task['id']}"
    moved = created(send(client, "PUT", url, task | {"status": "cancelled", "statusReason": {"text": "x"}} | dropped()))
    match = {"If-Match": f'W/"{moved["meta"]["versionId"]}"'}
    answers = at_once(6, lambda _: client.post(f"{url}/$undo", headers=match))
    assert sorted(one.status_code for one in answers)[:2] != [200, 200], [one.text[:200] for one in answers]
    assert sum(one.status_code == 200 for one in answers) == 1
    assert {one.status_code for one in answers} <= {200, 409, 412, 422}
    assert client.get(url).json()["status"] == "requested"


def dropped() -> Body:
    return {"businessStatus": {"coding": [{"code": "dropped"}]}}


def test_of_two_who_move_one_task_at_once_each_is_told_what_became_of_it(
    client: httpx.Client, plan: str, at_once: AtOnce
) -> None:
    task = work_of(client, plan)["second"][0]
    url, match = f"Task/{task['id']}", {"If-Match": f'W/"{task["meta"]["versionId"]}"'}
    done = task | {"status": "completed", "businessStatus": {"coding": [{"code": "done"}]}}
    bodies = [done, task | {"status": "cancelled", "statusReason": {"text": "x"}} | dropped()] * 3
    answers = at_once(6, lambda place: send(client, "PUT", url, bodies[place], **match))
    won = [place for place, one in enumerate(answers) if one.status_code == 200]
    assert len(won) == 1, [one.status_code for one in answers]
    assert {one.status_code for one in answers} == {200, 412}, next(
        one.text for one in answers if one.status_code == 422
    )
    assert client.get(url).json()["status"] == bodies[won[0]]["status"]
    assert len(client.get(f"{url}/_history").json()["entry"]) == 2


def test_a_plan_that_ends_while_its_work_is_moved_leaves_none_of_it_open(
    client: httpx.Client, patient: Body, at_once: AtOnce
) -> None:
    for _ in range(3):
        tasks = [task_of(patient, code, f"{NEXT}00") for code in ("first", "second") * 3]
        plan, *work = ids_of(send(client, "POST", "", bundle("transaction", plan_of(patient), *tasks)))
        body = client.get(plan).json()
        reason = {"url": PLAN_REASON, "valueCodeableConcept": {"coding": [{"system": REASONS, "code": "moved-away"}]}}
        ended = body | {"status": "revoked", "extension": [*body.get("extension", []), reason]}
        bodies = [client.get(ref).json() | {"description": "touched"} for ref in work]

        def act(place: int, plan: str = plan, ended: Body = ended, bodies: list[Body] = bodies) -> httpx.Response:
            if place == 0:
                return send(client, "PUT", plan, ended)
            one = bodies[place - 1]
            return send(client, "PUT", f"Task/{one['id']}", one)

        answers = at_once(1 + len(work), act)
        assert {one.status_code for one in answers} <= {200, 409, 412, 422, 503}, [one.text[:200] for one in answers]
        if answers[0].status_code != 200:
            created(send(client, "PUT", plan, ended | {"meta": client.get(plan).json()["meta"]}))
        left = [client.get(ref).json()["status"] for ref in work]
        assert left == ["cancelled"] * len(work), [one.status_code for one in answers]


def test_each_flag_that_a_client_posts_is_an_exception_of_the_plan_and_is_worked_on_once(
    client: httpx.Client, patient: Body, plan: str
) -> None:
    flags = [
        {
            "resourceType": "Flag",
            "status": "active",
            "code": {"coding": [{"system": FLAG_SYSTEM, "code": code}]},
            "subject": {"reference": f"Patient/{patient['id']}"},
        }
        for code in EXCEPTIONS
    ]
    ids_of(send(client, "POST", "", bundle("transaction", *flags)))
    over = flags[0] | {"status": "inactive"}
    strange = flags[0] | {"code": {"coding": [{"system": "https://example.org/flags", "code": "withdrawn"}]}}
    ids_of(send(client, "POST", "", bundle("transaction", over, strange)))
    until(lambda: len(work_of(client, plan).get("flagged", [])) >= len(EXCEPTIONS), "the work of each exception")
    late = created(send(client, "POST", "Flag", flags[0]))
    until(lambda: len(work_of(client, plan)["flagged"]) > len(EXCEPTIONS), "the work of a flag put up again")
    assert len(work_of(client, plan)["flagged"]) == len(EXCEPTIONS) + 1, late["id"]


HOSTILE: list[tuple[str, Any]] = [
    ("a task that is a path", [{"name": "task", "valueReference": {"reference": "Task/../../Patient/x"}}, "to"]),
    ("a task elsewhere", [{"name": "task", "valueReference": {"reference": "https://else.example/fhir/Task/x"}}, "to"]),
    ("a task with no id", [{"name": "task", "valueReference": {"reference": "Task/"}}, "to"]),
    ("a task by its name alone", [{"name": "task", "valueReference": {"display": "the first"}}, "to"]),
    ("a version beyond all numbers", [{"name": "task", "valueString": "Task/x/_history/" + "9" * 4000}, "to"]),
    ("a version in other digits", [{"name": "task", "valueString": "Task/x/_history/٣"}, "to"]),
    ("a fragment", [{"name": "task", "valueReference": {"reference": "#x"}}, "to"]),
    ("a status that is none", ["task", {"name": "to", "valueInteger": 5}]),
    ("an empty status", ["task", {"name": "to"}]),
    ("two steps", ["task", "to", {"name": "priority", "valueCode": "urgent"}]),
    ("a status twice", ["task", "to", "to"]),
    ("a parameter within a parameter", ["task", {"name": "to", "part": [{"name": "to", "valueCode": "done"}]}]),
    ("a resource for a task", [{"name": "task", "resource": {"resourceType": "Task", "id": "x"}}, "to"]),
    ("a field without a path", ["task", "to", {"name": "field", "part": [{"name": "value", "valueString": "x"}]}]),
    ("too many", [*({"name": "task", "valueString": f"Task/{n}"} for n in range(201)), "to"]),
]


@pytest.mark.parametrize("rows", [rows for _, rows in HOSTILE], ids=[name.replace(" ", "-") for name, _ in HOSTILE])
def test_a_hostile_step_on_many_changes_nothing_and_is_told_so(
    client: httpx.Client, plan: str, rows: list[Any]
) -> None:
    task = work_of(client, plan)["first"][0]
    known = {
        "task": {"name": "task", "valueReference": {"reference": f"Task/{task['id']}"}},
        "to": {"name": "to", "valueCode": "done"},
    }
    body = {
        "resourceType": "Parameters",
        "parameter": [known.get(one, one) if isinstance(one, str) else one for one in rows],
    }
    answer = send(client, "POST", "Task/$move", body)
    if answer.status_code == 200:
        results = [
            {part["name"]: part.get("valueCode", "") for part in one["part"]} for one in answer.json()["parameter"]
        ]
        assert {one["outcome"] for one in results} == {"failed"}
    else:
        assert answer.status_code in (400, 413, 422), answer.text
        issue_of(answer, answer.status_code)
    assert client.get(f"Task/{task['id']}").json()["meta"]["versionId"] == task["meta"]["versionId"]


@pytest.mark.parametrize(
    ("path", "said"),
    [("status", "completed"), ("id", "other"), ("meta.versionId", "99"), ("for.reference", "Patient/other"),
     ("businessStatus", "x"), ("extension", "x"), ("note", "x"), ("..", "x"), ("a" * 5000, "x"), ("basedOn", "CarePlan/x"),
     ("resourceType", "Patient"), ("instantiatesCanonical", "x"), ("focus", "Patient/x"), ("location", "Location/x"), ("\u0000", "x")],
)  # fmt: skip
def test_a_field_of_a_step_on_many_cannot_reach_what_work_keeps(
    client: httpx.Client, plan: str, path: str, said: str
) -> None:
    task = work_of(client, plan)["first"][0]
    parts = [{"name": "path", "valueString": path}, {"name": "value", "valueString": said}]
    rows = [
        {"name": "task", "valueReference": {"reference": f"Task/{task['id']}"}},
        {"name": "to", "valueCode": "done"},
        {"name": "field", "part": parts},
    ]
    answer = send(client, "POST", "Task/$move", {"resourceType": "Parameters", "parameter": rows})
    assert answer.status_code in (200, 400, 422), answer.text[:300]
    now = client.get(f"Task/{task['id']}").json()
    kept = ("id", "for", "basedOn", "instantiatesCanonical", "intent", "authoredOn", "code")
    assert [now.get(name) for name in kept] == [task.get(name) for name in kept]
    assert now["resourceType"] == "Task"
    assert now["meta"]["versionId"] == ("2" if path in ("focus", "location") else "1"), answer.text
