"""Two clients from the Python registry, written by others, do their daily work with this server."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any
from uuid import uuid4

import pytest

from tests.conformance.server import Tracker
from tests.support.loops import in_own_loop

pytestmark = pytest.mark.peer
CORNER = "http://example.org/corner"
HIM = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.fixture
def smart(tracker: Tracker, peer_versions: dict[str, str]) -> Iterator[Any]:
    """SMART's fhirclient, connected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fhirclient import client

        peer_versions["fhirclient"] = version("fhirclient")
        yield client.FHIRClient(settings={"app_id": "conformance", "api_base": tracker.fhir})


@pytest.mark.requirement(1, 3, 5, 7, 8, 10)
def test_fhirclient_writes_reads_and_deletes(smart: Any) -> None:
    from fhirclient.models.fhirreference import FHIRReference
    from fhirclient.models.humanname import HumanName
    from fhirclient.models.patient import Patient
    from fhirclient.models.task import Task

    patient = Patient({"name": [{"family": "Synthetic", "given": ["Test"]}], "birthDate": "1950-03-04"})
    patient.id = patient.create(smart.server)["id"]
    task = Task({"status": "requested", "intent": "order"})
    task.for_fhir = FHIRReference({"reference": f"Patient/{patient.id}"})
    made = task.create(smart.server)
    again = Task.read(made["id"], smart.server)
    assert again.for_fhir.resolved(Patient).name[0].family == "Synthetic"
    read = Patient.read(patient.id, smart.server)
    read.name.append(HumanName({"family": "Other"}))
    assert read.update(smart.server)["meta"]["versionId"] == "2"
    found = Task.where({"patient": patient.id, "status": "requested"}).perform_resources(smart.server)
    assert [one.id for one in found] == [made["id"]]
    again.delete()
    assert Task.where({"patient": patient.id}).perform_resources(smart.server) == []


@pytest.mark.requirement(1)
def test_fhirclient_reads_the_statement(smart: Any) -> None:
    from fhirclient.models.capabilitystatement import CapabilityStatement

    statement = CapabilityStatement.read_from("metadata", smart.server)
    assert statement.fhirVersion == "4.0.1"
    assert len(statement.rest[0].resource) == 146


@pytest.mark.requirement(29)
def test_fhirclient_walks_the_pages(smart: Any) -> None:
    from fhirclient.models.task import Task

    corner = uuid4().hex
    for _ in range(7):
        meta = {"tag": [{"system": "http://example.org/corner", "code": corner}]}
        Task({"status": "requested", "intent": "order", "meta": meta}).create(smart.server)
    search = Task.where({"_tag": corner, "_count": "2"})
    found = [one.id for one in search.perform_resources_iter(smart.server)]
    assert len(found) == len(set(found)) == 7


@pytest.mark.requirement(1, 3, 5, 7, 8, 10, 40)
def test_fhirpy_writes_reads_and_deletes(tracker: Tracker, peer_versions: dict[str, str]) -> None:
    from fhirpy import SyncFHIRClient
    from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

    peer_versions["fhirpy"] = version("fhirpy")
    client: Any = SyncFHIRClient(tracker.fhir)
    patient = client.resource("Patient", name=[{"family": "Synthetic"}])
    patient.save()
    task = client.resource("Task", status="requested", intent="order")
    task["for"] = patient.to_reference()
    task.save()
    read = client.reference("Task", task.id).to_resource()
    assert read["for"].to_resource()["name"][0]["family"] == "Synthetic"
    read["status"] = "accepted"
    read.save()
    assert client.resources("Task").search(patient=patient.id, status="accepted").first().id == task.id
    with pytest.raises(OperationOutcome):
        client.resource("Task", status="nonsense", intent="order").save()
    read.delete()
    with pytest.raises(ResourceNotFound):
        client.reference("Task", task.id).to_resource()


@pytest.mark.requirement(16, 29)
def test_fhirpy_walks_the_pages_also_asynchronously(tracker: Tracker) -> None:
    from fhirpy import AsyncFHIRClient, SyncFHIRClient

    client: Any = SyncFHIRClient(tracker.fhir)
    corner = uuid4().hex
    for _ in range(7):
        tag = {"system": "http://example.org/corner", "code": corner}
        client.resource("Task", status="requested", intent="order", meta={"tag": [tag]}).save()
    found = [one.id for one in client.resources("Task").search(_tag=corner).limit(2).fetch_all()]
    assert len(found) == len(set(found)) == 7
    assert client.resources("Task").search(_tag=corner).count() == 7

    async def walk() -> list[str]:
        later: Any = AsyncFHIRClient(tracker.fhir)
        return [one.id async for one in later.resources("Task").search(_tag=corner).limit(3)]

    assert sorted(in_own_loop(walk)) == sorted(found)


