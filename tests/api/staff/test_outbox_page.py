from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from api.context import Access
from fhir_tracker import clock, conflicts, connections, writes
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import outbox
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.api.staff.conftest import Reader, colleague
from tests.api.staff.markup import problems
from tests.support.setting_up import OTHER_ROLES

VIEWER = open_viewer()


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page."""
    return one_file


@pytest.fixture
def entry(database: Database) -> int:
    """A Task whose status and description both sides changed; the number of its row."""
    now = clock.now()
    author = Author(viewer=VIEWER, origin="api", at=now)
    task: dict[str, Any] = {"resourceType": "Task", "status": "in-progress", "intent": "order"}
    with database.begin() as tx:
        options = {"write_back": ["Task"]}
        connections.add(tx, "north", "http://127.0.0.1:9/fhir", now=now, options=options)
        writes.create(tx, task | {"for": {"reference": "Patient/north-1"}, "description": "ours <b>"}, author)
        row = outbox.listed(tx, VIEWER)[0]
        there = {"resourceType": "Task", "status": "accepted", "description": "theirs"}
        found = [
            conflicts.difference(name, None, there, task | {"description": "ours <b>"}, conflicts.digest(there, name))
            for name in ("description", "status")
        ]
        conflicts.mark(tx, row, found, author)
    return row.id


def test_the_list_shows_what_waits_and_where_to_decide(serve: Serve, entry: int, database: Database) -> None:
    reader = Reader(serve(Access.OPEN))
    page = reader.get("/outbox")
    assert page.status == 200
    assert "Changed here and in north: description, status." in page.words
    assert page.hrefs("/outbox/") == [f"/outbox/{entry}", f"/outbox/{entry}"]
    assert problems(page.text) == []


def test_an_empty_outbox_says_what_would_fill_it(serve: Serve, database: Database) -> None:
    page = Reader(serve(Access.OPEN)).get("/outbox")
    assert "--write-back" in page.words
    assert problems(page.text) == []


def test_a_conflict_shows_each_side_and_takes_a_choice_for_each_field(
    serve: Serve, entry: int, database: Database
) -> None:
    reader = Reader(serve(Access.OPEN))
    page = reader.get(f"/outbox/{entry}")
    assert "Before In the EHR now Here now (none) theirs ours <b>" in page.words
    assert "<b>" not in page.text.replace("&lt;b&gt;", "")
    assert problems(page.text) == []
    form = {"csrf": page.hidden("csrf"), "choice.description": "theirs"}
    refused = reader.send(f"/outbox/{entry}", form)
    assert refused.status == 422
    assert "Choose which of them holds." in refused.words
    refused = reader.send(f"/outbox/{entry}", form | {"choice.status": "edit", "value.status": "accepted"})
    assert "This is not JSON" in refused.words
    done = reader.send(f"/outbox/{entry}", form | {"choice.status": "ours"})
    assert (done.status, done.location) == (303, "/outbox?said=decided")
    with database.read() as tx:
        row = conflicts.get(tx, VIEWER, entry)
    assert row.state == "waiting"
    assert {name: one["side"] for name, one in row.detail["decided"].items()} == {
        "description": "theirs",
        "status": "ours",
    }


def test_a_value_of_its_own_is_written_here_first(serve: Serve, entry: int, database: Database) -> None:
    reader = Reader(serve(Access.OPEN))
    form = {"csrf": reader.get(f"/outbox/{entry}").hidden("csrf"), "choice.status": "ours"}
    told = {"choice.description": "edit", "value.description": json.dumps("both")}
    assert reader.send(f"/outbox/{entry}", form | told).status == 303
    with database.read() as tx:
        row = conflicts.get(tx, VIEWER, entry)
    assert row.version == 2


def test_what_was_refused_is_tried_again(serve: Serve, entry: int, database: Database) -> None:
    with database.begin() as tx:
        row = conflicts.get(tx, VIEWER, entry)
        outbox.note(tx, row, state="dead", reason="The server answered 422.", due_at=row.due_at + timedelta(days=1))
    reader = Reader(serve(Access.OPEN))
    page = reader.get(f"/outbox/{entry}")
    assert "The server answered 422." in page.words
    assert reader.send(f"/outbox/{entry}/retry", {"csrf": page.hidden("csrf")}).location == "/outbox?said=retried"
    with database.read() as tx:
        assert conflicts.get(tx, VIEWER, entry).state == "waiting"


@pytest.mark.parametrize("path", ["/outbox/0", "/outbox/x", "/outbox/99999999999999999999"])
def test_what_is_not_there_is_not_found(serve: Serve, database: Database, path: str) -> None:
    assert Reader(serve(Access.OPEN)).get(path).status == 404


@pytest.mark.security("A1", "S40")
@pytest.mark.parametrize("role", OTHER_ROLES)
def test_only_the_clinic_admin_sees_it(serve: Serve, entry: int, database: Database, now: datetime, role: str) -> None:
    reader = colleague(serve(Access.LOCKED), database, now, role)
    for path in ("/outbox", f"/outbox/{entry}"):
        assert reader.get(path).status == 403


def test_what_the_ehr_said_of_a_refusal_is_shown_and_a_third_value_that_cannot_be_is_refused_in_words(
    serve: Serve, entry: int, database: Database
) -> None:
    reader = Reader(serve(Access.OPEN))
    form = {"csrf": reader.get(f"/outbox/{entry}").hidden("csrf"), "choice.description": "theirs"}
    refused = reader.send(f"/outbox/{entry}", form | {"choice.status": "edit", "value.status": '"bogus"'})
    assert refused.status == 422
    assert problems(refused.text) == []
    with database.begin() as tx:
        row = conflicts.get(tx, VIEWER, entry)
        assert row.state == "conflict"
        outbox.note(tx, row, state="dead", reason="The server answered 422.", detail={"said": "no <such> owner"})
    assert "The EHR said no <such> owner" in reader.get(f"/outbox/{entry}").words


def test_a_create_without_an_answer_is_asked_about_and_answered(serve: Serve, entry: int, database: Database) -> None:
    with database.begin() as tx:
        row = conflicts.get(tx, VIEWER, entry)
        outbox.note(tx, row, state="waiting", sent_at=clock.now(), detail={})
        author = Author(viewer=VIEWER, origin="write-back", at=clock.now())
        found: list[Any] = [{"id": "77", "text": '{"description": "ours <b>"}'}]
        told = {"type": "Task", "sent": "ours", "found": found}
        conflicts.ask(tx, conflicts.get(tx, VIEWER, entry), told, author)
    reader = Reader(serve(Access.OPEN))
    page = reader.get(f"/outbox/{entry}")
    assert "This is it: Task/77" in page.words
    assert problems(page.text) == []
    form = {"csrf": page.hidden("csrf")}
    assert reader.send(f"/outbox/{entry}", form).status == 422
    assert reader.send(f"/outbox/{entry}", form | {"there": "other", "id": "no/id"}).status == 422
    assert reader.send(f"/outbox/{entry}", form | {"there": "id.77"}).status == 303
    with database.read() as tx:
        row = conflicts.get(tx, VIEWER, entry)
    assert (row.state, conflicts.answer_of(row)) == ("waiting", (True, "77"))


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        ("unsupported", "It takes no new Task; this one stays here.", "north: It takes no new Task; this one stays"),
        ("dead", "The server answered 422.", "north: refused, it stays here. The server answered 422."),
        ("conflict", "Changed here and in north: status.", "status. The clinic admin decides."),
        ("waiting", None, "north: on its way there."),
        ("done", None, "north: in step with Task/77"),
    ],
)
def test_the_page_of_a_task_says_what_of_it_is_in_the_ehr(
    serve: Serve, entry: int, database: Database, state: str, reason: str | None, words: str
) -> None:
    with database.begin() as tx:
        row = conflicts.get(tx, VIEWER, entry)
        outbox.note(tx, row, state=state, reason=reason, remote_type="Task", remote_id="77")
    page = Reader(serve(Access.OPEN)).get(f"/tasks/{row.local_id}")
    assert words in page.words
    assert page.hrefs("/outbox/") == ([] if state == "done" else [f"/outbox/{entry}"])
    assert problems(page.text) == []
