"""What US Core asks of care plans, care teams and goals: what the tracker makes itself, and what clients keep here.

https://hl7.org/fhir/us/core/StructureDefinition-us-core-careplan.html
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.server import Tracker, running_tracker
from tests.conformance.stock import coded
from tests.conformance.talk import JSON, Corner, created, issue_of, matches_of
from tests.peers.validator.run import running_validator

PATCH = {"Content-Type": "application/json-patch+json"}
RING = Path(__file__).with_name("ring.yaml")
DEFINITIONS = Path(__file__).resolve().parents[2] / "fixtures" / "us-core" / "definitions"
PROFILE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
CATEGORY = "http://hl7.org/fhir/us/core/CodeSystem/careplan-category|assess-plan"
SNOMED = "http://snomed.info/sct"
DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p>Walk every day</p></div>'


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server on which the program Ring has enrolled one made-up patient."""
    folder = tmp_path_factory.mktemp("us-core")
    env = {"FHIR_TRACKER_SWEEP_INTERVAL": "1s"}
    with running_tracker(f"sqlite:///{folder / 'tracker.db'}", folder, "--open", env=env) as tracker:
        _publish(tracker)
        with httpx.Client(base_url=tracker.fhir, timeout=60, trust_env=False) as client:
            _discharge(client)
            yield client


def _publish(tracker: Tracker) -> None:
    program = Path(sys.executable).parent / "fhir-tracker"
    command = [str(program), "program", "publish", str(RING), "--database", tracker.database]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)


def _discharge(client: httpx.Client) -> None:
    end = datetime.now(UTC) - timedelta(days=3)
    name = {"family": "Synthetic", "given": ["Test"]}
    identifier = {"system": "http://example.org/mrn", "value": "1"}
    put(client, "Patient", "p1", name=[name], gender="female", identifier=[identifier])
    put(
        client,
        "Encounter",
        "e1",
        status="finished",
        **{"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"}},
        subject={"reference": "Patient/p1"},
        period={"start": (end - timedelta(days=2)).isoformat(), "end": end.isoformat()},
    )
    deadline = time.monotonic() + 240
    while not any("ring" in str(one) for one in matches_of(client.get("/CarePlan?patient=p1").json())):
        assert time.monotonic() < deadline, "the patient was not enrolled"
        time.sleep(0.3)


def put(client: httpx.Client, type_: str, id_: str, **members: Any) -> dict[str, Any]:
    body = {"resourceType": type_, "id": id_, **members}
    return created(client.put(f"/{type_}/{id_}", content=json.dumps(body), headers=JSON))


def plan_of(client: httpx.Client) -> dict[str, Any]:
    plans = matches_of(client.get(f"/CarePlan?patient=p1&category={CATEGORY}&status=active").json())
    (plan,) = [one for one in plans if "/ring|" in one["instantiatesCanonical"][0]]
    return plan


def words(plan: dict[str, Any]) -> set[str]:
    """The texts in the narrative of a plan."""
    return set(re.findall(r">([^<>]+)<", plan["text"]["div"]))


def own(corner: Corner) -> dict[str, str]:
    """A patient, a nurse and her role, as references."""
    ids = {
        "patient": corner.put("Patient", "p", name=[{"family": "Synthetic"}])["id"],
        "nurse": corner.put("Practitioner", "n", name=[{"family": "Nurse"}])["id"],
    }
    refs = {"patient": f"Patient/{ids['patient']}", "nurse": f"Practitioner/{ids['nurse']}"}
    role = corner.put("PractitionerRole", "r", practitioner={"reference": refs["nurse"]})
    return refs | {"role": f"PractitionerRole/{role['id']}"}


def team(corner: Corner, refs: dict[str, str]) -> dict[str, Any]:
    role = [coded(f"{SNOMED}|224535009", text="Registered nurse")]
    members = [{"role": role, "member": {"reference": refs[name]}} for name in ("nurse", "role")]
    return corner.put("CareTeam", "team", status="active", subject={"reference": refs["patient"]}, participant=members)


