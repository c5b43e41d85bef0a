from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fhir_tracker import conflicts
from fhir_tracker.errors import RuleBroken, UsageError
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Database
from tests.subscriptions.fake_ehr import BASE
from tests.subscriptions.writer import VIEWER, Writer
from tests.subscriptions.writing_ehr import WritingEhr, writing_ehr


def meanwhile(ehr: WritingEhr) -> Any:
    """Somebody there changes the Task before the first write is looked at."""

    def fault(_: httpx.Request) -> None:
        ehr.before.clear()
        ehr.change("Task", "made1", priority="asap")

    return fault


@pytest.fixture
def ehr() -> Iterator[WritingEhr]:
    with writing_ehr() as made:
        yield made


@pytest.fixture
def writer(database: Database, ehr: WritingEhr) -> Writer:
    made = Writer(database, BASE)
    made.sync()
    return made


def lost(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("no answer")


def once(status: int, **headers: str) -> Any:
    """A fault that answers the first write only."""
    left = [status]

    def fault(_: httpx.Request) -> httpx.Response | None:
        return httpx.Response(left.pop(), headers=headers) if left else None

    return fault


def test_a_task_made_here_is_created_there_under_our_identifier_and_with_their_ids(
    writer: Writer, ehr: WritingEhr
) -> None:
    id_ = writer.file(description="call her")
    assert [(row.ref, row.state) for row in writer.rows()] == [(f"Task/{id_}", "waiting")]
    assert writer.write().counts == {"done": 1}
    there = ehr.held("Task", "made1")
    assert there["for"] == {"reference": "Patient/p1"}
    assert [one["value"] for one in there["identifier"]] == [id_]
    assert there["description"] == "call her"
    assert "source" not in there["meta"]
    assert "identifier" not in writer.held("Task", id_)


def test_its_echo_is_nothing_new_and_is_never_written_back(writer: Writer, ehr: WritingEhr) -> None:
    id_ = writer.file()
    writer.write()
    for _ in range(3):
        writer.sync()
        assert writer.write(60).counts == {}
    assert [one.id for one in writer.stored("Task")] == [id_]
    assert len(ehr.writes) == 1


def test_a_change_here_is_merged_into_what_the_ehr_holds_now(writer: Writer, ehr: WritingEhr) -> None:
    id_ = writer.file(description="call her")
    writer.write()
    ehr.change("Task", "made1", extension=[{"url": "https://ehr.example/room", "valueString": "7"}], status="accepted")
    writer.change("Task", id_, description="call her daughter")
    assert writer.write().counts == {"done": 1}
    there = ehr.held("Task", "made1")
    assert (there["description"], there["status"]) == ("call her daughter", "accepted")
    assert there["extension"] == [{"url": "https://ehr.example/room", "valueString": "7"}]
    here = writer.held("Task", id_)
    assert (here["description"], here["status"]) == ("call her daughter", "accepted")
    assert "extension" not in here
    assert ehr.writes[-1].headers["if-match"] == 'W/"2"'


def test_a_change_there_comes_here_and_goes_no_further(writer: Writer, ehr: WritingEhr) -> None:
    id_ = writer.file()
    writer.write()
    ehr.change("Task", "made1", status="in-progress", note=[{"text": "left a message"}])
    writer.sync()
    assert writer.write().counts == {"done": 1}
    assert writer.held("Task", id_)["status"] == "in-progress"
    assert writer.held("Task", id_)["note"] == [{"text": "left a message"}]
    writer.sync()
    assert writer.write().counts == {}
    assert len(ehr.writes) == 1


@pytest.mark.requirement(46)
@pytest.mark.parametrize("stale", [409, 412])
def test_a_stale_version_is_read_and_merged_anew(writer: Writer, ehr: WritingEhr, stale: int) -> None:
    id_ = writer.file(description="one")
    writer.write()
    ehr.stale = stale
    ehr.before.append(meanwhile(ehr))
    writer.change("Task", id_, description="two")
    assert writer.write().counts == {"done": 1}
    assert (ehr.held("Task", "made1")["description"], ehr.held("Task", "made1").get("priority")) == ("two", "asap")
    assert [request.method for request in ehr.writes] == ["POST", "PUT", "PUT"]


def test_a_resource_that_is_always_changed_meanwhile_waits_and_is_tried_again(writer: Writer, ehr: WritingEhr) -> None:
    id_ = writer.file(description="one")
    writer.write()
    ehr.before.append(lambda _: httpx.Response(409))
    writer.change("Task", id_, description="two")
    assert writer.write().counts == {"waiting": 1}
    assert len(ehr.writes) == 6
    ehr.before.clear()
    assert writer.write(60).counts == {"done": 1}
    assert ehr.held("Task", "made1")["description"] == "two"


def test_a_change_here_while_an_earlier_one_is_written_is_no_conflict(writer: Writer, ehr: WritingEhr) -> None:
    id_ = writer.file(description="one")
    writer.write()
    ehr.change("Task", "made1", executionPeriod={"start": "2024-05-06T12:00:00Z"})

    def meanwhile_here(_: httpx.Request) -> None:
        ehr.after.clear()
        writer.change("Task", id_, status="in-progress")

    ehr.after.append(meanwhile_here)
    writer.change("Task", id_, status="accepted", description="two")
    assert writer.write().counts == {"waiting": 1}
    assert ehr.held("Task", "made1")["status"] == "accepted"
    assert writer.write(5).counts == {"done": 1}
    there, here = ehr.held("Task", "made1"), writer.held("Task", id_)
    assert there["status"] == here["status"] == "in-progress"
    assert here["executionPeriod"] == there["executionPeriod"]


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_create_without_an_answer_is_made_once(writer: Writer, ehr: WritingEhr, when: str, conditional: bool) -> None:
    ehr.conditional = conditional
    getattr(ehr, when).append(lost)
    id_ = writer.file(description="one")
    assert writer.write().counts == {"waiting": 1}
    assert writer.row(f"Task/{id_}").sent_at is not None
    ehr.before.clear()
    ehr.after.clear()
    writer.change("Task", id_, description="two")
    for _ in range(4):
        writer.write(80)
    assert [one["description"] for one in ehr.of("Task")] == ["two"]
    assert ehr.created == 1
    assert writer.row(f"Task/{id_}").state == "done"
    writer.sync()
    assert [one.id for one in writer.stored("Task")] == [id_]


def test_an_echo_that_comes_before_our_own_acknowledgement_names_what_we_wrote(writer: Writer, ehr: WritingEhr) -> None:
    ehr.after.append(lost)
    id_ = writer.file()
    writer.write()
    ehr.after.clear()
    writer.sync()
    assert [one.id for one in writer.stored("Task")] == [id_]
    assert writer.row(f"Task/{id_}").remote_id == "made1"
    assert writer.write(60).counts == {"done": 1}
    assert len(ehr.writes) == 1


@pytest.mark.parametrize("status", [400, 403, 405, 422])
def test_what_is_refused_for_good_is_kept_with_the_reason_and_holds_up_nobody(
    writer: Writer, ehr: WritingEhr, status: int
) -> None:
    ehr.before.append(once(status))
    bad, good = writer.file(), writer.file()
    assert writer.write().counts == {"dead": 1, "done": 1}
    assert writer.row(f"Task/{bad}").reason == {403: "The server answered 403: our credentials do not allow this."}.get(
        status, f"The server answered {status}."
    )
    assert writer.row(f"Task/{good}").state == "done"
    assert writer.write(3600).counts == {}
    with writer.database.begin() as tx:
        conflicts.retry(tx, conflicts.get(tx, VIEWER, writer.row(f"Task/{bad}").id), writer.author)
    assert writer.write().counts == {"done": 1}


def test_what_fails_for_now_is_tried_again_with_growing_pauses(writer: Writer, ehr: WritingEhr) -> None:
    ehr.before.append(lambda _: httpx.Response(500))
    id_ = writer.file()
    other = writer.file()
    assert writer.write().counts == {"waiting": 2}
    first = writer.row(f"Task/{id_}").due_at - writer.now
    assert writer.write(first.total_seconds()).counts["waiting"] >= 1
    assert writer.row(f"Task/{id_}").due_at - writer.now > first
    ehr.before.clear()
    writer.write(600)
    assert {writer.row(f"Task/{one}").state for one in (id_, other)} == {"done"}
    assert ehr.created == 2


def test_an_ehr_that_cannot_be_reached_is_left_alone_and_nothing_is_lost(writer: Writer, ehr: WritingEhr) -> None:
    def down(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    ids = [writer.file() for _ in range(3)]
    ehr.twists.append(down)
    assert writer.write().error == "The server cannot be reached: connection refused."
    ehr.twists.clear()
    assert writer.write(600).counts == {"done": 3}
    assert sorted(one["identifier"][0]["value"] for one in ehr.of("Task")) == sorted(ids)


def test_both_sides_changed_a_field_to_be_asked_and_a_person_takes_theirs(writer: Writer, ehr: WritingEhr) -> None:
    id_ = in_conflict(writer, ehr)
    row = writer.row(f"Task/{id_}")
    assert row.reason == "Changed here and in clinic: status."
    (one,) = conflicts.differences(row)
    assert (one.field, one.base, one.theirs, one.ours) == ("status", '"requested"', '"accepted"', '"in-progress"')
    assert admin_tasks(writer) == ["requested"]
    decide(writer, id_, {"status": "theirs"})
    assert writer.write().counts == {"done": 1}
    assert writer.held("Task", id_)["status"] == ehr.held("Task", "made1")["status"] == "accepted"
    assert admin_tasks(writer) == ["completed"]


def test_a_person_keeps_ours(writer: Writer, ehr: WritingEhr) -> None:
    id_ = in_conflict(writer, ehr)
    decide(writer, id_, {"status": "ours"})
    writer.write()
    assert writer.held("Task", id_)["status"] == ehr.held("Task", "made1")["status"] == "in-progress"


def test_a_person_gives_a_third_value(writer: Writer, ehr: WritingEhr) -> None:
    id_ = in_conflict(writer, ehr)
    decide(writer, id_, {"status": conflicts.Edited(value="ready")})
    writer.write()
    assert writer.held("Task", id_)["status"] == ehr.held("Task", "made1")["status"] == "ready"


def test_a_decision_counts_only_for_what_the_person_saw(writer: Writer, ehr: WritingEhr) -> None:
    id_ = in_conflict(writer, ehr)
    decide(writer, id_, {"status": "theirs"})
    ehr.change("Task", "made1", status="cancelled")
    assert writer.write().counts == {"conflict": 1}
    assert conflicts.differences(writer.row(f"Task/{id_}"))[0].theirs == '"cancelled"'
    assert admin_tasks(writer) == ["requested"]


def test_each_field_in_conflict_is_decided_and_no_other(writer: Writer, ehr: WritingEhr) -> None:
    id_ = in_conflict(writer, ehr)
    with pytest.raises(RuleBroken, match="status"):
        decide(writer, id_, {})
    with pytest.raises(RuleBroken, match="priority"):
        decide(writer, id_, {"status": "ours", "priority": "ours"})
    other = writer.file()
    with pytest.raises(RuleBroken, match="not in conflict"):
        decide(writer, other, {})


def test_an_appointment_of_theirs_is_cancelled_here_and_there(writer: Writer, ehr: WritingEhr) -> None:
    book(ehr)
    writer.sync()
    writer.change("Appointment", "clinic-a1", status="cancelled")
    ehr.change("Appointment", "a1", comment="bring the list of medicines")
    assert writer.write().counts == {"done": 1}
    there = ehr.held("Appointment", "a1")
    assert (there["status"], there["comment"]) == ("cancelled", "bring the list of medicines")
    assert there["participant"][0]["actor"] == {"reference": "Patient/p1"}
    here = writer.held("Appointment", "clinic-a1")
    assert (here["status"], here["comment"]) == ("cancelled", "bring the list of medicines")
    version = here["meta"]["versionId"]
    writer.sync()
    assert writer.held("Appointment", "clinic-a1")["meta"]["versionId"] == version


def test_a_poll_between_our_change_and_its_writing_does_not_undo_it(writer: Writer, ehr: WritingEhr) -> None:
    book(ehr)
    writer.sync()
    writer.change("Appointment", "clinic-a1", status="cancelled")
    ehr.change("Appointment", "a1", description="moved to room 2")
    writer.sync()
    assert writer.held("Appointment", "clinic-a1")["status"] == "cancelled"
    writer.write()
    assert ehr.held("Appointment", "a1")["status"] == "cancelled"
    assert writer.held("Appointment", "clinic-a1")["description"] == "moved to room 2"


def test_a_field_of_theirs_cannot_be_changed_here(writer: Writer, ehr: WritingEhr) -> None:
    book(ehr)
    writer.sync()
    with pytest.raises(RuleBroken, match="`priority`"):
        writer.change("Appointment", "clinic-a1", priority=1)
    with pytest.raises(RuleBroken, match="copy of an EHR"):
        writer.change("Patient", "clinic-p1", active=False)
    assert writer.rows() == []


def test_where_only_patch_is_taken_a_patch_is_sent(writer: Writer, ehr: WritingEhr) -> None:
    ehr.takes["Appointment"] = ("patch",)
    ehr.needs_match = True
    book(ehr)
    writer.sync()
    writer.change("Appointment", "clinic-a1", status="cancelled", comment="she moved")
    assert writer.write().counts == {"done": 1}
    assert ehr.writes[-1].headers["content-type"] == "application/json-patch+json"
    assert ehr.held("Appointment", "a1")["status"] == "cancelled"
    assert ehr.held("Appointment", "a1")["comment"] == "she moved"


def test_a_server_without_versions_is_written_to_without_if_match(writer: Writer, ehr: WritingEhr) -> None:
    ehr.versioned = False
    id_ = writer.file(description="one")
    writer.write()
    ehr.change("Task", "made1", status="accepted")
    writer.change("Task", id_, description="two")
    assert writer.write().counts == {"done": 1}
    assert "if-match" not in ehr.writes[-1].headers
    assert (ehr.held("Task", "made1")["description"], ehr.held("Task", "made1")["status"]) == ("two", "accepted")
    writer.sync()
    assert writer.write().counts == {}
    ehr.needs_match = True
    writer.change("Task", id_, description="three")
    assert writer.write().counts == {"dead": 1}
    assert "asks for a version" in (writer.row(f"Task/{id_}").reason or "")


def test_where_no_task_is_taken_its_end_is_told_and_until_then_it_says_that_it_stays(
    writer: Writer, ehr: WritingEhr
) -> None:
    ehr.takes["Task"] = ("update",)
    id_ = writer.file(code={"text": "First call"})
    assert writer.write().counts == {"unsupported": 1}
    assert "told as a Communication when it is closed" in (writer.row(f"Task/{id_}").reason or "")
    writer.change("Task", id_, status="completed", note=[{"text": "She is well."}])
    assert writer.write().counts == {"done": 1}
    (told,) = ehr.of("Communication")
    assert told["payload"] == [{"contentString": "First call: completed. She is well."}]
    assert told["subject"] == {"reference": "Patient/p1"}
    writer.sync()
    assert writer.stored("Communication") == []
    ehr.takes["Communication"] = ("update",)


def test_where_nothing_of_it_is_taken_it_says_that_it_stays_here(writer: Writer, ehr: WritingEhr) -> None:
    for type_ in ("Task", "Communication", "DocumentReference"):
        ehr.takes[type_] = ()
    id_ = writer.file(status="completed")
    assert writer.write().counts == {"unsupported": 1}
    assert writer.row(f"Task/{id_}").reason == "It takes no new Task; this one stays here."


def test_a_note_is_written_where_only_documents_are_taken(writer: Writer, ehr: WritingEhr) -> None:
    for type_ in ("Task", "Communication"):
        ehr.takes[type_] = ()
    writer.file(status="completed", code={"text": "First call"})
    assert writer.write().counts == {"done": 1}
    assert ehr.of("DocumentReference")[0]["subject"] == {"reference": "Patient/p1"}


def test_references_to_what_the_ehr_has_are_its_ids_and_to_what_it_lacks_our_identifier(
    writer: Writer, ehr: WritingEhr
) -> None:
    ehr.takes["CarePlan"] = ()
    plan = writer.create({"resourceType": "CarePlan", "status": "active", "intent": "plan"})
    first = writer.file(basedOn=[{"reference": f"CarePlan/{plan}"}])
    writer.write()
    second = writer.file(focus={"reference": f"Task/{first}"})
    writer.write()
    made = {one["identifier"][0]["value"]: one for one in ehr.of("Task")}
    assert made[second]["focus"] == {"reference": f"Task/{made[first]['id']}"}
    assert made[first]["basedOn"][0]["identifier"]["value"] == plan
    assert "reference" not in made[first]["basedOn"][0]


def test_what_is_deleted_here_is_entered_in_error_there(writer: Writer, ehr: WritingEhr) -> None:
    id_ = writer.file()
    writer.write()
    writer.delete("Task", id_)
    assert writer.write().counts == {"done": 1}
    assert ehr.held("Task", "made1")["status"] == "entered-in-error"
    writer.sync()
    writer.write(60)
    with writer.database.read() as tx:
        stored = resources.find(tx, VIEWER, "Task", id_)
    assert stored is not None
    assert stored.deleted


def test_what_the_ehr_deleted_is_said_and_not_made_again(writer: Writer, ehr: WritingEhr) -> None:
    id_ = writer.file()
    writer.write()
    ehr.delete("Task", "made1")
    writer.change("Task", id_, description="again")
    assert writer.write().counts == {"dead": 1}
    assert writer.row(f"Task/{id_}").reason == "It is not there any more."


def test_a_change_to_what_the_ehr_deleted_meanwhile_is_not_lost_in_silence(writer: Writer, ehr: WritingEhr) -> None:
    book(ehr)
    writer.sync()
    writer.change("Appointment", "clinic-a1", status="cancelled")
    ehr.delete("Appointment", "a1")
    writer.sync()
    assert writer.write().counts == {"dead": 1}
    assert writer.row("Appointment/clinic-a1").reason == "It was deleted there before our change was written."


def test_work_of_other_patients_and_about_the_tracker_itself_is_never_written(writer: Writer) -> None:
    writer.file(**{"for": {"reference": "Patient/elsewhere"}})
    writer.file(code={"coding": [{"system": "https://fhir-tracker.example/CodeSystem/work", "code": "escalation"}]})
    writer.create({"resourceType": "Flag", "status": "active", "code": {"text": "risk"}})
    assert writer.rows() == []


def test_without_write_back_nothing_waits_and_a_process_that_did_not_know_is_caught_up_on(
    database: Database, ehr: WritingEhr
) -> None:
    writer = Writer(database, BASE, written=())
    writer.sync()
    writer.file()
    assert writer.rows() == []


def test_what_was_written_before_every_process_knew_of_the_connection_is_caught_up_on(
    database: Database, ehr: WritingEhr
) -> None:
    writer = Writer(database, BASE)
    writer.sync()
    with database.begin() as tx:
        tx.kept["write-back targets"] = (writer.now, {})
    id_ = writer.file()
    assert writer.rows() == []
    assert writer.write(10).counts == {"done": 1}
    assert writer.row(f"Task/{id_}").remote_id == "made1"


@pytest.mark.parametrize("types", [["Patient"], ["Nonsense"], ["AuditEvent"]])
def test_types_that_are_the_ehrs_own_are_never_taken_for_writing_back(database: Database, types: list[str]) -> None:
    with pytest.raises(UsageError):
        Writer(database, BASE, written=tuple(types))


def test_the_owner_of_a_field_can_be_set_for_a_connection(database: Database, ehr: WritingEhr) -> None:
    writer = Writer(database, BASE, owners={"Task": {"status": "ehr", "description": "ask"}})
    writer.sync()
    id_ = writer.file(description="one")
    writer.write()
    ehr.change("Task", "made1", status="accepted", description="theirs")
    writer.change("Task", id_, status="in-progress", description="ours")
    assert writer.write().counts == {"conflict": 1}
    assert [one.field for one in conflicts.differences(writer.row(f"Task/{id_}"))] == ["description"]
    decide(writer, id_, {"description": "ours"})
    writer.write()
    assert ehr.held("Task", "made1")["description"] == "ours"
    assert writer.held("Task", id_)["status"] == "accepted"


def in_conflict(writer: Writer, ehr: WritingEhr) -> str:
    id_ = writer.file()
    writer.write()
    ehr.change("Task", "made1", status="accepted")
    writer.change("Task", id_, status="in-progress")
    assert writer.write().counts == {"conflict": 1}
    assert ehr.held("Task", "made1")["status"] == "accepted"
    return id_


def decide(writer: Writer, id_: str, choices: dict[str, conflicts.Choice]) -> None:
    with writer.database.begin() as tx:
        row = conflicts.get(tx, VIEWER, writer.row(f"Task/{id_}").id)
        conflicts.resolve(tx, row, choices, writer.author)


def admin_tasks(writer: Writer) -> list[str]:
    return [
        one["status"] for one in (writer.held("Task", stored.id) for stored in writer.stored("Task")) if is_admin(one)
    ]


def is_admin(task: dict[str, Any]) -> bool:
    return any(one.get("code") == conflicts.CODE for one in task.get("code", {}).get("coding", []))


def book(ehr: WritingEhr) -> None:
    ehr.put(
        "Appointment",
        "a1",
        status="booked",
        start="2024-05-08T09:00:00Z",
        end="2024-05-08T09:20:00Z",
        participant=[{"actor": {"reference": "Patient/p1"}, "status": "accepted"}],
    )
