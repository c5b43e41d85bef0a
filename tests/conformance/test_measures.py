"""Measures over HTTP: their resources, $evaluate-measure and what is refused.

https://hl7.org/fhir/R4/measure-operation-evaluate-measure.html
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_tracker.measures.definitions import MEASURES
from tests.conformance.talk import Corner


def posted(**values: Any) -> dict[str, Any]:
    kinds = {True: "valueBoolean", False: "valueString"}
    rows = [{"name": name, kinds[isinstance(value, bool)]: value} for name, value in values.items()]
    return {"resourceType": "Parameters", "parameter": rows}


def test_each_measure_is_a_resource_with_its_operation(client: httpx.Client) -> None:
    for name, measure in MEASURES.items():
        body = client.get(f"Measure/{name}").json()
        assert (body["url"], body["title"]) == (measure.canonical, measure.title)
    told = client.get("metadata").json()["rest"][0]["resource"]
    (of_measure,) = [one for one in told if one["type"] == "Measure"]
    assert "evaluate-measure" in {one["name"] for one in of_measure["operation"]}


def test_a_measure_is_evaluated_for_a_period(client: httpx.Client, corner: Corner) -> None:
    patient = f"Patient/{corner.put('Patient', 'p')['id']}"
    for status in ("requested", "completed"):
        corner.put("Task", "t", status=status, intent="order", **{"for": {"reference": patient}})
    for address in ("Measure/closed-work/$evaluate-measure", "Measure/$evaluate-measure?measure=closed-work"):
        joint = "&" if "?" in address else "?"
        answer = client.get(f"{address}{joint}periodStart=2020-01-01&periodEnd=2999-12-31&subject={patient}")
        assert answer.status_code == 200
        body = answer.json()
        assert (body["resourceType"], body["type"], body["subject"]) == (
            "MeasureReport",
            "individual",
            {"reference": patient},
        )
        assert body["group"][0]["population"][0]["count"] == 1
    everybody = client.get("Measure/closed-work/$evaluate-measure").json()
    assert everybody["type"] == "summary"
    assert "subject" not in everybody
    assert everybody["group"][0]["population"][0]["count"] >= 1


def test_a_report_is_kept_on_demand(client: httpx.Client) -> None:
    answer = client.post("Measure/aging/$evaluate-measure", json=posted(store=True, program="tcm"))
    assert answer.status_code == 201
    kept = client.get(answer.headers["Location"])
    assert kept.json() == answer.json()
    assert client.get(f"MeasureReport/{answer.json()['id']}").status_code == 200
    unkept = client.post("Measure/aging/$evaluate-measure", json=posted(reportType="population"))
    assert (unkept.status_code, unkept.json().get("id")) == (200, None)


def test_as_of_a_moment(client: httpx.Client) -> None:
    body = client.get("Measure/aging/$evaluate-measure?asOf=2020-06-30T12:00:00Z").json()
    assert body["period"] == {"start": "2020-06-30T12:00:00.000Z", "end": "2020-06-30T12:00:00.000Z"}
    assert "stratifier" not in body["group"][0]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("$evaluate-measure", 400),
        ("$evaluate-measure?measure=no-such", 404),
        ("aging/$evaluate-measure?periodStart=soon", 400),
        ("aging/$evaluate-measure?asOf=2999-01-01", 400),
        ("aging/$evaluate-measure?subject=Patient/no-such", 404),
        ("aging/$evaluate-measure?subject=Group/1", 404),
        ("aging/$evaluate-measure?reportType=subject", 422),
        ("aging/$evaluate-measure?reportType=nonsense", 400),
        ("aging/$evaluate-measure?practitioner=Practitioner/1", 501),
        ("aging/$evaluate-measure?wrong=1", 400),
        ("aging/$evaluate-measure?asOf=2020-01-01&asOf=2021-01-01", 400),
        ("aging/$evaluate-measure?store=true", 400),
        ("aging/$evaluate-measure?program=no-such", 404),
        ("outreach/$evaluate-measure?periodStart=2026-02-01&periodEnd=2026-01-01", 400),
        ("outreach-by-hour/$evaluate-measure?periodStart=0002-02-01", 400),
        ("escalations-by-hour/$evaluate-measure?periodStart=1900-01-01&periodEnd=9998-01-01", 400),
        ("no-such-measure/$evaluate-measure", 404),
    ],
)
def test_what_cannot_be_asked_is_refused(one_client: httpx.Client, query: str, status: int) -> None:
    answer = one_client.get(f"Measure/{query}")
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "Patient"},
        {"resourceType": "Parameters", "parameter": "x"},
        {"resourceType": "Parameters", "parameter": [1]},
        {"resourceType": "Parameters", "parameter": [{"name": "program"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "program", "valueQuantity": {"value": 1}}]},
    ],
)
def test_bodies_that_are_no_parameters_are_refused(one_client: httpx.Client, body: dict[str, Any]) -> None:
    answer = one_client.post("Measure/aging/$evaluate-measure", json=body)
    assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")


def findings(client: httpx.Client, patient: str) -> dict[str, int]:
    """How many tasks of a patient are not in order, by finding."""
    body = client.get(f"Measure/queue-hygiene/$evaluate-measure?subject={patient}").json()
    strata = [one for each in body["group"][0].get("stratifier", []) for one in each["stratum"]]
    return {one["component"][0]["value"]["text"]: one["population"][0]["count"] for one in strata}


@pytest.mark.parametrize(
    ("finding", "wrong", "right"),
    [
        ("no-owner", {}, {"owner": {"reference": "Practitioner/measured-nurse"}}),
        ("no-due", {}, {"restriction": {"period": {"end": "2999-01-01T00:00:00Z"}}}),
        ("endless-hold", {"status": "on-hold"}, {"status": "in-progress"}),
        ("inactive-owner", {"owner": {"reference": "Practitioner/measured-gone"}}, {}),
    ],
)
def test_a_task_that_is_not_in_order_is_counted_and_put_right_by_a_put(
    client: httpx.Client, corner: Corner, finding: str, wrong: dict[str, Any], right: dict[str, Any]
) -> None:
    for name, active in (("measured-nurse", True), ("measured-gone", False)):
        client.put(f"Practitioner/{name}", json={"resourceType": "Practitioner", "id": name, "active": active})
    patient = f"Patient/{corner.put('Patient', 'p')['id']}"
    body = {"status": "requested", "intent": "order", "for": {"reference": patient}}
    corner.put("Task", "t", **(body | wrong))
    assert findings(client, patient).get(finding) == 1
    corner.put("Task", "t", **(body | right))
    assert finding not in findings(client, patient)


def test_the_later_of_two_alike_is_counted_until_one_is_closed(client: httpx.Client, corner: Corner) -> None:
    patient = f"Patient/{corner.put('Patient', 'p')['id']}"
    code = {"coding": [{"system": "http://example.org/work", "code": "call"}]}
    body = {"status": "requested", "intent": "order", "for": {"reference": patient}, "code": code}
    for short in ("one", "two"):
        corner.put("Task", short, **body)
    assert findings(client, patient)["duplicate"] == 1
    corner.put("Task", "two", **(body | {"status": "cancelled", "statusReason": {"text": "Twice"}}))
    assert "duplicate" not in findings(client, patient)
