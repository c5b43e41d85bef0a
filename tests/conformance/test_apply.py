"""$apply and $instantiate over HTTP: what is answered, what is written and what is refused.

https://hl7.org/fhir/R4/plandefinition-operation-apply.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.conformance.talk import JSON, Body, Corner, created, issue_of, matches_of
from tests.fhir.definitions import copied, definitions
from tests.peers.validator.run import validate

DEFINITIONS = definitions()


def parameters(*values: tuple[str, Any]) -> Body:
    def row(name: str, value: Any) -> Body:
        if isinstance(value, dict) and "resourceType" in value:
            return {"name": name, "resource": value}
        kind = "valueCodeableConcept" if isinstance(value, dict) else "valueString"
        return {"name": name, kind: value}

    return {"resourceType": "Parameters", "parameter": [row(name, value) for name, value in values]}


@pytest.fixture
def patient(corner: Corner) -> str:
    return f"Patient/{corner.put('Patient', 'p', birthDate='1950-01-31', gender='female')['id']}"


def published(corner: Corner, **more: Any) -> Body:
    url = f"https://example.org/{corner.name}"
    call = {"title": "Call", "participant": [{"type": "practitioner", "role": {"text": "Nurse"}}]}
    visit = {"title": "Visit", "relatedAction": [{"actionId": "call", "relationship": "after"}]}
    fixed: dict[str, Any] = {
        "url": url,
        "version": "1",
        "status": "active",
        "title": "Follow-up",
        "goal": [{"description": {"text": "Be well"}}],
        "action": [{"id": "call", **call}, visit],
    }
    return corner.put("PlanDefinition", "plan", **(fixed | more))


def everything(client: httpx.Client) -> int:
    return int(client.get("_history", params={"_count": 1}).json()["total"])


@pytest.mark.requirement(135)
@pytest.mark.parametrize("program", ["tcm", "ccm"])
def test_the_plan_of_a_program_is_told_without_being_begun(
    client: httpx.Client, corner: Corner, patient: str, program: str
) -> None:
    before = client.get("CarePlan", params={"patient": patient, "_summary": "count"}).json()["total"]
    answer = client.get(f"PlanDefinition/{program}-1/$apply", params={"subject": patient})
    plan = created(answer)
    assert (plan["resourceType"], plan["subject"], plan["status"]) == ("CarePlan", {"reference": patient}, "draft")
    assert "id" not in plan
    tasks = [one for one in plan["contained"] if one["resourceType"] == "Task"]
    assert tasks
    assert all(one["for"] == {"reference": patient} and one["performerType"] for one in tasks)
    assert all("end" in one["restriction"]["period"] for one in tasks)
    found = client.get("CarePlan", params={"patient": patient, "_summary": "count"}).json()["total"]
    assert found == before == 0
    assert client.get("Task", params={"patient": patient, "_summary": "count"}).json()["total"] == 0


@pytest.mark.requirement(135)
@pytest.mark.parametrize("name", sorted(n for n, one in DEFINITIONS.items() if one["resourceType"] == "PlanDefinition"))
def test_definitions_of_others_are_applied_as_they_come(one_client: httpx.Client, name: str) -> None:
    corner = Corner(one_client)
    patient = f"Patient/{corner.put('Patient', 'p')['id']}"
    body = parameters(("subject", patient), ("planDefinition", copied(DEFINITIONS[name])))
    plan = created(one_client.post("PlanDefinition/$apply", content=json.dumps(body), headers=JSON))
    assert plan["resourceType"] == "CarePlan"


@pytest.mark.peer
@pytest.mark.requirement(119, 135)
def test_what_plans_give_is_valid_by_the_judgement_of_hl7(one_client: httpx.Client, tmp_path: Path) -> None:
    corner = Corner(one_client)
    patient = f"Patient/{corner.put('Patient', 'p', birthDate='1950-01-31')['id']}"
    for program in ("tcm-1", "ccm-1"):
        plan = created(one_client.get(f"PlanDefinition/{program}/$apply", params={"subject": patient}))
        (tmp_path / f"{program}.json").write_text(json.dumps(plan))
    for name in ("PlanDefinition-protocol-example-0", "PlanDefinition-opioidcds-10-0", "PlanDefinition-KDN5-0"):
        body = parameters(("subject", patient), ("planDefinition", copied(DEFINITIONS[name])))
        plan = created(one_client.post("PlanDefinition/$apply", content=json.dumps(body), headers=JSON))
        (tmp_path / f"{name}.json").write_text(json.dumps(plan))
    told = [one for one in validate([tmp_path]) if one.wrong]
    assert told == []


@pytest.mark.requirement(135)
def test_the_ways_to_name_a_definition_and_its_parameters_are_one(
    client: httpx.Client, corner: Corner, patient: str
) -> None:
    definition = published(corner)
    url = definition["url"]
    by_id = client.get(f"PlanDefinition/{definition['id']}/$apply", params={"subject": patient})
    in_full = client.get(f"PlanDefinition/{definition['id']}/$apply", params={"subject": f"{client.base_url}{patient}"})
    posted = parameters(("subject", patient), ("url", f"{url}|1"), ("userType", {"text": "nurse"}))
    by_url = client.post("PlanDefinition/$apply", content=json.dumps(posted), headers=JSON)
    plans = [created(one) for one in (by_id, in_full, by_url)]
    titles = [[one["code"]["text"] for one in plan["contained"] if one["resourceType"] == "Task"] for plan in plans]
    assert titles == [["Call", "Visit"]] * 3


@pytest.mark.requirement(135)
def test_several_subjects_get_a_plan_each(client: httpx.Client, corner: Corner, patient: str) -> None:
    other = f"Patient/{corner.put('Patient', 'q')['id']}"
    definition = published(corner)
    body = parameters(("subject", patient), ("subject", other))
    answer = client.post(f"PlanDefinition/{definition['id']}/$apply", content=json.dumps(body), headers=JSON)
    bundle = created(answer)
    assert [one["resource"]["subject"]["reference"] for one in bundle["entry"]] == [patient, other]


@pytest.mark.requirement(135)
def test_an_activity_is_applied_by_address_and_by_url(client: httpx.Client, corner: Corner, patient: str) -> None:
    url = f"https://example.org/activity/{corner.name}"
    members = {"url": url, "status": "active", "kind": "ServiceRequest", "code": {"text": "Blood count"}}
    stored = corner.put("ActivityDefinition", "a", **members)
    for answer in (
        client.get(f"ActivityDefinition/{stored['id']}/$apply", params={"subject": patient}),
        client.post("ActivityDefinition/$apply", params={"subject": patient, "url": url}),
    ):
        request = created(answer)
        assert (request["resourceType"], request["subject"]) == ("ServiceRequest", {"reference": patient})
        assert request["instantiatesCanonical"] == [url]
    assert matches_of(client.get("ServiceRequest", params={"patient": patient}).json()) == []


@pytest.mark.requirement(135)
@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([], 400),
        ([("subject", "not a reference")], 400),
        ([("subject", "Patient/nobody-here")], 422),
        ([("subject", "Practitioner/nobody-here")], 422),
        ([("subject", "PATIENT"), ("noSuchParameter", "a")], 400),
        ([("subject", "PATIENT"), ("encounter", "Encounter/a"), ("encounter", "Encounter/b")], 400),
        ([("subject", f"Patient/p{number}") for number in range(60)], 400),
    ],
)
def test_what_cannot_be_applied_is_refused(
    client: httpx.Client, corner: Corner, patient: str, values: list[tuple[str, Any]], status: int
) -> None:
    definition = published(corner)
    body = parameters(*((name, patient if value == "PATIENT" else value) for name, value in values))
    issue_of(client.post(f"PlanDefinition/{definition['id']}/$apply", content=json.dumps(body), headers=JSON), status)


def test_a_definition_that_is_not_there_or_not_named_is_refused(client: httpx.Client, patient: str) -> None:
    issue_of(client.get("PlanDefinition/no-such-plan/$apply", params={"subject": patient}), 404)
    issue_of(client.post("PlanDefinition/$apply", params={"subject": patient}), 400)
    issue_of(client.post("PlanDefinition/$apply", params={"subject": patient, "url": "https://example.org/none"}), 422)
    issue_of(client.post("PlanDefinition/$apply", content=b"{", headers=JSON), 400)
    issue_of(client.post("PlanDefinition/$apply", content=b'{"resourceType":"Patient"}', headers=JSON), 400)
    issue_of(client.post("Task/$apply"), 404)
    assert client.delete("PlanDefinition/tcm-1/$apply").status_code == 405


def instantiated(client: httpx.Client, definition: str, subject: str, key: str) -> httpx.Response:
    body = parameters(("subject", subject), ("key", key))
    return client.post(f"PlanDefinition/{definition}/$instantiate", content=json.dumps(body), headers=JSON)


@pytest.mark.requirement(136)
def test_instantiating_writes_the_plan_and_its_work_once_for_each_key(
    client: httpx.Client, corner: Corner, patient: str
) -> None:
    definition = published(corner)
    key = f"{corner.name}/1, |$"
    first = instantiated(client, definition["id"], patient, key)
    assert first.status_code == 201, first.text
    plan = first.json()
    assert first.headers["Location"].endswith(f"CarePlan/{plan['id']}/_history/1")
    assert plan["instantiatesCanonical"] == [f"{definition['url']}|1"]
    tasks = matches_of(client.get("Task", params={"based-on": f"CarePlan/{plan['id']}"}).json())
    assert {one["code"]["text"] for one in tasks} == {"Call", "Visit"}
    assert {one["status"] for one in tasks} == {"requested"}
    assert {one["groupIdentifier"]["value"] for one in tasks} == {key}
    named = {one["reference"]["reference"] for one in plan["activity"]}
    assert named == {f"Task/{one['id']}" for one in tasks}
    assert all("detail" not in one for one in plan["activity"])
    goals = [client.get(str(one["reference"])).json()["description"]["text"] for one in plan["goal"]]
    assert goals == ["Be well"]
    proof = client.get("Provenance", params={"target": f"CarePlan/{plan['id']}"}).json()
    assert proof["total"] == 1
    again = instantiated(client, definition["id"], patient, key)
    assert (again.status_code, again.json()["id"], again.headers["ETag"]) == (200, plan["id"], 'W/"1"')
    assert client.get("CarePlan", params={"patient": patient, "_summary": "count"}).json()["total"] == 1


@pytest.mark.requirement(136)
def test_one_key_at_the_same_moment_makes_one_plan(
    client: httpx.Client,
    corner: Corner,
    patient: str,
    at_once: Callable[[int, Callable[[int], httpx.Response]], list[httpx.Response]],
) -> None:
    definition = published(corner)
    answers = at_once(6, lambda _: instantiated(client, definition["id"], patient, corner.name))
    assert sorted(one.status_code for one in answers) == [200] * 5 + [201]
    assert len({one.json()["id"] for one in answers}) == 1
    assert client.get("Task", params={"patient": patient, "_summary": "count"}).json()["total"] == 2


@pytest.mark.requirement(136)
def test_a_program_is_instantiated_as_an_enrolment_that_its_rules_follow(
    client: httpx.Client, corner: Corner, patient: str
) -> None:
    first = instantiated(client, "tcm-1", patient, corner.name)
    assert first.status_code == 201, first.text
    tasks = matches_of(client.get("Task", params={"patient": patient}).json())
    assert tasks
    assert all("businessStatus" in one for one in tasks)
    assert instantiated(client, "tcm-1", patient, corner.name).status_code == 200
    issue_of(instantiated(client, "tcm-1", patient, f"{corner.name}-again"), 422)


@pytest.mark.requirement(136)
def test_a_key_that_stands_for_something_else_is_refused(client: httpx.Client, corner: Corner, patient: str) -> None:
    definition = published(corner)
    other = f"Patient/{corner.put('Patient', 'q')['id']}"
    assert instantiated(client, definition["id"], patient, corner.name).status_code == 201
    issue_of(instantiated(client, definition["id"], other, corner.name), 409)
    issue_of(instantiated(client, "ccm-1", patient, corner.name), 409)


@pytest.mark.requirement(136)
@pytest.mark.parametrize("key", ["", " ", "k" * 300])
def test_a_key_is_needed(client: httpx.Client, corner: Corner, patient: str, key: str) -> None:
    definition = published(corner)
    body = parameters(("subject", patient), *([("key", key)] if key.strip() else []))
    answer = client.post(f"PlanDefinition/{definition['id']}/$instantiate", content=json.dumps(body), headers=JSON)
    issue_of(answer, 400)


@pytest.mark.requirement(136)
def test_nothing_is_written_when_a_part_cannot_be(client: httpx.Client, corner: Corner, patient: str) -> None:
    draft = published(corner, status="draft", url=f"https://example.org/draft/{corner.name}")
    issue_of(instantiated(client, draft["id"], patient, corner.name), 422)
    definition = corner.put(
        "PlanDefinition",
        "bad",
        url=f"https://example.org/bad/{corner.name}",
        status="active",
        action=[{"title": "Good"}, {"title": "Bad", "definitionUri": "https://example.org/x"}],
    )
    nobody = f"Patient/{uuid4()}"
    issue_of(instantiated(client, definition["id"], nobody, corner.name), 422)
    assert client.get("CarePlan", params={"patient": patient, "_summary": "count"}).json()["total"] == 0


@pytest.mark.requirement(138)
def test_a_published_definition_keeps_its_content_and_plans_keep_their_version(
    client: httpx.Client, corner: Corner, patient: str
) -> None:
    definition = published(corner)
    plan = instantiated(client, definition["id"], patient, corner.name).json()
    where = f"PlanDefinition/{definition['id']}"
    changed = definition | {"title": "Another"}
    issue = issue_of(client.put(where, content=json.dumps(changed), headers=JSON), 422)
    assert issue["expression"] == ["PlanDefinition.title"]
    patch = json.dumps([{"op": "replace", "path": "/version", "value": "2"}])
    issue_of(client.patch(where, content=patch, headers={"Content-Type": "application/json-patch+json"}), 422)
    retired = created(client.put(where, content=json.dumps(definition | {"status": "retired"}), headers=JSON))
    assert retired["status"] == "retired"
    issue_of(client.put(where, content=json.dumps(definition), headers=JSON), 422)
    issue_of(instantiated(client, definition["id"], patient, f"{corner.name}-2"), 422)
    assert client.get(f"CarePlan/{plan['id']}").json()["instantiatesCanonical"] == [f"{definition['url']}|1"]


@pytest.mark.requirement(1, 135, 136)
def test_every_operation_of_the_statement_has_a_definition_here(one_client: httpx.Client) -> None:
    rest = one_client.get("metadata").json()["rest"][0]
    named = {one["definition"] for part in [rest, *rest["resource"]] for one in part.get("operation", [])}
    assert len(named) >= 4
    for url in sorted(named):
        (found,) = matches_of(one_client.get("OperationDefinition", params={"url": url}).json())
        assert found["url"] == url
        assert one_client.get(f"OperationDefinition/{found['id']}").status_code == 200