def synthetic(family: str, corner: str) -> dict[str, Any]:
    """A made-up patient of one test."""
    return {"name": [{"family": family}], "identifier": [{"system": CORNER, "value": corner}]}


@pytest.mark.requirement(9, 12, 44)
def test_fhirpy_patches_refreshes_and_reads_the_history(tracker: Tracker) -> None:
    from fhirpy import SyncFHIRClient
    from fhirpy.base.exceptions import OperationOutcome

    client: Any = SyncFHIRClient(tracker.fhir)
    patient = client.resource("Patient", name=[{"family": "Before"}])
    patient.save()
    path = f"Patient/{patient.id}"
    part = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "Patient.name[0].family"},
        {"name": "value", "valueString": "After"},
    ]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]}
    assert client.execute(path, method="patch", data=patch)["name"][0]["family"] == "After"
    patient.refresh()
    assert (patient["name"][0]["family"], patient["meta"]["versionId"]) == ("After", "2")
    history = client.execute(f"{path}/_history", method="get")
    assert [one["request"]["method"] for one in history["entry"]] == ["PUT", "POST"]
    with pytest.raises(OperationOutcome):
        client.resource("Patient", id=patient.id).patch(active="a merge patch is none that R4 knows")


@pytest.mark.requirement(28, 33, 34, 37, 43)
def test_fhirpy_writes_by_conditions_in_bundles_and_searches_by_chains(tracker: Tracker) -> None:
    from fhirpy import SyncFHIRClient
    from fhirpy.base.exceptions import MultipleResourcesFound

    client: Any = SyncFHIRClient(tracker.fhir)
    corner = uuid4().hex
    known = client.resources("Patient").search(identifier=f"{CORNER}|{corner}")
    first, made = known.update(client.resource("Patient", **synthetic("One", corner)))
    assert (made, first["meta"]["versionId"]) == (True, "1")
    updated, new = known.update(client.resource("Patient", **synthetic("Three", corner)))
    assert (updated.id, updated["meta"]["versionId"], new) == (first.id, "2", False)
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": "urn:uuid:" + HIM}}
    entries = [
        {"resource": task, "request": {"method": "POST", "url": "Task"}},
        {
            "fullUrl": f"urn:uuid:{HIM}",
            "resource": {"resourceType": "Patient"} | synthetic("Four", corner),
            "request": {"method": "POST", "url": "Patient"},
        },
    ]
    answer = client.execute("", data={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert [one["response"]["status"] for one in answer["entry"]] == ["201 Created", "201 Created"]
    found = client.resources("Task").search(**{"patient.identifier": f"{CORNER}|{corner}"}).include("Task", "patient")
    assert [one["for"]["reference"] for one in found.fetch()] == [
        answer["entry"][1]["response"]["location"].partition("/fhir/")[2].partition("/_history")[0]
    ]
    assert (
        client.resources("Patient")
        .has("Task", "patient", status="requested")
        .search(name="four", identifier=corner)
        .count()
        == 1
    )
    with pytest.raises(MultipleResourcesFound):
        known.delete()


@pytest.mark.requirement(27, 28, 33, 34, 44)
def test_fhirclient_sends_a_transaction_and_reads_it_back_by_chains_and_histories(smart: Any) -> None:
    from fhirclient.models.bundle import Bundle
    from fhirclient.models.patient import Patient
    from fhirclient.models.task import Task

    corner = uuid4().hex
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": "urn:uuid:" + HIM}}
    entries = [
        {"resource": task, "request": {"method": "POST", "url": "Task"}},
        {
            "fullUrl": f"urn:uuid:{HIM}",
            "resource": {"resourceType": "Patient"} | synthetic("Bound", corner),
            "request": {"method": "POST", "url": "Patient"},
        },
    ]
    sent = Bundle({"type": "transaction", "entry": entries})
    answer = Bundle(smart.server.post_json("", sent.as_json()).json())
    assert [one.response.status for one in answer.entry] == ["201 Created", "201 Created"]
    bundle = Task.where({"patient.identifier": f"{CORNER}|{corner}"}).perform(smart.server)
    assert [(one.resource.resource_type, one.search.mode) for one in bundle.entry] == [("Task", "match")]
    found = bundle.entry[0].resource
    assert found.for_fhir.resolved(Patient).name[0].family == "Bound"
    found.status = "accepted"
    found.update(smart.server)
    history = Bundle.read_from(f"Task/{found.id}/_history", smart.server)
    assert [one.request.method for one in history.entry] == ["PUT", "POST"]
    assert history.entry[0].resource.status == "accepted"
