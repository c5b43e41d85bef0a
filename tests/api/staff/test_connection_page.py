from __future__ import annotations

from datetime import datetime

import pytest

from api.context import Access
from fhir_tracker import search_seen
from fhir_tracker.search_seen import ANY, Seen
from fhir_tracker.storage import connections
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.api.staff.conftest import Reader, colleague
from tests.api.staff.markup import problems
from tests.support.followed import followed, open_circuit
from tests.support.setting_up import OTHER_ROLES


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page."""
    return one_file


def test_a_connection_shows_what_it_can_do_how_it_is_followed_and_what_is_stuck(
    serve: Serve, database: Database, now: datetime
) -> None:
    with database.begin() as tx:
        followed(tx, now)
    page = Reader(serve(Access.OPEN)).get("/connections/north")
    assert page.status == 200
    for said in (
        "north in step http://127.0.0.1:9/fhir",
        "Test EHR 7 FHIR 4.0.1",
        "+12 s from ours",
        "Patient by time of change the server lists _lastUpdated for it just now 0 s 4 0 no Date header",
        "CarePlan patient by patient, compared a search must name a patient and cannot say since when not yet",
        "2 of 2 due",
        "Task not followed the server does not search it",
        "Patient rest-hook active just now 2",
        "lost its status at the EHR is error never",
        "In quarantine 1 in quarantine To be written there 1 to be written there 1 dead",
        "Missed events 4",
        "250 requests a minute",
        "Circuit closed",
    ):
        assert said in page.words, said
    assert problems(Reader(serve(Access.OPEN)).get("/sync").text) == []
    assert page.hrefs("/quarantine") == ["/quarantine?connection=north"]
    assert problems(page.text) == []


def test_a_new_connection_says_what_is_not_known_yet(serve: Serve, database: Database, now: datetime) -> None:
    with database.begin() as tx:
        connections.add(tx, connections.Connection(key="new", base_url="http://127.0.0.1:9/fhir", created_at=now))
    page = Reader(serve(Access.OPEN)).get("/connections/new")
    for said in ("first load", "nothing has come yet", "it has not told yet what it can do", "Under Other terms"):
        assert said in page.words, said
    assert problems(page.text) == []


@pytest.mark.security("S54")
@pytest.mark.parametrize(
    ("way", "found", "said"),
    [
        ("auto", Seen(), "not seen yet: POST is tried first"),
        ("auto", Seen(posted=frozenset({"Task"})), "POST"),
        ("auto", Seen(posted=frozenset({"Task"}), got=frozenset({"Goal"})), "POST, but GET for Goal"),
        ("auto", Seen(got=frozenset({ANY})), "GET: the server takes no POST"),
        ("get", Seen(posted=frozenset({"Task"})), "GET, as you chose"),
    ],
)
def test_it_says_by_which_way_searches_about_patients_go(
    serve: Serve, database: Database, now: datetime, way: str, found: Seen, said: str
) -> None:
    with database.begin() as tx:
        made = connections.Connection(
            key="north", base_url="https://north.example/fhir", created_at=now, options={"search_by": way}
        )
        connections.add(tx, made)
        search_seen.note(tx, "north", found)
    shown = Reader(serve(Access.OPEN)).get("/connections/north")
    assert f"Searches about a patient go by {said}" in shown.words


def test_a_circuit_that_is_open_says_until_when(serve: Serve, database: Database, now: datetime) -> None:
    with database.begin() as tx:
        followed(tx, now)
        open_circuit(tx, now)
        connections.note_failure(tx, "north", now, "The server answered 500.")
    page = Reader(serve(Access.OPEN)).get("/connections/north")
    assert "north left alone" in Reader(serve(Access.OPEN)).get("/connections").words
    for said in ("north left alone", "The server answered 500. see fhir-tracker connection test north", "Circuit open"):
        assert said in page.words, said
    assert "Failures in a row 9 Nothing is asked before in 1 min" in page.words


def test_only_the_clinic_admin_sees_it_and_is_led_there(serve: Serve, database: Database, now: datetime) -> None:
    with database.begin() as tx:
        followed(tx, now)
    admin = Reader(serve(Access.OPEN))
    assert admin.get("/sync").hrefs("/connections/") == ["/connections/north"]
    assert admin.get("/connections/south").status == 404
    for role in OTHER_ROLES:
        reader = colleague(serve(Access.LOCKED), database, now, role)
        assert reader.get("/connections/north").status == 403
        shown = reader.get("/sync")
        assert shown.status == (403 if role == "front-desk" else 200), role
        assert shown.hrefs("/connections/") == shown.hrefs("/quarantine") == shown.hrefs("/outbox") == []
        assert ("To be written there 1 1 to decide" in shown.words) == (shown.status == 200)
