"""A create is done once whatever the EHR answers, shows late, forgets or pretends; where only a person can tell, one is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from fhir_tracker import conflicts
from fhir_tracker.errors import Busy, Incorrect, RuleBroken
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Database
from subscriptions import write_back_to
from tests.subscriptions.fake_ehr import BASE, JSON
from tests.subscriptions.writer import VIEWER, Writer
from tests.subscriptions.writing_ehr import WritingEhr, writing_ehr


@pytest.fixture
def ehr() -> Iterator[WritingEhr]:
    with writing_ehr() as made:
        yield made


@pytest.fixture
def writer(database: Database, ehr: WritingEhr) -> Writer:
    """Its clock is the EHR's, and it does not follow Tasks."""
    made = Writer(database, BASE, now=ehr.now, types=("Patient",))
    made.sync()
    return made


def lost(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("no answer")


def unanswered(writer: Writer, ehr: WritingEhr, *, done: bool = True) -> str:
    """A Task whose create was (not) done and never answered."""
    faults = ehr.after if done else ehr.before
    faults.append(lost)
    id_ = writer.file(description="call her", code={"text": "First call"})
    assert writer.write().counts == {"waiting": 1}
    faults.clear()
    return id_


@pytest.mark.fault("F3")
@pytest.mark.parametrize("claims", [True, False])
def test_where_the_condition_is_ignored_and_searches_lag_two_minutes_nothing_is_made_twice(
    writer: Writer, ehr: WritingEhr, claims: bool
) -> None:
    ehr.conditional, ehr.claims = False, claims
    ehr.hidden.add("made1")
    id_ = unanswered(writer, ehr)
    for _ in range(11):
        writer.write(11)
    assert ehr.created == 1
    assert writer.row(f"Task/{id_}").state == "waiting"
    ehr.hidden.clear()
    writer.write(11)
    assert (writer.row(f"Task/{id_}").state, writer.row(f"Task/{id_}").remote_id) == ("done", "made1")
    assert ehr.created == 1


def test_what_was_surely_not_done_is_sent_again(writer: Writer, ehr: WritingEhr) -> None:
    ehr.conditional = False
    id_ = unanswered(writer, ehr, done=False)
    for _ in range(12):
        writer.write(15)
    assert writer.row(f"Task/{id_}").state == "done"
    assert ehr.created == 1


def test_where_the_identifier_is_dropped_a_person_says_which_it_is(writer: Writer, ehr: WritingEhr) -> None:
    ehr.conditional, ehr.drops = False, frozenset({"identifier"})
    id_ = unanswered(writer, ehr)
    writer.write(200)
    row = writer.row(f"Task/{id_}")
    asked = conflicts.question(row)
    assert (row.state, ehr.created) == ("conflict", 1)
    assert asked is not None
    assert list(asked.found) == ["made1"]
    assert "call her" in asked.sent
    assert "call her" not in (row.reason or "")
    assert open_admin_tasks(writer) == 1
    with writer.database.begin() as tx, pytest.raises(RuleBroken):
        conflicts.resolve(tx, row, {"status": "ours"}, writer.author)
    with writer.database.begin() as tx, pytest.raises(Incorrect):
        conflicts.answer(tx, row, "no/id", writer.author)
    answered(writer, id_, "made1")
    assert writer.write().counts == {"done": 1}
    assert (writer.row(f"Task/{id_}").remote_id, ehr.created) == ("made1", 1)
    assert open_admin_tasks(writer) == 0
    writer.change("Task", id_, description="call her daughter")
    assert writer.write().counts == {"done": 1}
    assert ehr.held("Task", "made1")["description"] == "call her daughter"


def test_what_a_person_says_is_not_there_is_sent_again(writer: Writer, ehr: WritingEhr) -> None:
    ehr.conditional, ehr.drops = False, frozenset({"identifier"})
    id_ = unanswered(writer, ehr)
    writer.write(200)
    answered(writer, id_, None)
    assert writer.write().counts == {"done": 1}
    assert (writer.row(f"Task/{id_}").remote_id, ehr.created) == ("made2", 2)
    with writer.database.begin() as tx, pytest.raises(RuleBroken):
        conflicts.answer(tx, writer.row(f"Task/{id_}"), None, writer.author)


def test_an_answer_of_a_person_counts_for_that_create_alone(writer: Writer, ehr: WritingEhr) -> None:
    ehr.conditional, ehr.drops = False, frozenset({"identifier"})
    id_ = unanswered(writer, ehr)
    writer.write(200)
    answered(writer, id_, None)
    ehr.after.append(lost)
    writer.write()
    ehr.after.clear()
    writer.write(200)
    assert (writer.row(f"Task/{id_}").state, ehr.created) == ("conflict", 2)


def test_a_server_that_cannot_be_asked_makes_it_a_persons_question(writer: Writer, ehr: WritingEhr) -> None:
    def refuses(request: httpx.Request) -> httpx.Response | None:
        is_search = request.method == "GET" and request.url.path.endswith("/Task")
        return httpx.Response(400) if is_search else None

    ehr.conditional = False
    ehr.twists.append(refuses)
    id_ = unanswered(writer, ehr, done=False)
    writer.write(11)
    assert writer.row(f"Task/{id_}").state == "waiting"
    writer.write(200)
    assert writer.row(f"Task/{id_}").state == "conflict"
    assert ehr.created == 0


def test_an_ehr_known_to_find_ours_is_believed_when_it_finds_nothing(writer: Writer, ehr: WritingEhr) -> None:
    ehr.conditional = False
    writer.file(description="another")
    assert writer.write().counts == {"done": 1}
    ehr.store("Task", "theirs", {"resourceType": "Task", "status": "requested", "description": "call her"})
    id_ = unanswered(writer, ehr, done=False)
    for _ in range(3):
        writer.write(100)
    assert writer.row(f"Task/{id_}").state == "done"
    assert ehr.created == 2


def test_a_poll_that_brings_what_we_sent_without_our_identifier_makes_no_second_one_here(
    writer: Writer, ehr: WritingEhr
) -> None:
    ehr.conditional, ehr.drops = False, frozenset({"identifier"})
    id_ = unanswered(writer, ehr)
    with writer.database.begin() as tx:
        writer.mirror(tx, ehr.held("Task", "made1"))
    writer.write(200)
    answered(writer, id_, "made1")
    writer.write()
    with writer.database.read() as tx:
        copy = resources.find(tx, VIEWER, "Task", "clinic-made1")
    assert copy is not None
    assert copy.deleted
    with writer.database.begin() as tx:
        writer.mirror(tx, ehr.held("Task", "made1"))
    assert [one.id for one in writer.stored("Task") if not one.id.startswith("write-back")] == [id_]


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_success_that_tells_nothing_is_looked_for_and_not_sent_again(
    writer: Writer, ehr: WritingEhr, status: int
) -> None:
    ehr.conditional = False
    ehr.after.append(lambda _: httpx.Response(status))
    id_ = writer.file()
    writer.write()
    ehr.after.clear()
    for _ in range(3):
        writer.write(30)
    assert (writer.row(f"Task/{id_}").state, ehr.created) == ("done", 1)


def test_a_stranger_answered_to_our_create_is_never_taken_for_ours(writer: Writer, ehr: WritingEhr) -> None:
    ehr.put("Task", "t9", status="requested", intent="order", description="of somebody else")
    ehr.before.append(lambda _: httpx.Response(200, headers=JSON, text=ehr.texts["Task", "t9"]))
    id_ = writer.file(description="call her")
    assert writer.write().counts == {"waiting": 1}
    assert writer.row(f"Task/{id_}").remote_id is None
    assert ehr.held("Task", "t9")["description"] == "of somebody else"


def test_what_was_deleted_here_while_its_create_was_unanswered_is_corrected_there(
    writer: Writer, ehr: WritingEhr
) -> None:
    ehr.conditional = False
    id_ = unanswered(writer, ehr)
    writer.delete("Task", id_)
    assert writer.write(11).counts == {"done": 1}
    assert ehr.held("Task", "made1")["status"] == "entered-in-error"


def test_what_was_deleted_here_and_never_came_there_is_done(writer: Writer, ehr: WritingEhr) -> None:
    id_ = unanswered(writer, ehr, done=False)
    writer.delete("Task", id_)
    assert writer.write(11).counts == {"waiting": 1}
    assert writer.write(200).counts == {"done": 1}
    assert ehr.created == 0


@pytest.mark.fault("F4")
def test_two_processes_never_send_one_row(writer: Writer, ehr: WritingEhr) -> None:
    seen: list[str] = []

    def second(_: httpx.Request) -> None:
        ehr.before.clear()
        with pytest.raises(Busy), writer.client() as other:
            write_back_to(writer.database, writer.connection, client=other, now=lambda: writer.now)
        seen.append("refused")

    ehr.before.append(second)
    writer.file()
    assert writer.write().counts == {"done": 1}
    assert (seen, ehr.created) == (["refused"], 1)


@pytest.mark.fault("F4")
def test_a_process_that_slept_through_its_lease_sends_nothing_when_it_wakes(writer: Writer, ehr: WritingEhr) -> None:
    """It stands still between its last look at the row and its sending, for longer than another needs to do all of it."""
    id_ = writer.file()

    def asleep(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith("/metadata"):
            return None
        ehr.twists.clear()
        writer.pass_time(60)
        with writer.client() as other:
            done = write_back_to(writer.database, writer.connection, client=other, now=lambda: writer.now)
        assert done.counts == {"done": 1}
        return None

    ehr.twists.append(asleep)
    with suppress(Busy):
        writer.write()
    assert ehr.created == 1
    assert writer.row(f"Task/{id_}").state == "done"


def test_a_change_made_here_between_reading_and_sending_is_written_too(writer: Writer, ehr: WritingEhr) -> None:
    id_ = writer.file(description="one")

    def meanwhile(_: httpx.Request) -> None:
        ehr.before.clear()
        writer.change("Task", id_, description="two")

    ehr.before.append(meanwhile)
    writer.write()
    writer.write(10)
    assert ehr.held("Task", "made1")["description"] == "two"
    assert (ehr.created, writer.row(f"Task/{id_}").state) == (1, "done")


def answered(writer: Writer, id_: str, there: str | None) -> None:
    with writer.database.begin() as tx:
        conflicts.answer(tx, writer.row(f"Task/{id_}"), there, writer.author)


def open_admin_tasks(writer: Writer) -> int:
    tasks = [json.loads(one.body) for one in writer.stored("Task")]
    return sum(one["id"].startswith(conflicts.CODE) and one["status"] == "requested" for one in tasks)
