from __future__ import annotations

from datetime import datetime

import pytest

from api.context import Access
from fhir_tracker import clock, connections, quarantine
from fhir_tracker.errors import Incorrect, RuleBroken
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import audit
from fhir_tracker.storage import quarantine as stored
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.quarantine import Whose
from tests.api.conftest import Serve
from tests.api.staff.conftest import Reader, colleague
from tests.api.staff.markup import problems
from tests.support.setting_up import OTHER_ROLES

VIEWER = open_viewer()
BAD = '{"resourceType":"Patient","id":"b","meta":"<b>\\u001b"}'
GOOD = '{"resourceType":"Patient","id":"b"}'


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page."""
    return one_file


def put(database: Database, body: str = BAD) -> int:
    told = {"connection": "north", "type_": "Patient", "remote_id": "b", "reason": "`meta` is odd.", "detail": ""}
    with database.begin() as tx:
        stored.put(tx, **told, body=body, at=clock.now())
        return stored.list(tx, VIEWER)[0].id if stored.list(tx, VIEWER) else 0


@pytest.fixture
def entry(database: Database) -> int:
    """A Patient of north that could not be applied; the number of its entry."""
    with database.begin() as tx:
        connections.add(tx, "north", "http://127.0.0.1:9/fhir", now=clock.now())
    return put(database)


def test_the_list_shows_what_waits_and_why(serve: Serve, entry: int) -> None:
    reader = Reader(serve(Access.OPEN))
    page = reader.get("/quarantine")
    assert "Patient b north `meta` is odd." in page.words
    assert page.hrefs("/quarantine/") == [f"/quarantine/{entry}"]
    assert problems(page.text) == []
    assert "Nothing is in quarantine." in reader.get("/quarantine?connection=south").words
    assert reader.get("/quarantine?connection=north").hrefs("/quarantine/") == [f"/quarantine/{entry}"]


@pytest.mark.security("B1")
def test_whoever_an_entry_is_about_is_named_in_the_trail(serve: Serve, entry: int, database: Database) -> None:
    told = {"connection": "north", "type_": "Task", "reason": "odd", "detail": "", "body": "{}"}
    with database.begin() as tx:
        for remote in "tu":
            stored.put(tx, Whose(patient="ann"), **told, remote_id=remote, at=clock.now())
        first, second = (one.id for one in stored.list(tx, VIEWER) if one.type == "Task")
    reader = Reader(serve(Access.OPEN))
    reader.get("/quarantine")
    reader.send(f"/quarantine/{first}/retry")
    reader.send(f"/quarantine/{second}/discard", {"reason": "not one of ours"})
    with database.read() as tx:
        named = {one.action: (one.patient, one.patients) for one in audit.list(tx, VIEWER)}
    assert (named["search"], named["retry"], named["discard"]) == ((None, ("ann",)), ("ann", ()), ("ann", ()))


def test_an_entry_is_shown_as_it_was_sent_and_its_text_stays_text(serve: Serve, entry: int) -> None:
    page = Reader(serve(Access.OPEN)).get(f"/quarantine/{entry}")
    assert BAD in page.words
    assert "<b>" not in page.text
    assert problems(page.text) == []


def test_what_still_cannot_be_applied_says_why(serve: Serve, entry: int) -> None:
    reader = Reader(serve(Access.OPEN))
    page = reader.send(f"/quarantine/{entry}/retry")
    assert page.status == 422
    assert "It still cannot be applied: `meta` is not an object." in page.words


def test_what_can_be_applied_now_leaves_quarantine(serve: Serve, entry: int, database: Database) -> None:
    put(database, GOOD)
    answer = Reader(serve(Access.OPEN)).send(f"/quarantine/{entry}/retry")
    assert (answer.status, answer.location) == (303, "/quarantine?said=taken")
    with database.read() as tx:
        assert stored.open_count(tx) == 0


def test_discarding_asks_for_a_reason_and_keeps_what_was_typed(serve: Serve, entry: int, database: Database) -> None:
    reader = Reader(serve(Access.OPEN))
    refused = reader.send(f"/quarantine/{entry}/discard", {"reason": "  "})
    assert refused.status == 422
    assert "Say why it is not needed." in refused.words
    refused = reader.send(f"/quarantine/{entry}/discard", {"reason": "x" * 501})
    assert "x" * 501 in refused.text
    done = reader.send(f"/quarantine/{entry}/discard", {"reason": "a test\r\npatient"})
    assert (done.status, done.location) == (303, "/quarantine?said=discarded")
    page = reader.get(f"/quarantine/{entry}")
    assert "Discarded by Open mode: a test patient" in page.words
    assert "Not needed?" not in page.words
    assert "Nothing is in quarantine." in reader.get("/quarantine").words
    with database.read() as tx:
        assert stored.open_count(tx) == 0


def test_what_was_discarded_waits_again_only_with_another_text(entry: int, database: Database) -> None:
    author = Author(viewer=VIEWER, origin="cli", at=clock.now())
    with database.begin() as tx:
        quarantine.discard(tx, quarantine.get(tx, VIEWER, entry), "not ours", author)
        with pytest.raises(RuleBroken, match="does not wait"):
            quarantine.discard(tx, quarantine.get(tx, VIEWER, entry), "again", author)
        with pytest.raises(Incorrect, match="Say why"):
            quarantine.discard(tx, quarantine.get(tx, VIEWER, entry), "", author)
    put(database)
    with database.read() as tx:
        assert (stored.open_count(tx), quarantine.get(tx, VIEWER, entry).times) == (0, 2)
    assert put(database, BAD.replace("<b>", "<i>")) == entry
    with database.read() as tx:
        assert quarantine.get(tx, VIEWER, entry).resolution is None


@pytest.mark.parametrize("path", ["/quarantine/0", "/quarantine/x", "/quarantine/99999999999999999999"])
def test_what_is_not_there_is_not_found(serve: Serve, database: Database, path: str) -> None:
    assert Reader(serve(Access.OPEN)).get(path).status == 404


@pytest.mark.security("A1", "S40")
@pytest.mark.parametrize("role", OTHER_ROLES)
def test_only_the_clinic_admin_sees_it(serve: Serve, entry: int, database: Database, now: datetime, role: str) -> None:
    reader = colleague(serve(Access.LOCKED), database, now, role)
    for path in ("/quarantine", f"/quarantine/{entry}"):
        assert reader.get(path).status == 403
    for step in ("retry", "discard"):
        assert reader.send(f"/quarantine/{entry}/{step}", {"reason": "no"}).status == 403
