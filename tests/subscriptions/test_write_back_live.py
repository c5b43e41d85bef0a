"""Write-back to HAPI FHIR and sekmet-fhir, really running; what they hold is asked of them apart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_tracker import clock, conflicts
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.storage.database import Database
from subscriptions import EhrClient
from subscriptions.client import Answer
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

    def delete(self, type_: str, id_: str) -> None:
        self.http.delete(f"{self.base_url}/{type_}/{id_}").raise_for_status()

    def _send(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        return self.http.request(method, f"{self.base_url}/{path}", content=json.dumps(body)).raise_for_status()


@pytest.fixture(params=["hapi", "sekmet"])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    made = Peer(request.getfixturevalue(request.param).base_url)
    yield made
    made.http.close()


@pytest.fixture
def mapping(request: pytest.FixtureRequest) -> str:
    """HAPI by its own mapping, the other server by that of its profiles."""
    return {"hapi": "hapi", "sekmet": "us_core"}[request.node.callspec.params["peer"]]


@pytest.fixture
def writer(database: Database, peer: Peer, mapping: str) -> Writer:
    """A tracker that mirrors a patient of the server."""
    patient = peer.create({"resourceType": "Patient", "name": [{"family": "Synthetic"}]})
    types = ("Patient", "Task", "Appointment")
    made = Writer(database, peer.base_url, now=clock.now(), types=types, mapping=mapping)
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


class LosesAnswers(EhrClient):
    """The server does what it is sent, and its answer is lost on the way back."""

    def send(self, *args: Any, **named: Any) -> Answer:
        super().send(*args, **named)
        raise RemoteFailure("The connection broke.", unknown=True)


@pytest.mark.fault("F3")
def test_a_create_whose_answer_was_lost_is_found_there_and_not_made_again(writer: Writer, peer: Peer) -> None:
    id_ = writer.file(description="call her")
    writer.pass_time(1)
    with LosesAnswers(peer.base_url) as client:
        assert writer.write_with(client).counts == {"waiting": 1}
    assert len(peer.named("Task", id_)) == 1
    assert writer.write(15).counts == {"done": 1}
    (there,) = peer.named("Task", id_)
    assert writer.row(f"Task/{id_}").remote_id == there["id"]


def test_what_is_refused_is_told_in_its_words_and_done_once_mended(writer: Writer, peer: Peer) -> None:
    id_ = writer.file(description="call her")
    writer.write()
    (there,) = peer.named("Task", id_)
    peer.delete("Task", there["id"])
    writer.change("Task", id_, description="again")
    assert writer.write().counts == {"dead": 1}
    assert writer.row(f"Task/{id_}").reason == "It is not there any more."
    bad = writer.create({"resourceType": "Communication", "status": "completed", "payload": [{"contentString": "x"}]})
    with RefusesAll(peer.base_url) as client:
        writer.pass_time(1)
        assert writer.write_with(client).counts == {"dead": 1}
    row = writer.row(f"Communication/{bad}")
    assert "The server answered 4" in (row.reason or "")
    assert conflicts.said(row)
    with writer.database.begin() as tx:
        conflicts.retry(tx, row, writer.author)
    assert writer.write().counts == {"done": 1}
    assert len(peer.named("Communication", bad)) == 1


class RefusesAll(EhrClient):
    """What is sent says another type than its address, so that a real server refuses it in its own words."""

    def send(self, method: str, url: str, body: bytes | None = None, *args: Any, **named: Any) -> Answer:
        return super().send(method, url, (body or b"").replace(b'"Communication"', b'"Basic"', 1), *args, **named)


def test_an_extension_and_a_contained_resource_of_each_side_stay(writer: Writer, peer: Peer) -> None:
    ours = {"url": "https://clinic.example/ours", "valueString": "one"}
    theirs = {"url": "https://ehr.example/room", "valueString": "7"}
    id_ = writer.file(extension=[ours])
    writer.write()
    (there,) = peer.named("Task", id_)
    peer.change("Task", there["id"], extension=[ours, theirs], status="accepted")
    changed = ours | {"valueString": "two"}
    writer.change("Task", id_, extension=[changed])
    assert writer.write().counts == {"done": 1}
    now = peer.read("Task", there["id"])
    assert sorted(one["valueString"] for one in now["extension"]) == ["7", "two"]
    assert now["status"] == writer.held("Task", id_)["status"] == "accepted"
    assert writer.held("Task", id_)["extension"] == [changed]


@pytest.fixture
def second(prepared_file: Path, tmp_path: Path) -> Iterator[Database]:
    """The database of another tracker."""
    path = tmp_path / "other.db"
    shutil.copyfile(prepared_file, path)
    with closing(Database.open(f"sqlite:///{path}")) as database:
        yield database


def test_two_trackers_at_one_server_never_answer_each_other_without_end(
    writer: Writer, peer: Peer, second: Database
) -> None:
    other = Writer(second, peer.base_url, now=writer.now, types=("Patient", "Task"))
    other.sync()
    id_ = writer.file(description="call her")
    writer.write()
    (there,) = peer.named("Task", id_)
    other.sync()
    mirrored = f"clinic-{there['id']}"
    assert other.held("Task", mirrored)["description"] == "call her"
    other.change("Task", mirrored, status="accepted")
    assert other.write().counts == {"done": 1}
    writer.sync()
    writer.write()
    assert writer.held("Task", id_)["status"] == "accepted"
    version = peer.read("Task", there["id"])["meta"]["versionId"]
    for one in (other, writer, other, writer):
        one.sync()
        assert one.write(60).counts == {}
    assert peer.read("Task", there["id"])["meta"]["versionId"] == version
    assert len(peer.named("Task", id_)) == 1


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
