"""What each side adds, drops, reorders and words anew stays whole: lists, extensions, contained, nested and deleted fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import respx

from fhir_tracker import conflicts, records, task_resources
from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.storage.database import Database
from tests.subscriptions.fake_ehr import BASE
from tests.subscriptions.writer import Writer
from tests.subscriptions.writing_ehr import WritingEhr

OURS = {"url": "https://clinic.example/ours", "valueString": "one"}
THEIRS = {"url": "https://ehr.example/room", "valueString": "7"}
NARRATIVE = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">made there</div>'}


@pytest.fixture
def ehr() -> Iterator[WritingEhr]:
    made = WritingEhr()
    made.put("Patient", "p1", active=True)
    made.put("Patient", "p2", active=True)
    with respx.mock(assert_all_called=False) as router:
        made.serve(router)
        yield made


@pytest.fixture
def writer(database: Database, ehr: WritingEhr) -> Writer:
    made = Writer(database, BASE, types=("Patient", "Task"))
    made.sync()
    return made


def filed(writer: Writer, **members: Any) -> str:
    id_ = writer.file(**members)
    assert writer.write().counts == {"done": 1}
    return id_


def there(ehr: WritingEhr) -> Resource:
    return ehr.held("Task", "made1")


def test_an_extension_of_theirs_beside_ours_stays_and_ours_changes_and_goes(writer: Writer, ehr: WritingEhr) -> None:
    id_ = filed(writer, extension=[OURS])
    ehr.change("Task", "made1", extension=[THEIRS, OURS])
    changed = OURS | {"valueString": "two"}
    writer.change("Task", id_, extension=[changed])
    writer.write()
    assert there(ehr)["extension"] == [THEIRS, changed]
    writer.change("Task", id_, extension=None)
    writer.write()
    assert there(ehr)["extension"] == [THEIRS]
    assert "extension" not in writer.held("Task", id_)


def test_contained_resources_of_each_side_stay_with_the_references_to_them(writer: Writer, ehr: WritingEhr) -> None:
    ours: Resource = {"resourceType": "Practitioner", "id": "p", "active": True}
    id_ = filed(writer, contained=[ours], requester={"reference": "#p"})
    theirs: Resource = {"resourceType": "Location", "id": "l"}
    ehr.change("Task", "made1", contained=[ours, theirs], location={"reference": "#l"})
    writer.change("Task", id_, contained=[ours | {"active": False}])
    writer.write()
    assert [(one["id"], one.get("active")) for one in there(ehr)["contained"]] == [("l", None), ("p", False)]
    assert there(ehr)["location"] == {"reference": "#l"}


def test_a_field_taken_out_here_is_taken_out_there_and_a_nested_one_too(writer: Writer, ehr: WritingEhr) -> None:
    id_ = filed(writer, description="one", restriction={"repetitions": 2, "period": {"end": "2031-05-01T00:00:00Z"}})
    writer.change("Task", id_, description=None, restriction={"period": {"end": "2031-05-01T00:00:00Z"}})
    writer.write()
    assert "description" not in there(ehr)
    assert there(ehr)["restriction"] == {"period": {"end": "2031-05-01T00:00:00Z"}}


def test_an_item_taken_out_of_a_list_of_ours_is_taken_out_there(writer: Writer, ehr: WritingEhr) -> None:
    id_ = filed(writer, performerType=[{"text": "nurse"}, {"text": "coach"}])
    writer.change("Task", id_, performerType=[{"text": "coach"}])
    writer.write()
    assert there(ehr)["performerType"] == [{"text": "coach"}]


@pytest.mark.parametrize(
    "worded",
    [
        {"text": NARRATIVE},
        {"lastModified": "2031-01-01T00:00:00Z"},
        {"code": {"text": "First  call ", "coding": [{"system": "https://ehr.example/c", "code": "x"}]}},
        {"performerType": [{"text": "coach"}, {"text": "nurse", "id": "1"}]},
        {"for": {"reference": "Patient/p1", "display": "Synthetic Patient", "type": "Patient"}},
        {"extension": [THEIRS]},
        {"meta": {"tag": [{"system": "https://ehr.example/t", "code": "seen"}]}},
    ],
    ids=lambda one: next(iter(one)),
)
def test_what_the_ehr_words_in_its_own_way_is_understood_as_ours_and_not_written_over(
    writer: Writer, ehr: WritingEhr, worded: dict[str, Any]
) -> None:
    filed(writer, code={"text": "First call"}, performerType=[{"text": "nurse"}, {"text": "coach"}])
    ehr.change("Task", "made1", **worded)
    writer.sync()
    writer.write()
    assert [request.method for request in ehr.writes] == ["POST"]
    writer.sync()
    assert writer.write(60).counts == {}


@pytest.mark.parametrize("fresh", [False, True], ids=["the same each time", "another each time"])
def test_an_ehr_that_changes_a_field_of_ours_back_each_time_is_not_fought_without_end(
    writer: Writer, ehr: WritingEhr, fresh: bool
) -> None:
    turns = iter(range(100))

    def worded(request: httpx.Request) -> None:
        if request.method == "PUT":
            ehr.pass_time(1)
            ehr.change("Task", "made1", description=f"CALL {next(turns) if fresh else ''}")

    id_ = filed(writer, description="call her")
    ehr.change("Task", "made1", description="CALL")
    ehr.after.append(lambda request: worded(request))
    for _ in range(6):
        ehr.pass_time(1)
        writer.sync()
        writer.write(60)
    assert len(ehr.writes) <= 5
    assert writer.row(f"Task/{id_}").state == "done"
    assert writer.held("Task", id_)["description"] == "call her"
    ehr.after.clear()
    writer.change("Task", id_, description="call her daughter")
    writer.write()
    assert there(ehr)["description"] == "call her daughter"


def test_work_reopened_there_is_open_again_here_and_work_reopened_here_there(writer: Writer, ehr: WritingEhr) -> None:
    id_ = filed(writer, status="in-progress")
    writer.change("Task", id_, status="completed")
    writer.write()
    ehr.change("Task", "made1", status="in-progress")
    writer.sync()
    writer.write()
    assert writer.held("Task", id_)["status"] == "in-progress"
    ehr.change("Task", "made1", status="completed")
    writer.sync()
    writer.write()
    assert writer.held("Task", id_)["status"] == "completed"
    with writer.database.begin() as tx:
        reopened = task_resources.with_status(writer.held("Task", id_), None, "in-progress", writer.author.at)
        records.save(tx, reopened, writer.author)
    writer.write()
    assert there(ehr)["status"] == "in-progress"


def test_work_that_a_merge_moves_to_another_patient_moves_there_too(writer: Writer, ehr: WritingEhr) -> None:
    id_ = filed(writer)
    writer.change("Task", id_, **{"for": {"reference": "Patient/clinic-p2"}})
    assert writer.write().counts == {"done": 1}
    assert there(ehr)["for"] == {"reference": "Patient/p2"}
    assert ehr.created == 1


def test_a_decision_is_applied_to_what_the_ehr_holds_by_then(writer: Writer, ehr: WritingEhr) -> None:
    id_ = filed(writer, description="one")
    ehr.change("Task", "made1", status="accepted")
    writer.change("Task", id_, status="in-progress")
    assert writer.write().counts == {"conflict": 1}
    row = writer.row(f"Task/{id_}")
    ehr.change("Task", "made1", owner={"display": "Synthetic Nurse"}, note=[{"text": "meanwhile"}])
    with writer.database.begin() as tx:
        conflicts.resolve(tx, row, {"status": "ours"}, writer.author)
    assert writer.write().counts == {"done": 1}
    assert (there(ehr)["status"], there(ehr)["owner"]["display"]) == ("in-progress", "Synthetic Nurse")
    assert [one["text"] for one in there(ehr)["note"]] == ["meanwhile"]
    assert writer.held("Task", id_)["owner"]["display"] == "Synthetic Nurse"


def test_two_connections_to_one_ehr_never_answer_each_other_without_end(
    database: Database, writer: Writer, ehr: WritingEhr
) -> None:
    """The same EHR under another key, with a tracker's work in both."""
    id_ = filed(writer, description="one")
    other = Writer(database, BASE, types=("Patient", "Task"), key="other", now=writer.now)
    for _ in range(2):
        for one in (writer, other):
            ehr.pass_time(1)
            one.sync()
            one.write(60)
    made = len(ehr.writes)
    ehr.change("Task", "made1", status="accepted")
    for _ in range(2):
        for one in (writer, other):
            ehr.pass_time(1)
            one.sync()
            one.write(60)
    assert (made, len(ehr.writes)) == (1, 1)
    assert writer.held("Task", id_)["status"] == writer.held("Task", "other-made1")["status"] == "accepted"


def test_an_invalid_third_value_is_refused_and_changes_nothing(writer: Writer, ehr: WritingEhr) -> None:
    id_ = filed(writer)
    ehr.change("Task", "made1", status="accepted")
    writer.change("Task", id_, status="in-progress")
    writer.write()
    row = writer.row(f"Task/{id_}")
    with pytest.raises(Incorrect), writer.database.begin() as tx:
        conflicts.resolve(tx, row, {"status": conflicts.Edited(value="bogus")}, writer.author)
    assert writer.row(f"Task/{id_}").state == "conflict"
    assert writer.held("Task", id_)["status"] == "in-progress"
