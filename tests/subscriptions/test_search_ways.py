"""Searches that may name a patient go by POST, and by GET where a server takes none; no address tells who is asked about."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import respx

from api.cli import main
from fhir_tracker import connections, search_seen
from fhir_tracker.errors import RemoteFailure, UsageError
from fhir_tracker.storage import cursors
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database
from subscriptions import EhrClient, client_of, note_opened
from subscriptions.abilities import STATE
from subscriptions.opened import refresh_patient
from subscriptions.search_ways import Ways, question_in
from subscriptions.shared_ways import told
from tests.subscriptions.dialects import Dialect
from tests.subscriptions.fake_ehr import BASE, START, FakeEhr
from tests.subscriptions.tracker import VIEWER, Tracker
from tests.subscriptions.vendor_ehr import ATHENA, ECW, EPIC, ORACLE, Profile, VendorEhr
from tests.subscriptions.writer import Writer
from tests.subscriptions.writing_ehr import writing_ehr

NAMED = f"{BASE}/Task?patient=p1&_count=100"
TELLING = frozenset(
    "patient subject identifier _id name family given birthdate phone email address for beneficiary owner performer "
    "practitioner location participant actor encounter member link _has _content _text _filter".split()
)


def naming(urls: list[str]) -> list[str]:
    """The addresses that tell who was asked about."""
    asked = {
        url: {name.partition(":")[0].partition(".")[0] for name, _ in parse_qsl(urlsplit(url).query)} for url in urls
    }
    return [url for url, names in asked.items() if names & TELLING]


def posted(ehr: FakeEhr) -> list[str]:
    return [url for url in ehr.urls if url.endswith("/_search")]


@pytest.mark.security("S54")
@pytest.mark.parametrize(
    ("asked", "type_"),
    [
        ("Task?patient=p1", "Task"),
        ("Task?_lastUpdated=ge2024-01-01&patient=p1", "Task"),
        ("Task?patient:Patient=p1", "Task"),
        ("Patient?identifier=urn%3Ax%7C7", "Patient"),
        ("Patient?_id=p1", "Patient"),
        ("Appointment?practitioner=d1&date=ge2024-01-01", "Appointment"),
        ("Observation?subject=Patient/p1&category=laboratory", "Observation"),
        ("CarePlan?_has:Task:based-on:patient=p1", "CarePlan"),
        ("Patient?something-of-the-vendors=7", "Patient"),
        ("Patient?=7", "Patient"),
        ("Task?_lastUpdated=ge2024-01-01&_sort=_lastUpdated&_count=100", None),
        ("CarePlan?category=assess-plan&_elements=id,meta&_count=100", None),
        ("Task", None),
        ("Task?", None),
        ("Patient/p1", None),
        ("Patient/p1/_history?_since=2024-01-01", None),
        ("Task/_search?patient=p1", None),
        ("metadata?patient=p1", None),
        ("nonsense?patient=p1", None),
        ("?patient=p1", None),
    ],
)
def test_what_may_tell_who_is_asked_about_is_a_question_for_a_form(asked: str, type_: str | None) -> None:
    found = question_in(f"{BASE}/{asked}", BASE)
    assert (found and found.type) == type_
    if found is not None:
        assert (found.url, found.form) == (f"{BASE}/{type_}", asked.partition("?")[2])
        assert question_in(f"https://elsewhere.example/{asked}", BASE) is None


@pytest.mark.security("S54")
def test_a_question_by_post_is_answered_as_one_by_get_is(ehr: FakeEhr) -> None:
    for number in range(5):
        ehr.put("Task", f"t{number}")
    ehr.page_size = 2
    with EhrClient(BASE) as client, EhrClient(BASE, ways=Ways("get")) as by_get:
        found, other = client.search(NAMED), by_get.search(NAMED)
    assert (found.status, found.served_at, found.content_type) == (other.status, other.served_at, other.content_type)
    assert found.url == f"{BASE}/Task"
    assert [urlsplit(url).path for url in ehr.urls] == ["/fhir/Task/_search", "/fhir/Task"]
    assert ehr.requests[0] == ehr.requests[1] == NAMED


@pytest.mark.security("S54")
@pytest.mark.parametrize("status", [301, 302, 303, 400, 403, 404, 405, 406, 415, 422, 501])
def test_a_server_that_takes_no_post_is_asked_by_get_after_one_try(
    database: Database, ehr: FakeEhr, status: int
) -> None:
    tracker = Tracker(database, ehr)
    ehr.post_status = status
    for _ in range(3):
        with client_of(tracker.connection, database=database, now=lambda: tracker.now) as client:
            assert client.search(NAMED).status == 200
            assert client.search(f"{BASE}/CarePlan?patient=p1").status == 200
    assert len(posted(ehr)) == 1
    assert len(ehr.urls) == 7
    with database.read() as tx:
        assert told(tx, tracker.connection, tracker.now) == "GET: the server takes no POST"


@pytest.mark.security("S54")
def test_it_is_tried_again_after_a_day_and_when_the_server_is_another(database: Database, ehr: FakeEhr) -> None:
    tracker = Tracker(database, ehr)
    tracker.connection = replace(tracker.connection, types=("CarePlan",))
    ehr.post_status = 405

    def ask() -> int:
        before = len(posted(ehr))
        with client_of(tracker.connection, database=database, now=lambda: tracker.now) as client:
            assert client.search(NAMED).status == 200
        return len(posted(ehr)) - before

    assert [ask(), ask()] == [1, 0]
    tracker.now += timedelta(hours=23)
    assert ask() == 0
    tracker.now += timedelta(hours=2)
    assert [ask(), ask()] == [1, 0]
    state = Cursor(connection="clinic", type=STATE, updated_at=START, detail={"software": "Fake 2"})
    with database.begin() as tx:
        cursors.save(tx, state)
    ehr.post_status = 0
    assert [ask(), ask()] == [1, 1]
    with database.read() as tx:
        assert told(tx, tracker.connection, tracker.now) == "POST"


@pytest.mark.security("S54")
def test_a_refusal_that_a_get_meets_too_says_nothing_of_posts(database: Database, ehr: FakeEhr) -> None:
    tracker = Tracker(database, ehr)

    def refusing(request: httpx.Request) -> httpx.Response | None:
        return ehr.json({"resourceType": "OperationOutcome"}, 400) if "Goal" in str(request.url) else None

    ehr.twists.append(refusing)
    with client_of(tracker.connection, database=database, now=lambda: tracker.now) as client:
        assert client.search(f"{BASE}/Goal?patient=p1").status == 400
        assert len(ehr.urls) == 2
        assert client.search(f"{BASE}/Goal?patient=p2").status == 400
        assert len(ehr.urls) == 3
        assert client.search(NAMED).status == 200
        assert client.search(f"{BASE}/Goal?patient=p3").status == 400
    assert [urlsplit(url).path for url in ehr.urls[3:]] == ["/fhir/Task/_search", "/fhir/Goal/_search"]


@pytest.mark.security("S54")
def test_one_type_alone_that_takes_no_post_does_not_move_the_others(database: Database, ehr: FakeEhr) -> None:
    tracker = Tracker(database, ehr)
    with client_of(tracker.connection, database=database, now=lambda: tracker.now) as client:
        assert client.search(NAMED).status == 200
        ehr.post_status = 404
        assert client.search(f"{BASE}/Coverage?patient=p1").status == 200
        ehr.post_status = 0
        ehr.urls.clear()
        assert client.search(f"{BASE}/Coverage?patient=p1").status == 200
        assert client.search(NAMED).status == 200
    assert [urlsplit(url).path for url in ehr.urls] == ["/fhir/Coverage", "/fhir/Task/_search"]
    with database.read() as tx:
        assert told(tx, tracker.connection, tracker.now) == "POST, but GET for Coverage"


@pytest.mark.security("S54")
def test_a_404_for_one_patient_is_an_answer_where_posts_were_answered(ehr: FakeEhr) -> None:
    with EhrClient(BASE) as client:
        assert client.search(NAMED).status == 200
        ehr.post_status = 404
        assert client.search(NAMED).status == 404
    assert len(ehr.urls) == 2


@pytest.mark.security("S54")
@pytest.mark.parametrize(("way", "statuses"), [("post", [405, 405]), ("get", [200, 200]), ("auto", [200, 200])])
def test_what_the_connection_says_is_kept_to(database: Database, ehr: FakeEhr, way: str, statuses: list[int]) -> None:
    tracker = Tracker(database, ehr)
    tracker.connection = replace(tracker.connection, options={"search_by": way})
    ehr.post_status = 405
    with client_of(tracker.connection, database=database, now=lambda: tracker.now) as client:
        assert [client.search(NAMED).status for _ in range(2)] == statuses
    assert len(posted(ehr)) == {"post": 2, "get": 0, "auto": 1}[way]
    with pytest.raises(UsageError, match="--search-by is one of"), database.begin() as tx:
        connections.add(tx, "other", BASE, now=START, options={"search_by": "put"})


def test_a_failing_server_is_asked_again_by_post_and_taught_nothing(ehr: FakeEhr) -> None:
    waits: list[float] = []
    answers = [500, 503, 429]

    def failing(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(answers.pop(0)) if answers else None

    ehr.twists.append(failing)
    with EhrClient(BASE, pause=waits.append, jitter=lambda: 0.5) as client:
        assert client.search(NAMED).status == 200
    assert len(posted(ehr)) == len(ehr.urls) == 4
    assert len(waits) == 3


@pytest.mark.security("S29")
def test_a_post_is_redirected_within_the_origin_alone(ehr: FakeEhr) -> None:
    there = {"location": f"{BASE}/CarePlan/_search"}
    ehr.twists.append(lambda one: httpx.Response(307, headers=there) if "/Task" in str(one.url) else None)
    with EhrClient(BASE) as client:
        assert client.search(NAMED).status == 200
        assert posted(ehr) == [f"{BASE}/Task/_search", f"{BASE}/CarePlan/_search"]
        there["location"] = "https://elsewhere.example/fhir/Task/_search"
        with pytest.raises(RemoteFailure, match="another origin"):
            client.search(NAMED)


def test_links_of_the_server_are_followed_as_they_are_given(tracker: Tracker, ehr: FakeEhr) -> None:
    tracker.connection = replace(
        tracker.connection, types=("Patient", "Task"), options={"strategies": {"Task": "roster"}}
    )
    ehr.put("Patient", "p1")
    for number in range(5):
        ehr.put("Task", f"t{number}", status="requested", intent="order", subject={"reference": "Patient/p1"})
    ehr.page_size = 2
    assert tracker.sync().complete
    asked = [url for url in ehr.urls if "Task" in url or "_getpages" in url]
    assert asked[0] == f"{BASE}/Task/_search"
    assert len(asked) == 3
    assert all("_getpages=" in url for url in asked[1:])
    assert all(tracker.find(f"t{number}", "Task") for number in range(5))


@pytest.mark.security("S54")
@pytest.mark.parametrize(
    ("profile", "mapping", "types"),
    [
        (EPIC, "epic", ("Patient", "CarePlan", "CareTeam")),
        (ORACLE, "oracle_health", ("Patient", "CareTeam", "Appointment")),
        (ATHENA, "athena", ("Patient", "CarePlan")),
        (ECW, "ecw", ("Patient", "CarePlan")),
        (ECW, "generic", ("Patient", "CarePlan")),
    ],
    ids=lambda value: value.name if isinstance(value, Profile) else None,
)
@pytest.mark.parametrize("post_status", [0, 405])
def test_no_address_of_a_whole_sync_tells_who_is_asked_about(
    database: Database, tmp_path: Path, profile: Profile, mapping: str, types: tuple[str, ...], post_status: int
) -> None:
    ehr = VendorEhr(profile)
    ehr.post_status = post_status
    with respx.mock(assert_all_called=False) as router:
        ehr.serve(router)
        vendor = Dialect(database, ehr, tmp_path, mapping, types)
        vendor.patient("p1", "p2")
        for type_ in set(types) - {"Patient"}:
            members: dict[str, Any] = {
                "subject": {"reference": "Patient/p1"},
                "status": "active",
                "start": "2031-01-02T10:00:00Z",
            }
            ehr.put(type_, f"{type_.lower()}1", **members)
        vendor.sync()
        vendor.sync(timedelta(hours=2))
        reconciled = vendor.tracker.reconcile()
        assert reconciled.complete, reconciled.error
        with EhrClient(BASE) as client:
            found = refresh_patient(
                database, vendor.tracker.connection, "p1", client=client, now=lambda: vendor.tracker.now
            )
        assert found.complete, found.error
    told_of = [url for url in ehr.requests if "patient=" in url]
    assert bool(naming(ehr.urls)) is bool(post_status and told_of)
    if not post_status:
        assert len(ehr.urls) == len(ehr.requests)


def lost(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("no answer")


@pytest.mark.security("S54")
def test_no_address_of_a_lost_write_tells_what_is_looked_for(database: Database) -> None:
    with writing_ehr() as ehr:
        writer = Writer(database, BASE, now=ehr.now, types=("Patient",))
        writer.sync()
        ehr.conditional = False
        ehr.before.append(lost)
        writer.file(description="call her", code={"text": "First call"})
        writer.write()
        ehr.before.clear()
        for _ in range(16):
            writer.write(11)
        assert ehr.created == 1
    assert any("Task?identifier=" in url for url in ehr.requests)
    assert any("Task?patient=" in url for url in ehr.requests)
    assert naming(ehr.urls) == []


def test_what_was_seen_ends_with_the_connection(database: Database, ehr: FakeEhr) -> None:
    tracker = Tracker(database, ehr)
    with client_of(tracker.connection, database=database, now=lambda: tracker.now) as client:
        client.search(NAMED)
    with database.begin() as tx:
        assert search_seen.seen(tx, "clinic", tracker.now, "").posted == {"Task"}
        assert not note_opened(tx, VIEWER, "clinic-p1", tracker.now)
        connections.remove(tx, "clinic")
        assert search_seen.seen(tx, "clinic", tracker.now, "") == search_seen.Seen()


@pytest.mark.security("S54")
def test_the_way_is_chosen_shown_and_left_to_be_found_out_again(
    ready_url: str, capsys: pytest.CaptureFixture[str], ehr: FakeEhr
) -> None:
    def run(*words: str) -> tuple[int, str]:
        code = main([*words, "--database", ready_url])
        return code, "".join(capsys.readouterr())

    add = ("connection", "add", "clinic", "--base-url", BASE, "--types", "Task", "--strategy", "Task=roster")
    code, said = run(*add, "--search-by", "put")
    assert (code, "--search-by is one of auto, post, get" in said) == (2, True)
    assert run(*add, "--search-by", "get")[0] == 0
    assert "GET, as you chose" in run("connection", "show", "clinic")[1]
    assert run("connection", "change", "clinic", "--search-by", "")[0] == 0
    shown = json.loads(run("connection", "show", "clinic", "--json")[1])
    assert shown["searches"] == "not seen yet: POST is tried first"


class Renewing:
    """An Authorizer whose first token is over."""

    def __init__(self) -> None:
        self.number = 1

    def header(self, now: datetime) -> str | None:
        return f"Bearer made-up-{self.number}"

    def refused(self) -> bool:
        self.number += 1
        return self.number == 2


@pytest.mark.requirement(103)
@pytest.mark.security("S54")
def test_a_401_to_a_post_brings_one_new_token_and_says_nothing_of_posts(ehr: FakeEhr) -> None:
    shown: list[str] = []

    def guarded(request: httpx.Request) -> httpx.Response | None:
        shown.append(request.headers["authorization"])
        return None if shown[-1].endswith("2") else httpx.Response(401)

    def refusing(request: httpx.Request) -> httpx.Response:
        shown.append(request.headers["authorization"])
        return httpx.Response(401)

    ehr.twists.append(guarded)
    with EhrClient(BASE, authorizer=Renewing()) as client:
        assert client.search(NAMED).status == 200
    assert shown == ["Bearer made-up-1", "Bearer made-up-2"]
    assert len(posted(ehr)) == len(ehr.urls) == 2
    with EhrClient(BASE, authorizer=Renewing()) as client:
        shown.clear()
        ehr.twists[:] = [refusing]
        assert client.search(NAMED).status == 401
    assert len(shown) == 2, "a server that refuses our token is not asked by GET as well"
