"""$validate on types and resources: shape, profiles, and what a create, update or delete would be refused for.

https://hl7.org/fhir/R4/resource-operation-validate.html
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.conformance.talk import JSON, Corner, created, issue_of, matches_of

TEXT = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">words</div>'}
TASK = {"resourceType": "Task", "text": TEXT, "status": "requested", "intent": "order"}
BACKWARDS = {"start": "2026-02-01", "end": "2026-01-01"}
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
PLAN = {
    "resourceType": "CarePlan",
    "text": TEXT,
    "status": "active",
    "intent": "plan",
    "category": [
        {"coding": [{"system": "http://hl7.org/fhir/us/core/CodeSystem/careplan-category", "code": "assess-plan"}]}
    ],
    "subject": {"reference": "Patient/p1"},
}


def ask(client: httpx.Client, path: str, body: Any = None, **parameters: str) -> httpx.Response:
    content = None if body is None else json.dumps(body)
    return client.post(path, content=content, params=parameters, headers=JSON if content else None)


def wrapped(resource: Any = None, **parameters: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [{"name": "resource", "resource": resource}] if resource else []
    rows += [
        {"name": name, ("valueUri" if name == "profile" else "valueCode"): text} for name, text in parameters.items()
    ]
    return {"resourceType": "Parameters", "parameter": rows}


def is_fine(answer: httpx.Response) -> bool:
    issue = issue_of(answer, 200)
    return (issue["severity"], issue["code"]) == ("information", "informational")


def errors(answer: httpx.Response) -> list[str]:
    issue_of(answer, 200)
    return [str(one.get("expression", [""])[0]) for one in answer.json()["issue"] if one["severity"] == "error"]


def test_a_right_resource_is_all_ok_raw_and_as_a_parameter(client: httpx.Client) -> None:
    assert is_fine(ask(client, "/Task/$validate", TASK))
    assert is_fine(ask(client, "/Task/$validate", wrapped(TASK)))
    assert is_fine(ask(client, "/Parameters/$validate", wrapped(mode="create")))


def test_a_wrong_resource_is_told_with_the_places_and_the_answer_is_still_200(client: httpx.Client) -> None:
    wrong = {**TASK, "status": "no-such-code", "nonsense": 1, "for": {"reference": "Medication/1"}, "priority": []}
    for body in (wrong, wrapped(wrong)):
        found = errors(ask(client, "/Task/$validate", body))
        assert {"Task.status", "Task.priority"} <= set(found)
        assert len(found) >= 3
    assert errors(ask(client, "/Task/$validate", {"resourceType": "Task"})) == ["Task.status", "Task.intent"]


def test_a_broken_invariant_is_told_by_its_place(client: httpx.Client) -> None:
    body = {**TASK, "executionPeriod": BACKWARDS}
    assert errors(ask(client, "/Task/$validate", body)) == ["Task.executionPeriod"]
    detail = {"reference": {"reference": "Task/1"}, "detail": {"status": "scheduled"}}
    assert errors(ask(client, "/CarePlan/$validate", {**PLAN, "activity": [detail]})) == ["CarePlan.activity[0]"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/Task/$validate", PLAN),
        ("/Task/$validate", {"resourceType": "Nonsense"}),
        ("/Task/$validate", []),
        ("/Task/$validate", "words"),
        ("/Task/$validate", wrapped()),
        ("/Task/$validate", wrapped(mode="create")),
        ("/Task/$validate", wrapped(TASK, mode="nonsense")),
        ("/Task/$validate", wrapped(TASK, mode="update")),
        ("/Task/$validate", wrapped(TASK, mode="delete")),
        ("/Task/$validate", wrapped(TASK, mode="profile")),
        ("/Task/$validate", wrapped(TASK, profile="http://example.org/nonsense")),
        ("/Task/$validate", {"resourceType": "Parameters", "parameter": {}}),
        ("/Task/$validate", {"resourceType": "Parameters", "parameter": ["x"]}),
        ("/Task/$validate", {"resourceType": "Parameters", "parameter": [{"name": "mode", "valueBoolean": True}]}),
        ("/Task/$validate", {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": "x"}]}),
    ],
)
def test_what_cannot_be_validated_at_all_is_400(client: httpx.Client, path: str, body: Any) -> None:
    issue_of(ask(client, path, body), 400)


def test_an_unknown_profile_is_400_and_not_found_and_the_known_ones_are_named(client: httpx.Client) -> None:
    answer = ask(client, "/CarePlan/$validate", PLAN, profile="http://example.org/nonsense")
    issue = issue_of(answer, 400)
    assert issue["code"] == "not-found"
    assert f"{US_CORE}careplan|6.1.0" in issue["diagnostics"]
    issue_of(ask(client, "/CarePlan/$validate", PLAN, profile=f"{US_CORE}careplan|3.1.1"), 400)


def test_other_methods_types_and_bodies_are_refused_as_everywhere(client: httpx.Client) -> None:
    issue_of(client.get("/Task/$validate"), 405)
    issue_of(client.post("/Nonsense/$validate", json=TASK), 404)
    issue_of(client.get("/Task/no-such-task/$validate"), 404)
    issue_of(client.post("/Task/$validate", content="<Task/>", headers={"Content-Type": "application/fhir+xml"}), 415)
    issue_of(
        client.post("/Task/$validate", content='{"resourceType":"Task","status":"x","status":"y"}', headers=JSON), 400
    )


@pytest.mark.requirement(119, 120)
def test_a_profile_of_us_core_is_checked_when_asked_for_and_when_claimed(client: httpx.Client) -> None:
    for profile in (
        f"{US_CORE}careplan",
        f"{US_CORE}careplan|6.1.0",
        "http://hl7.org/fhir/StructureDefinition/CarePlan",
    ):
        assert is_fine(ask(client, "/CarePlan/$validate", PLAN, profile=profile))
        assert is_fine(ask(client, "/CarePlan/$validate", wrapped(PLAN, profile=profile, mode="profile")))
    plain = {name: value for name, value in PLAN.items() if name != "category"}
    assert is_fine(ask(client, "/CarePlan/$validate", plain))
    assert set(errors(ask(client, "/CarePlan/$validate", plain, profile=f"{US_CORE}careplan"))) == {"CarePlan.category"}
    claimed = {**plain, "meta": {"profile": [f"{US_CORE}careplan"]}}
    assert set(errors(ask(client, "/CarePlan/$validate", claimed))) == {"CarePlan.category"}
    assert errors(ask(client, "/Task/$validate", TASK, profile=f"{US_CORE}careplan")) == [""]


def test_a_claim_of_an_unknown_profile_is_a_warning(client: httpx.Client) -> None:
    answer = ask(client, "/Task/$validate", {**TASK, "meta": {"profile": ["http://example.org/nonsense"]}})
    issue = issue_of(answer, 200)
    assert (issue["severity"], issue["code"], issue["expression"]) == ("warning", "not-found", ["Task.meta.profile[0]"])


def test_good_practice_is_a_warning_and_comes_after_errors(client: httpx.Client) -> None:
    plain = {name: value for name, value in TASK.items() if name != "text"}
    answer = ask(client, "/Task/$validate", plain)
    issue = issue_of(answer, 200)
    assert (issue["severity"], issue["expression"]) == ("warning", ["Task"])
    wrong = ask(client, "/Task/$validate", {**plain, "executionPeriod": BACKWARDS}).json()["issue"]
    assert [one["severity"] for one in wrong] == ["error", "warning"]


def test_a_stored_resource_is_validated_by_get_and_post(corner: Corner) -> None:
    task = corner.put("Task", "t", status="requested", intent="order", text=TEXT)
    path = f"/Task/{task['id']}/$validate"
    assert is_fine(corner.client.get(path))
    assert is_fine(ask(corner.client, path))
    assert is_fine(ask(corner.client, path, wrapped(mode="delete")))
    assert is_fine(ask(corner.client, path, mode="update"))
    plan = corner.put("CarePlan", "c", status="active", intent="plan", subject={"reference": "Patient/p1"}, text=TEXT)
    answer = corner.client.get(f"/CarePlan/{plan['id']}/$validate", params={"profile": f"{US_CORE}careplan"})
    assert set(errors(answer)) == {"CarePlan.category"}


def test_an_update_is_rehearsed_against_the_stored_resource(corner: Corner) -> None:
    task = corner.put("Task", "t", status="completed", intent="order", text=TEXT)
    path = f"/Task/{task['id']}/$validate"
    assert errors(ask(corner.client, path, wrapped({**TASK, "id": "another"}, mode="update"))) == ["Task.id"]
    issue = issue_of(ask(corner.client, path, wrapped({**task, "status": "draft"}, mode="update")), 200)
    assert (issue["severity"], issue["code"]) == ("error", "business-rule")
    assert corner.client.get(f"/Task/{task['id']}").json() == task


def test_a_create_that_the_rules_refuse_is_told_and_nothing_is_stored_either_way(corner: Corner) -> None:
    named = {**TASK, "instantiatesCanonical": "https://fhir-tracker.example/PlanDefinition/none"}
    marked = {**TASK, "meta": {"tag": [{"system": "http://example.org/rehearsed", "code": corner.name}]}}
    assert is_fine(ask(corner.client, "/Task/$validate", wrapped(marked, mode="create")))
    found = corner.client.get("/Task", params={"_tag": f"http://example.org/rehearsed|{corner.name}"})
    assert matches_of(found.json()) == []
    issue_of(ask(corner.client, "/Task/$validate", wrapped(named, mode="create")), 200)
    wrong = issue_of(ask(corner.client, "/Provenance/$validate", wrapped(provenance(), mode="create")), 200)
    assert (wrong["severity"], wrong["code"]) == ("error", "not-supported")


def test_a_delete_is_rehearsed_and_the_resource_stays(corner: Corner) -> None:
    task = corner.put("Task", "t", status="requested", intent="order", text=TEXT)
    assert is_fine(ask(corner.client, f"/Task/{task['id']}/$validate", wrapped(mode="delete")))
    assert corner.client.get(f"/Task/{task['id']}").status_code == 200
    created(corner.client.put(f"/Task/{task['id']}", content=json.dumps({**task, "priority": "stat"}), headers=JSON))
    corner.client.delete(f"/Task/{task['id']}")
    issue_of(ask(corner.client, f"/Task/{task['id']}/$validate", wrapped(mode="delete")), 410)


def test_an_entry_of_a_batch_may_validate_but_not_rehearse(corner: Corner) -> None:
    entries = [
        {"resource": TASK, "request": {"method": "POST", "url": "Task/$validate"}},
        {"resource": {"resourceType": "Task"}, "request": {"method": "POST", "url": "Task/$validate"}},
        {"resource": TASK, "request": {"method": "POST", "url": "Task/$validate?mode=create"}},
    ]
    answer = ask(corner.client, "", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert answer.status_code == 200, answer.text[:400]
    statuses = [one["response"]["status"][:3] for one in answer.json()["entry"]]
    assert statuses == ["200", "200", "400"]


@pytest.mark.requirement(1)
def test_the_statement_lists_the_operation_on_every_type(one_client: httpx.Client) -> None:
    for resource in one_client.get("/metadata").json()["rest"][0]["resource"]:
        assert {
            "name": "validate",
            "definition": "http://hl7.org/fhir/OperationDefinition/Resource-validate",
        } in resource["operation"], resource["type"]


def provenance() -> dict[str, Any]:
    return {
        "resourceType": "Provenance",
        "text": TEXT,
        "target": [{"reference": "Task/1"}],
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"display": "Synthetic"}}],
    }
