"""$outreach and $evidence over HTTP: attempts that a client writes as plain Communications, and what they come to."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.conformance.talk import JSON, Body, Corner, created, issue_of, matches_of

SPENT = "https://fhir-tracker.example/StructureDefinition/time-spent"


@pytest.fixture
def call(client: httpx.Client, corner: Corner) -> Body:
    """A first call of the tcm program, for a patient with one number."""
    telecom = [{"system": "phone", "value": "555-0100", "use": "mobile"}]
    patient = corner.put("Patient", "p", telecom=telecom)
    row = [{"name": "subject", "valueString": f"Patient/{patient['id']}"}, {"name": "key", "valueString": corner.name}]
    body = json.dumps({"resourceType": "Parameters", "parameter": row})
    assert client.post("PlanDefinition/tcm-1/$instantiate", content=body, headers=JSON).status_code == 201
    tasks = matches_of(client.get("Task", params={"patient": f"Patient/{patient['id']}"}).json())
    return next(one for one in tasks if one["code"]["coding"][0]["code"] == "first-call")


def tell(client: httpx.Client, task: Body, **members: Any) -> Body:
    body = {
        "resourceType": "Communication",
        "status": "not-done",
        "subject": task["for"],
        "basedOn": [{"reference": f"Task/{task['id']}"}],
        "medium": [{"text": "Phone call"}],
        "statusReason": {"text": "Left voicemail"},
        "sent": "2026-03-09T15:00:00Z",
        **members,
    }
    return created(client.post("Communication", content=json.dumps(body), headers=JSON))


def values(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    assert answer.json()["resourceType"] == "Parameters"
    return {
        one["name"]: next(value for name, value in one.items() if name != "name") for one in answer.json()["parameter"]
    }


def test_where_the_outreach_of_a_task_stands_follows_what_clients_write(client: httpx.Client, call: Body) -> None:
    first = values(client.get(f"Task/{call['id']}/$outreach"))
    assert (first["attempts"], first["attemptsRequired"], first["nextChannel"]) == (0, 2, "phone")
    assert first["nextNumber"] == "555-0100"
    told = tell(client, call)
    assert "555-0100" in json.dumps(told["extension"])
    then = values(client.get(f"Task/{call['id']}/$outreach"))
    assert (then["attempts"], then["usedUp"]) == (1, False)
    assert then["summary"].startswith("1 of 2 attempts; next call from ")
    tell(client, call, statusReason={"text": "Wrong number"})
    last = values(client.get(f"Task/{call['id']}/$outreach"))
    assert (last["attempts"], last["usedUp"], last["settled"]) == (2, True, "the policy is used up")


def test_the_evidence_of_a_month_is_told(client: httpx.Client, call: Body) -> None:
    period = {"start": "2026-03-09T14:45:00Z", "end": "2026-03-09T15:00:00Z"}
    tell(
        client,
        call,
        status="completed",
        statusReason={"text": "Reached"},
        extension=[{"url": SPENT, "valuePeriod": period}],
    )
    patient = call["for"]["reference"]
    found = values(client.get(f"{patient}/$evidence", params={"program": "tcm", "month": "2026-03"}))
    assert (found["minutes"], found["contactMinutes"], found["zone"]) == (15, 15, "America/New_York")
    assert "attempt" in found


def test_what_cannot_be_asked_is_refused(client: httpx.Client, corner: Corner, call: Body) -> None:
    patient = call["for"]["reference"]
    issue_of(client.get(f"{patient}/$evidence"), 400)
    issue_of(client.get(f"{patient}/$evidence", params={"program": "tcm", "month": "2026-13"}), 400)
    issue_of(client.get(f"{patient}/$evidence", params={"program": "tcm", "months": "2026-12"}), 400)
    issue_of(client.get(f"{patient}/$evidence", params={"program": "nothing"}), 404)
    issue_of(client.get("Patient/nobody/$evidence", params={"program": "tcm"}), 404)
    issue_of(client.get(f"Task/{call['id']}/$outreach", params={"x": "1"}), 400)
    other = corner.put("Task", "t", status="requested", intent="order")
    issue_of(client.get(f"Task/{other['id']}/$outreach"), 404)
