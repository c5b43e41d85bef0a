"""Write-back to HAPI FHIR and sekmet-fhir, really running; what they hold is asked of them apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fhir_tracker import clock, conflicts
from fhir_tracker.storage.database import Database
from tests.subscriptions.writer import Writer

FHIR = {"content-type": "application/fhir+json", "cache-control": "no-cache"}
pytestmark = pytest.mark.peer


class Peer:
    """A real server as the test itself sees it."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.http = httpx.Client(timeout=120, trust_env=False, headers=FHIR)

    def create(self, resource: dict[str, Any]) -> str:
        made = self._send("POST", resource["resourceType"], resource)
        return made.headers["location"].split(f"/{resource['resourceType']}/")[1].split("/")[0]

    def read(self, type_: str, id_: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"{self.base_url}/{type_}/{id_}").raise_for_status().json()
        return found

    def change(self, type_: str, id_: str, **members: Any) -> None:
        self._send("PUT", f"{type_}/{id_}", self.read(type_, id_) | members)

    def named(self, type_: str, value: str) -> list[dict[str, Any]]:
        """All of a type that carry an identifier of this value."""
        bundle = self.http.get(f"{self.base_url}/{type_}?_count=500&_sort=_lastUpdated").raise_for_status().json()
        found = [entry["resource"] for entry in bundle.get("entry", [])]
        return [one for one in found if any(name.get("value") == value for name in one.get("identifier", []))]

    def _send(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        return self.http.request(method, f"{self.base_url}/{path}", content=json.dumps(body)).raise_for_status()


@pytest.fixture(params=["hapi", "sekmet"])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    made = Peer(request.getfixturevalue(request.param).base_url)
    yield made
    made.http.close()


@pytest.fixture
def writer(database: Database, peer: Peer) -> Writer:
    """A tracker that mirrors a patient of the server."""
    patient = peer.create({"resourceType": "Patient", "name": [{"family": "Synthetic"}]})
    made = Writer(database, peer.base_url, now=clock.now(), types=("Patient", "Task", "Appointment"))
    made.patient = f"Patient/clinic-{patient}"
    made.sync()
    return made


def test_a_task_goes_there_and_its_changes_come_and_go_both_ways(writer: Writer, peer: Peer) -> None:
    id_ = writer.file(description="call her", code={"text": "First call"})
    assert writer.write().counts == {"done": 1}
    (there,) = peer.named("Task", id_)
    assert there["for"]["reference"] == writer.patient.replace("clinic-", "")

    peer.change("Task", there["id"], status="accepted", note=[{"text": "left a message"}])
    writer.sync()
    writer.write()
    here = writer.held("Task", id_)
    assert (here["status"], here["note"][0]["text"]) == ("accepted", "left a message")

    peer.change("Task", there["id"], status="in-progress")
    writer.change("Task", id_, description="call her daughter")
    assert writer.write().counts == {"done": 1}
    now = peer.read("Task", there["id"])
    assert (now["description"], now["status"]) == ("call her daughter", "in-progress")
    assert writer.held("Task", id_)["status"] == "in-progress"

    for _ in range(2):
        writer.sync()
        assert writer.write(60).counts == {}
    assert [one.id for one in writer.stored("Task") if one.patient == writer.patient.removeprefix("Patient/")] == [id_]
    assert peer.read("Task", there["id"])["meta"]["versionId"] == now["meta"]["versionId"]
    assert len(peer.named("Task", id_)) == 1


def test_a_field_changed_on_both_sides_waits_for_a_person(writer: Writer, peer: Peer) -> None:
    id_ = writer.file()
    writer.write()
    (there,) = peer.named("Task", id_)
    peer.change("Task", there["id"], status="accepted")
    writer.change("Task", id_, status="in-progress")
    assert writer.write().counts == {"conflict": 1}
    with writer.database.begin() as tx:
        conflicts.resolve(tx, writer.row(f"Task/{id_}"), {"status": "ours"}, writer.author)
    assert writer.write().counts == {"done": 1}
    assert peer.read("Task", there["id"])["status"] == "in-progress"


def test_an_appointment_of_theirs_is_cancelled_here_and_there(writer: Writer, peer: Peer) -> None:
    patient = writer.patient.replace("clinic-", "")
    booked = peer.create(
        {
            "resourceType": "Appointment",
            "status": "booked",
            "start": "2031-05-08T09:00:00Z",
            "end": "2031-05-08T09:20:00Z",
            "participant": [{"actor": {"reference": patient}, "status": "accepted"}],
        }
    )
    writer.sync()
    writer.change("Appointment", f"clinic-{booked}", status="cancelled")
    peer.change("Appointment", booked, comment="bring the list of medicines")
    assert writer.write().counts == {"done": 1}
    there = peer.read("Appointment", booked)
    assert (there["status"], there["comment"]) == ("cancelled", "bring the list of medicines")
    here = writer.held("Appointment", f"clinic-{booked}")
    assert (here["status"], here["comment"]) == ("cancelled", "bring the list of medicines")
    version = here["meta"]["versionId"]
    writer.sync()
    assert writer.held("Appointment", f"clinic-{booked}")["meta"]["versionId"] == version
