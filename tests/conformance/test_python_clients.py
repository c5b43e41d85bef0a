"""Two clients from the Python registry, written by others, do their daily work with this server."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any
from uuid import uuid4

import pytest

from tests.conformance.server import Tracker

pytestmark = pytest.mark.peer


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

    with ThreadPoolExecutor(1) as beside_any_running_loop:
        walked = beside_any_running_loop.submit(lambda: asyncio.run(walk())).result()
    assert sorted(walked) == sorted(found)