def goal(corner: Corner, refs: dict[str, str], short: str = "goal", **members: Any) -> dict[str, Any]:
    given = {
        "lifecycleStatus": "active",
        "description": {"text": "Walk"},
        "subject": {"reference": refs["patient"]},
        "startDate": "2026-01-01",
        "target": [{"dueDate": "2026-12-31"}],
    }
    return corner.put("Goal", short, **(given | members))


@pytest.mark.requirement(119)
def test_a_plan_of_the_tracker_says_in_words_what_it_is(enrolled: httpx.Client) -> None:
    plan = plan_of(enrolled)
    assert plan["text"]["status"] in ("generated", "additional")
    assert re.search(r">[^<\s]", plan["text"]["div"])
    assert {"First call", "Second call"} <= words(plan)
    assert (plan["status"], plan["intent"], plan["subject"]) == ("active", "plan", {"reference": "Patient/p1"})


@pytest.mark.requirement(119)
def test_the_words_of_a_plan_follow_what_a_rule_adds_to_it(enrolled: httpx.Client) -> None:
    deadline = time.monotonic() + 240
    while len(plan_of(enrolled)["activity"]) < 3:
        assert time.monotonic() < deadline, "the rule made no task"
        time.sleep(0.3)
    plan = plan_of(enrolled)
    assert {"First call", "Second call", "Send a letter"} <= words(plan)
    assert plan["text"]["status"] == "generated"


@pytest.mark.requirement(9, 119)
def test_the_words_of_a_plan_follow_a_patch(enrolled: httpx.Client) -> None:
    plan = plan_of(enrolled)
    operations = [{"op": "add", "path": "/description", "value": "Looks after <her> at home"}]
    answer = enrolled.patch(f"/CarePlan/{plan['id']}", content=json.dumps(operations), headers=PATCH)
    told = created(answer)["text"]
    assert told["status"] == "generated"
    assert "Looks after &lt;her&gt; at home" in told["div"]
    assert plan_of(enrolled)["text"] == told


@pytest.mark.peer
@pytest.mark.requirement(119)
def test_the_validator_finds_the_plans_us_core_before_and_after_a_patch(enrolled: httpx.Client) -> None:
    plan = plan_of(enrolled)
    operations = [{"op": "add", "path": "/note", "value": [{"text": "Told on the phone"}]}]
    enrolled.patch(f"/CarePlan/{plan['id']}", content=json.dumps(operations), headers=PATCH)
    versions = [entry["resource"] for entry in enrolled.get(f"/CarePlan/{plan['id']}/_history").json()["entry"]]
    assert len(versions) > 1
    with running_validator(profiles=DEFINITIONS) as validator:
        said = validator.judge([f"{PROFILE}careplan\t{json.dumps(one)}" for one in versions])
    wrong = {f"{one.location}: {one.message}" for answers in said for one in answers if one.wrong}
    assert wrong == set()


@pytest.mark.requirement(121)
def test_each_activity_of_a_plan_leads_to_work_that_can_be_read(enrolled: httpx.Client) -> None:
    activities = plan_of(enrolled)["activity"]
    assert {one["reference"]["display"] for one in activities} >= {"First call", "Second call"}
    for activity in activities:
        assert ("reference" in activity) != ("detail" in activity)
        task = enrolled.get(f"/{activity['reference']['reference']}")
        assert task.status_code == 200
        assert task.json()["basedOn"] == [{"reference": f"CarePlan/{plan_of(enrolled)['id']}"}]


@pytest.mark.requirement(121)
@pytest.mark.parametrize(
    "activity",
    [
        {"detail": {"description": "Walk"}},
        {"detail": {"status": "walking"}},
        {"detail": {"status": "scheduled"}, "reference": {"reference": "Task/1"}},
    ],
)
def test_an_activity_without_status_or_both_in_words_and_by_reference_is_refused(
    one_client: httpx.Client, activity: dict[str, Any]
) -> None:
    plan = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": "Patient/1"}}
    answer = one_client.post("/CarePlan", content=json.dumps(plan | {"activity": [activity]}), headers=JSON)
    assert issue_of(answer, answer.status_code)["expression"][0].startswith("CarePlan.activity[0]")
    assert answer.status_code in (400, 422)


