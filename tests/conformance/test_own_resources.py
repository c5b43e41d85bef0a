"""Everything the tracker itself writes and says is valid FHIR R4, by the judgement of HL7's validator.

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
from tests.conformance.talk import JSON, created, link_of, matches_of
from tests.peers.validator.run import VERSION, validate

pytestmark = pytest.mark.peer
RING = Path(__file__).with_name("ring.yaml")
WRITTEN = (
    "CarePlan",
    "Task",
    "Communication",
    "Flag",
    "Provenance",
    "PlanDefinition",
    "ActivityDefinition",
    "CodeSystem",
    "ValueSet",
    "SearchParameter",
)
SEVERAL_VERSIONS = re.compile(r"^Bundle-history.*Multiple matches in bundle for reference")
"""The validator wants one resource for each reference, and a history holds several versions of one by its nature."""
US_CORE_CATEGORY = ("http://hl7.org/fhir/us/core/CodeSystem/careplan-category", "assess-plan")


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """A server that has enrolled a patient, escalated a late call, and on which a person has done each kind of step."""
    folder = tmp_path_factory.mktemp("written")
    env = {"FHIR_TRACKER_SWEEP_INTERVAL": "1s", "FHIR_TRACKER_MASS_ESCALATION_LIMIT": "0"}
    with running_tracker(f"sqlite:///{folder / 'tracker.db'}", folder, "--open", env=env) as tracker:
        publish(tracker)
        with httpx.Client(base_url=tracker.url, timeout=60, trust_env=False) as client:
            discharge(client)
            work(client)
        yield tracker


def publish(tracker: Tracker) -> None:
    program = Path(sys.executable).parent / "fhir-tracker"
    command = [program, "program", "publish", RING, "--database", tracker.database]
    subprocess.run(
        [str(one) for one in command], check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=300
    )


def discharge(client: httpx.Client) -> None:
    end = datetime.now(UTC) - timedelta(days=3)
    patient = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Synthetic", "given": ["Test"]}]}
    stay = {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": {"reference": "Patient/p1"},
        "period": {"start": (end - timedelta(days=2)).isoformat(), "end": end.isoformat()},
    }
    for one in (patient, stay):
        created(client.put(f"/fhir/{one['resourceType']}/{one['id']}", content=json.dumps(one), headers=JSON))


def work(client: httpx.Client) -> None:
    first = await_task(client, "first-call")
    letter, second, escalation = (await_task(client, code) for code in ("letter", "second-call", "escalation"))
    until = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    step(client, escalation, "acknowledge")
    step(
        client, first, "attempt", **{"outreach.channel": "phone", "outreach.outcome": "no-answer", "note": "Rang twice"}
    )
    step(client, first, "claim")
    step(client, first, "move", to="reached", note="The patient is well")
    step(client, second, "move", to="waiting", reason="Away", **{"hold.until": until})
    step(client, letter, "note", note="Written on paper")
    step(client, letter, "move", to="unreachable", reason="Moved away")


def await_task(client: httpx.Client, code: str) -> str:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        tasks = matches_of(client.get("/fhir/Task?patient=p1&_count=100").json())
        for one in tasks:
            coded = {coding["code"] for coding in one["code"]["coding"]}
            if code in coded and ("ring" in str(one.get("instantiatesCanonical")) or code == "escalation"):
                return str(one["id"])
        time.sleep(0.5)
    raise AssertionError(f"no task {code}")


def step(client: httpx.Client, task: str, name: str, **form: str) -> None:
    page = client.get(f"/tasks/{task}").text
    token = re.search(r'name="csrf"\s+value="([^"]+)"', page)
    assert token is not None
    answer = client.post(f"/tasks/{task}/{name}", data={"csrf": token[1], **form})
    assert answer.status_code == 303, f"{name}: {answer.status_code} {re.sub('<[^>]+>', ' ', answer.text)[:1500]}"


def written(client: httpx.Client) -> dict[str, list[dict[str, Any]]]:
    """Every resource of the types the tracker writes, by type."""
    found: dict[str, list[dict[str, Any]]] = {}
    for type_ in WRITTEN:
        page = client.get(f"/{type_}?_count=500").json()
        assert not link_of(page, "next")
        found[type_] = matches_of(page)
    return found


@pytest.fixture(scope="module")
def api(clinic: Tracker) -> Iterator[httpx.Client]:
    """A client at the FHIR base."""
    with httpx.Client(base_url=clinic.fhir, timeout=60, trust_env=False) as client:
        yield client


@pytest.mark.requirement(1, 4, 14, 17, 128, 142)
def test_the_validator_finds_no_error_in_anything_the_tracker_writes(
    api: httpx.Client, tmp_path: Path, peer_versions: dict[str, str]
) -> None:
    resources = written(api)
    for type_, found in resources.items():
        assert found, f"the tracker wrote no {type_}"
        for one in found:
            (tmp_path / f"{type_}-{one['id']}.json").write_text(json.dumps(one))
    task = resources["Task"][0]["id"]
    said = {
        "CapabilityStatement": api.get("/metadata"),
        "Bundle-searchset": api.get("/Task?_include=Task:patient&_revinclude=Provenance:target&colour=red&_count=5"),
        "Bundle-empty": api.get("/Task?status=draft"),
        "Bundle-count": api.get("/Task?_summary=count"),
        "Bundle-history": api.get(f"/Task/{task}/_history"),
        "Bundle-history-type": api.get("/Task/_history?_count=20"),
        "Bundle-history-system": api.get("/_history?_count=100"),
        "Bundle-summary": api.get("/Task?_summary=true&_include=Task:patient&_count=5"),
        "Bundle-text": api.get("/CarePlan?_summary=text&_count=5"),
        "Bundle-elements": api.get("/Task?_elements=code,note&_count=5"),
        "Bundle-system": api.get("/?_type=Task,Patient,CarePlan,Flag&_count=20"),
        "Bundle-compartment": api.get(f"/{resources['Task'][0]['for']['reference']}/*?_count=20"),
        "OperationOutcome-404": api.get("/Task/none"),
        "OperationOutcome-400": api.get("/Task?due=x"),
        "OperationOutcome-body": api.post("/Task", content=b'{"resourceType":"Task","status":"x"}', headers=JSON),
        "OperationOutcome-405": api.post("/Task/x"),
        "OperationOutcome-415": api.patch("/Task/x"),
        "OperationOutcome-422": api.patch(
            f"/Task/{task}",
            content=b'[{"op":"remove","path":"/none"}]',
            headers={"Content-Type": "application/json-patch+json"},
        ),
    }
    for name, answer in said.items():
        (tmp_path / f"{name}.json").write_text(answer.text)
    findings = validate([tmp_path])
    peer_versions["HL7 validator (HAPI)"] = VERSION
    wrong = {f"{one.file.name} {one.location}: {one.message}" for one in findings if one.wrong}
    assert sorted(text for text in wrong if not SEVERAL_VERSIONS.search(text)) == []


@pytest.mark.requirement(119, 121)
def test_a_care_plan_has_what_us_core_wants(api: httpx.Client) -> None:
    plans = matches_of(api.get("/CarePlan?patient=p1&category=" + "|".join(US_CORE_CATEGORY)).json())
    assert plans
    for plan in plans:
        assert plan["text"]["status"] in ("generated", "additional")
        assert re.search(r">[^<\s]", plan["text"]["div"])
        codings = [(one["system"], one["code"]) for category in plan["category"] for one in category["coding"]]
        assert US_CORE_CATEGORY in codings
        assert plan["status"] == "active"
        assert plan["intent"] == "plan"
        assert plan["subject"]["reference"] == "Patient/p1"
        assert all("|" in one for one in plan["instantiatesCanonical"])
        for activity in plan.get("activity", []):
            assert ("reference" in activity) != ("detail" in activity)
            assert api.get(f"/{activity['reference']['reference']}").status_code == 200


@pytest.mark.requirement(128, 129, 133)
def test_a_task_of_a_program_says_what_it_is_who_it_is_for_and_when_it_is_due(api: httpx.Client) -> None:
    tasks = [
        one for one in matches_of(api.get("/Task?patient=p1").json()) if "ring" in one.get("instantiatesCanonical", "")
    ]
    assert len(tasks) == 3
    for task in tasks:
        assert task["for"]["reference"] == "Patient/p1"
        assert task["businessStatus"]["coding"][0]["code"]
        assert task["performerType"][0]["coding"][0]["code"]
        assert task["lastModified"] >= task["authoredOn"]
        assert re.search(r"(Z|[+-]\d\d:\d\d)$", task["restriction"]["period"]["end"])
        assert task["basedOn"][0]["reference"].startswith("CarePlan/")


@pytest.mark.requirement(123, 142)
def test_each_thing_the_tracker_wrote_has_a_provenance_that_says_who_and_by_which_rule(api: httpx.Client) -> None:
    resources = written(api)
    targets = [target["reference"] for one in resources["Provenance"] for target in one["target"]]
    for type_ in ("CarePlan", "Task", "Flag"):
        for one in resources[type_]:
            reached = api.get(f"/{type_}?_id={one['id']}&_revinclude=Provenance:target").json()["entry"]
            assert "Provenance" in {entry["resource"]["resourceType"] for entry in reached}, (type_, one["id"])
            assert any(target.startswith(f"{type_}/{one['id']}/_history/") for target in targets), (type_, one["id"])
    assert all(one["agent"][0]["who"] for one in resources["Provenance"])


@pytest.mark.requirement(21)
def test_every_reference_between_what_the_tracker_wrote_can_be_followed(api: httpx.Client) -> None:
    missing: set[str] = set()
    for found in written(api).values():
        for reference in re.findall(r'"reference": "([A-Z][A-Za-z]+/[^"#]+)"', json.dumps(found)):
            if reference.startswith(("Practitioner/", "Device/")):
                continue
            if api.get(f"/{reference}").status_code != 200:
                missing.add(reference)
    assert missing == set()
