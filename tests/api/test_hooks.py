"""The hooks: who has the secret is heard, whatever is sent; who has not leaves no trace and learns nothing."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import timedelta

import httpx2
import pytest
from starlette.testclient import TestClient

from api.context import Access
from fhir_tracker import clock, connections
from fhir_tracker.storage import inbox, remote_subscriptions
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.inbox import Waiting
from fhir_tracker.storage.remote_subscriptions import RemoteSubscription
from subscriptions.inbox import MOST_WAITING
from tests.api.conftest import Serve
from tests.subscriptions.test_notifications import HOSTILE, event, r4

SECRET = {"X-Hook-Secret": "right"}
NOW = clock.now()


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@pytest.fixture
def subscription(database: Database) -> RemoteSubscription:
    """One for Task at `clinic`, whose secret is `right`, and was `former` before."""
    made = RemoteSubscription(
        id=1,
        connection="clinic",
        type="Task",
        kind="backport",
        criteria="http://example.org/topic",
        remote_id="s",
        digest=digest("right"),
        former_digest=digest("former"),
        status="requested",
        events=0,
        due_at=NOW + timedelta(days=1),
    )
    other = {"type": "Patient", "digest": digest("other"), "former_digest": None, "id": 2}
    with database.begin() as tx:
        connections.add(tx, "clinic", "https://ehr.example/fhir", now=NOW, subscribe="auto")
        connections.add(tx, "lab", "https://lab.example/fhir", now=NOW)
        remote_subscriptions.add(tx, made)
        remote_subscriptions.add(tx, RemoteSubscription(**{**made.__dict__, **other}))
    return made


def waiting(database: Database) -> list[tuple[str, str, str, bool]]:
    """Type, id, version and whether it is gone of all that waits."""
    return [(one.type, one.remote_id, one.version, one.gone) for one in rows(database)]


def rows(database: Database) -> list[Waiting]:
    with database.read() as tx:
        return inbox.due(tx, "clinic", clock.now() + timedelta(days=1), 10_000)


def held(database: Database) -> RemoteSubscription:
    with database.read() as tx:
        return next(one for one in remote_subscriptions.of_connection(tx, "clinic") if one.type == "Task")


def post(client: TestClient, body: object) -> httpx2.Response:
    return client.post("/hooks/clinic", json=body, headers=SECRET)


@pytest.mark.security("S30", "S31", "D1", "M3")
@pytest.mark.fault("F35")
@pytest.mark.requirement(71)
@pytest.mark.parametrize(
    "path", ["/hooks/clinic", "/hooks/clinic/Task/1", "/hooks/lab", "/hooks/nowhere", "/hooks/%00"]
)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hook-Secret": ""},
        {"X-Hook-Secret": "wrong"},
        {"X-Hook-Secret": "right "[:-2]},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic right"},
        {"X-Hook-Secret": digest("right")},
        {"X-Hook-Secret": "\xff\xfe"},
    ],
)
def test_without_the_secret_nothing_is_kept_and_every_answer_is_the_same(
    serve: Serve, database: Database, subscription: RemoteSubscription, path: str, headers: dict[str, str]
) -> None:
    given = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    answer = serve(Access.OPEN).post(path, headers=given, content=b"x" * 1000)
    assert answer.status_code == 401
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert answer.text == serve(Access.OPEN).post("/hooks/other").text
    assert waiting(database) == []
    assert held(database).heard_at is None


@pytest.mark.security("S31")
@pytest.mark.requirement(71)
def test_a_secret_opens_the_hook_of_its_own_connection_only(
    serve: Serve, database: Database, subscription: RemoteSubscription
) -> None:
    assert serve(Access.OPEN).post("/hooks/lab", headers=SECRET).status_code == 401
    assert waiting(database) == []


@pytest.mark.requirement(70, 72)
@pytest.mark.parametrize("access", list(Access))
def test_an_empty_post_has_the_type_pulled_in_every_access_mode(
    serve: Serve, database: Database, subscription: RemoteSubscription, access: Access
) -> None:
    answer = serve(access).post("/hooks/clinic", headers=SECRET)
    assert (answer.status_code, answer.content) == (204, b"")
    assert waiting(database) == [("Task", "", "", False)]
    assert held(database).heard_at is not None


@pytest.mark.security("S31")
@pytest.mark.requirement(70, 72)
@pytest.mark.parametrize(
    "headers",
    [SECRET, {"Authorization": "Bearer right"}, {"x-hook-secret": "former"}, {"authorization": "bearer  right"}],
)
def test_a_resource_put_below_the_hook_is_a_hint_whatever_if_match_says(
    serve: Serve, database: Database, subscription: RemoteSubscription, headers: dict[str, str]
) -> None:
    task = {"resourceType": "Task", "id": "1", "meta": {"versionId": "3"}, "status": "requested"}
    answer = serve(Access.LOCKED).put("/hooks/clinic/Task/1", json=task, headers={**headers, "If-Match": 'W/"99"'})
    assert (answer.status_code, answer.content) == (204, b"")
    assert waiting(database) == [("Task", "1", "3", False)]


@pytest.mark.requirement(72)
def test_deletions_come_in_three_ways(serve: Serve, database: Database, subscription: RemoteSubscription) -> None:
    client = serve(Access.OPEN)
    assert client.delete("/hooks/clinic/Task/1", headers=SECRET).status_code == 204
    told = {**SECRET, "X-Medplum-Deleted-Resource": "Task/2"}
    assert client.post("/hooks/clinic", json={}, headers=told).status_code == 204
    entry = {"fullUrl": "https://ehr.example/fhir/Task/3", "request": {"method": "DELETE", "url": "Task/3"}}
    assert post(client, r4("event-notification", 1, event(1), more=(entry,))).status_code == 204
    assert waiting(database) == [("Task", one, "", True) for one in "123"]


@pytest.mark.requirement(70)
def test_a_handshake_is_answered_200_and_a_heartbeat_204_and_neither_leaves_anything_to_do(
    serve: Serve, database: Database, subscription: RemoteSubscription
) -> None:
    client = serve(Access.OPEN)
    shaken = post(client, r4("handshake", 0))
    assert (shaken.status_code, shaken.content) == (200, b"")
    beaten = post(client, r4("heartbeat", 0))
    assert (beaten.status_code, beaten.content) == (204, b"")
    assert waiting(database) == []
    assert held(database).status == "active"


@pytest.mark.fault("F32")
@pytest.mark.requirement(73)
def test_an_event_counts_once_and_out_of_order_is_taken(
    serve: Serve, database: Database, subscription: RemoteSubscription
) -> None:
    client = serve(Access.OPEN)
    for number in (1, 3, 3, 2, 1, 3):
        assert post(client, r4("event-notification", 3, event(number, f"Task/{number}"))).status_code == 204
    assert [(one.remote_id, one.times) for one in rows(database)] == [("1", 1), ("3", 1), ("2", 1)]
    assert (held(database).events, held(database).missing, held(database).gap_at) == (3, (), None)


@pytest.mark.requirement(74)
def test_a_gap_is_noted_and_looked_at_soon(serve: Serve, database: Database, subscription: RemoteSubscription) -> None:
    client = serve(Access.OPEN)
    post(client, r4("event-notification", 4, event(4, "Task/4")))
    gap = held(database)
    assert (gap.missing, gap.gaps) == (("1", "2", "3"), 1)
    assert gap.due_at < clock.now() + timedelta(minutes=1)
    post(client, r4("event-notification", 5, event(5, "Task/5")))
    assert held(database).gaps == 1


@pytest.mark.fault("F32")
@pytest.mark.requirement(74)
def test_a_count_that_began_anew_has_the_type_pulled(
    serve: Serve, database: Database, subscription: RemoteSubscription
) -> None:
    client = serve(Access.OPEN)
    for number in (1, 2):
        post(client, r4("event-notification", number, event(number, f"Task/{number}")))
    post(client, r4("event-notification", 1, event(1, "Task/9")))
    assert ("Task", "", "", False) in waiting(database)
    assert ("Task", "9", "", False) in waiting(database)


@pytest.mark.requirement(73, 80)
def test_a_resource_waits_once_however_often_it_is_told_of(
    serve: Serve, database: Database, subscription: RemoteSubscription
) -> None:
    client = serve(Access.OPEN)
    for version in ("2", "1", "2"):
        task = {"resourceType": "Task", "id": "1", "meta": {"versionId": version}}
        client.put("/hooks/clinic/Task/1", json=task, headers=SECRET)
    assert [(one.remote_id, one.version, one.times) for one in rows(database)] == [("1", "", 3)]


@pytest.mark.fault("F35")
@pytest.mark.requirement(80)
def test_a_flood_of_empty_notifications_is_one_row(
    serve: Serve, database: Database, subscription: RemoteSubscription
) -> None:
    client = serve(Access.OPEN)
    for _ in range(50):
        assert client.post("/hooks/clinic", headers=SECRET).status_code == 204
    assert [one.times for one in rows(database)] == [50]


@pytest.mark.security("S31")
@pytest.mark.requirement(80)
def test_a_flood_of_resources_ends_in_a_pull_of_the_type(
    serve: Serve, database: Database, subscription: RemoteSubscription
) -> None:
    entries = [{"fullUrl": f"Task/{number}"} for number in range(MOST_WAITING)]
    for start in range(0, MOST_WAITING, 500):
        bundle = {"resourceType": "Bundle", "type": "history", "entry": entries[start : start + 500]}
        assert post(serve(Access.OPEN), bundle).status_code == 204
    more = {"resourceType": "Bundle", "type": "history", "entry": [{"fullUrl": f"Task/x{one}"} for one in range(100)]}
    assert post(serve(Access.OPEN), more).status_code == 204
    left = waiting(database)
    assert len(left) == MOST_WAITING + 1
    assert left[-1] == ("Task", "", "", False)


@pytest.mark.parametrize("body", HOSTILE)
def test_a_body_that_cannot_be_read_still_says_that_something_changed(
    serve: Serve, database: Database, subscription: RemoteSubscription, body: object
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = serve(Access.OPEN).post("/hooks/clinic", content=raw, headers=SECRET)
    assert (answer.status_code, answer.content) == (204, b"")
    assert waiting(database) == [("Task", "", "", False)]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"x" * 250_000, {}),
        (gzip.compress(b" " * 5_000_000), {"Content-Encoding": "gzip"}),
        (b"no gzip", {"Content-Encoding": "gzip"}),
        (b"{}", {"Content-Encoding": "br"}),
    ],
)
def test_a_body_over_the_limit_or_badly_packed_counts_as_none(
    serve: Serve, database: Database, subscription: RemoteSubscription, body: bytes, headers: dict[str, str]
) -> None:
    answer = serve(Access.OPEN).put("/hooks/clinic/Task/1", content=body, headers=SECRET | headers)
    assert answer.status_code == 204
    assert waiting(database) == [("Task", "1", "", False)]


@pytest.mark.requirement(72)
@pytest.mark.parametrize("kind", ["application/fhir+xml", "text/plain", "", "application/x-www-form-urlencoded", "/"])
@pytest.mark.parametrize(
    ("path", "kept"), [("/hooks/clinic/Task/1", ("Task", "1", "", False)), ("/hooks/clinic", ("Task", "", "", False))]
)
def test_xml_and_whatever_else_it_calls_itself_is_taken_as_far_as_the_address_tells(
    serve: Serve, database: Database, subscription: RemoteSubscription, kind: str, path: str, kept: tuple[object, ...]
) -> None:
    body = b'<Task xmlns="http://hl7.org/fhir"><id value="1"/><status value="requested"/></Task>'
    answer = serve(Access.OPEN).put(path, content=body, headers={**SECRET, "Content-Type": kind})
    assert (answer.status_code, answer.content) == (204, b"")
    assert waiting(database) == [kept]


@pytest.mark.requirement(72)
@pytest.mark.parametrize("kind", ["application/json", "application/fhir+json; charset=utf-8", "text/plain", ""])
def test_json_is_read_whatever_it_is_called(
    serve: Serve, database: Database, subscription: RemoteSubscription, kind: str
) -> None:
    body = json.dumps(r4("event-notification", 1, event(1, "Task/7"))).encode()
    serve(Access.OPEN).post("/hooks/clinic", content=body, headers={**SECRET, "Content-Type": kind})
    assert waiting(database) == [("Task", "7", "", False)]


def test_a_packed_body_is_read(serve: Serve, database: Database, subscription: RemoteSubscription) -> None:
    body = gzip.compress(json.dumps({"resourceType": "Task", "id": "1"}).encode())
    serve(Access.OPEN).post("/hooks/clinic", content=body, headers={**SECRET, "Content-Encoding": "gzip"})
    assert waiting(database) == [("Task", "1", "", False)]


@pytest.mark.security("S34")
def test_a_body_without_end_is_refused_after_its_news_were_kept(
    serve: Serve, database: Database, subscription: RemoteSubscription
) -> None:
    answer = serve(Access.OPEN).put("/hooks/clinic/Task/1", content=b"x" * 2_100_000, headers=SECRET)
    assert answer.status_code == 413
    assert answer.json()["issue"][0]["code"] == "too-long"
    assert waiting(database) == [("Task", "1", "", False)]


@pytest.mark.parametrize("path", ["/hooks/clinic/Nonsense/1", "/hooks/clinic/Task/a b", "/hooks/clinic/Task/%07"])
def test_an_address_that_names_nothing_says_that_something_changed(
    serve: Serve, database: Database, subscription: RemoteSubscription, path: str
) -> None:
    assert serve(Access.OPEN).put(path, headers=SECRET).status_code == 204
    assert waiting(database) == [("Task", "", "", False)]


@pytest.mark.security("S30")
@pytest.mark.parametrize("method", ["GET", "PATCH", "OPTIONS"])
def test_other_methods_are_refused_alike_with_and_without_the_secret(
    serve: Serve, subscription: RemoteSubscription, method: str
) -> None:
    for headers in ({}, SECRET):
        answer = serve(Access.OPEN).request(method, "/hooks/clinic", headers=headers)
        assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, POST, PUT")


def test_without_a_database_the_sender_is_asked_to_come_again(serve: Serve, subscription: RemoteSubscription) -> None:
    answer = serve(Access.OPEN, reached=False).post("/hooks/clinic", headers=SECRET)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.json()["issue"][0]["code"] == "transient"


@pytest.mark.security("L1")
def test_numbers_know_the_route_and_neither_key_nor_ids(serve: Serve, subscription: RemoteSubscription) -> None:
    client = serve(Access.OPEN)
    client.put("/hooks/clinic/Task/canary", headers=SECRET)
    text = client.get("/metrics").text
    assert "/hooks/{key}/{type}/{id}" in text
    assert "canary" not in text
