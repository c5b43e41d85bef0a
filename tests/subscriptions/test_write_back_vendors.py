"""What the big vendors take, by their mappings: the best way there is, and said plainly where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import respx

from fhir_tracker.storage.database import Database
from tests.subscriptions.fake_ehr import BASE
from tests.subscriptions.writer import Writer
from tests.subscriptions.writing_ehr import WritingEhr


@pytest.fixture
def ehr() -> Iterator[WritingEhr]:
    made = WritingEhr()
    made.conditional = False
    made.put("Patient", "p1", active=True)
    with respx.mock(assert_all_called=False) as router:
        made.serve(router)
        yield made


def writer_of(database: Database, mapping: str, types: tuple[str, ...]) -> Writer:
    made = Writer(database, BASE, mapping=mapping, types=types, written=("Task", "Appointment", "Communication"))
    made.sync()
    return made


def test_at_epic_the_status_of_their_task_is_updated_and_nothing_else(database: Database, ehr: WritingEhr) -> None:
    ehr.takes["Task"] = ("update",)
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": "Patient/p1"}}
    ehr.store("Task", "t1", task)
    writer = writer_of(database, "epic", ("Patient",))
    with writer.database.begin() as tx:
        writer.mirror(tx, ehr.held("Task", "t1"))
    writer.change("Task", "clinic-t1", status="in-progress")
    assert writer.write().counts == {"done": 1}
    assert (ehr.held("Task", "t1")["status"], ehr.writes[-1].method) == ("in-progress", "PUT")
    writer.change("Task", "clinic-t1", status="completed", note=[{"text": "done by phone"}])
    assert writer.write().counts == {"unsupported": 1}
    assert writer.row("Task/clinic-t1").reason == "It was written without note, which it does not take."
    assert (ehr.held("Task", "t1")["status"], "note" in ehr.held("Task", "t1")) == ("completed", False)


def test_at_epic_work_made_here_is_told_as_a_communication_when_it_ends(database: Database, ehr: WritingEhr) -> None:
    ehr.takes["Task"] = ("update",)
    writer = writer_of(database, "epic", ("Patient", "Task", "Communication"))
    id_ = writer.file(code={"text": "First call"})
    assert writer.write().counts == {"unsupported": 1}
    writer.change("Task", id_, status="completed")
    assert writer.write().counts == {"done": 1}
    assert [one["payload"][0]["contentString"] for one in ehr.of("Communication")] == ["First call: completed."]
    assert ehr.of("Task") == []


def test_at_oracle_health_an_appointment_is_cancelled_by_a_patch_upon_its_version(
    database: Database, ehr: WritingEhr
) -> None:
    ehr.takes["Appointment"] = ("create", "patch")
    ehr.needs_match = True
    ehr.stale = 409
    ehr.put(
        "Appointment",
        "a1",
        status="booked",
        start="2024-05-08T09:00:00Z",
        end="2024-05-08T09:20:00Z",
        participant=[{"actor": {"reference": "Patient/p1"}, "status": "accepted"}],
    )
    writer = writer_of(database, "oracle_health", ("Patient",))
    with writer.database.begin() as tx:
        writer.mirror(tx, ehr.held("Appointment", "a1"))
    writer.change("Appointment", "clinic-a1", status="cancelled")
    assert writer.write().counts == {"done": 1}
    assert (ehr.writes[-1].method, ehr.writes[-1].headers["if-match"]) == ("PATCH", 'W/"1"')
    assert ehr.held("Appointment", "a1")["status"] == "cancelled"


@pytest.mark.parametrize("mapping", ["athena", "ecw"])
def test_where_the_vendor_takes_neither_tasks_nor_notes_it_stays_here(
    database: Database, ehr: WritingEhr, mapping: str
) -> None:
    for type_ in ("Task", "Communication", "DocumentReference", "Appointment"):
        ehr.takes[type_] = ()
    writer = writer_of(database, mapping, ("Patient",))
    id_ = writer.file(status="completed")
    assert writer.write().counts == {"unsupported": 1}
    assert "stays here" in (writer.row(f"Task/{id_}").reason or "")