@pytest.mark.requirement(120)
def test_the_people_of_a_care_team_are_found_by_its_status(corner: Corner) -> None:
    refs = own(corner)
    made = team(corner, refs)
    assert corner.found("CareTeam?status=active") == ["team"]
    assert corner.found("CareTeam?status=inactive") == []
    assert corner.found(f"CareTeam?patient={refs['patient']}&status=active") == ["team"]
    bundle = corner.bundle("CareTeam?status=active&_include=CareTeam:participant")
    reached = {f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in bundle["entry"]}
    assert {refs["nurse"], refs["role"]} <= reached
    for participant in made["participant"]:
        assert participant["role"]
        member = corner.client.get(f"/{participant['member']['reference']}")
        assert member.json()["resourceType"] in ("Practitioner", "PractitionerRole")


@pytest.mark.requirement(120)
def test_goals_are_found_by_patient_status_and_date(corner: Corner) -> None:
    refs = own(corner)
    goal(corner, refs)
    goal(corner, refs, "done", lifecycleStatus="completed", target=[{"dueDate": "2025-06-30"}])
    patient = f"patient={refs['patient']}"
    assert corner.found(f"Goal?{patient}") == ["done", "goal"]
    assert corner.found(f"Goal?{patient}&lifecycle-status=active") == ["goal"]
    assert corner.found(f"Goal?{patient}&target-date=lt2026-01-01") == ["done"]
    assert corner.found(f"Goal?{patient}&start-date=2026-01-01") == ["done", "goal"]
    body = {"resourceType": "Goal", "lifecycleStatus": "active", "subject": {"reference": refs["patient"]}}
    told = issue_of(corner.client.post("/Goal", content=json.dumps(body), headers=JSON), 400)
    assert told["expression"] == ["Goal.description"]


@pytest.mark.requirement(123)
@pytest.mark.parametrize("type_", ["CarePlan", "CareTeam", "Goal", "Task"])
def test_each_write_is_proven_and_the_proof_comes_with_a_search(corner: Corner, type_: str) -> None:
    refs = own(corner)
    if type_ == "CareTeam":
        made = team(corner, refs)
    elif type_ == "Goal":
        made = goal(corner, refs)
    elif type_ == "CarePlan":
        text = {"status": "additional", "div": DIV}
        made = corner.put(
            "CarePlan", "x", status="draft", intent="plan", subject={"reference": refs["patient"]}, text=text
        )
    else:
        made = corner.put("Task", "x", status="requested", intent="order")
    ref = f"{type_}/{made['id']}"
    body = {name: value for name, value in made.items() if name != "meta"} | {"language": "en"}
    created(corner.client.put(f"/{ref}", content=json.dumps(body), headers=JSON))
    language = '[{"op":"replace","path":"/language","value":"en-US"}]'
    created(corner.client.patch(f"/{ref}", content=language, headers=PATCH))
    bundle = corner.client.get(f"/{type_}?_id={made['id']}&_revinclude=Provenance:target").json()
    proofs = [one["resource"] for one in bundle["entry"] if one["search"]["mode"] == "include"]
    targets = {target["reference"] for one in proofs for target in one["target"]}
    assert targets == {f"{ref}/_history/{version}" for version in (1, 2, 3)}
    assert all(one["agent"][0]["who"] and one["recorded"] for one in proofs)
    corner.client.delete(f"/{ref}")
    proven = matches_of(corner.client.get(f"/Provenance?target={ref}").json())
    acts = sorted(one["activity"]["coding"][0]["code"] for one in proven)
    assert acts == ["CREATE", "DELETE", "UPDATE", "UPDATE"]
