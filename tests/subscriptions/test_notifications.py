"""Every body that a notification may have is understood, and what none can understand says at least that something changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriptions.notifications import BARE, MOST_EVENTS, Event, Hint, Notification, read_bundle, read_notification

LIMIT = 200_000
BASE = "https://ehr.example/fhir"
TASK = Hint(type="Task", remote_id="1")


def read(
    body: object = None, *, method: str = "POST", place: tuple[str, str] = ("", ""), **headers: str
) -> Notification:
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_notification(method, place, named, raw, max_bytes=LIMIT)


def r4(kind: str, since: int, *events: dict[str, Any], more: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    """A notification of the R4 backport: Parameters first."""
    told = [
        {"name": "subscription", "valueReference": {"reference": f"{BASE}/Subscription/s"}},
        {"name": "topic", "valueCanonical": "http://example.org/topic"},
        {"name": "status", "valueCode": "active"},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(since)},
        *({"name": "notification-event", "part": event["part"]} for event in events),
    ]
    first = {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Parameters", "parameter": told}}
    return {"resourceType": "Bundle", "type": "history", "entry": [first, *more]}


def event(number: int, focus: str = "", at: str = "2024-05-06T12:00:00Z") -> dict[str, Any]:
    parts: list[dict[str, Any]] = [
        {"name": "event-number", "valueString": str(number)},
        {"name": "timestamp", "valueInstant": at},
    ]
    return {"part": [*parts, *([{"name": "focus", "valueReference": {"reference": focus}}] if focus else [])]}


@pytest.mark.requirement(70, 72)
@pytest.mark.parametrize("kind", ["handshake", "heartbeat"])
def test_a_sign_of_life_says_how_many_events_there_were(kind: str) -> None:
    told = read(r4(kind, 7))
    assert (told.kind, told.since, told.status, told.hints, told.events) == (kind, 7, "active", (), ())
    assert told.is_handshake == (kind == "handshake")


@pytest.mark.requirement(72)
def test_r4_events_name_what_changed_and_their_numbers() -> None:
    told = read(r4("event-notification", 3, event(2, f"{BASE}/Task/1"), event(3, "Task/2/_history/5")))
    assert [one.number for one in told.events] == [2, 3]
    assert [one.hints for one in told.events] == [(TASK,), (Hint(type="Task", remote_id="2", version="5"),)]
    assert (told.kind, told.since, told.hints) == ("event", 3, ())


@pytest.mark.requirement(72)
@pytest.mark.parametrize("number", ["4", 4])
def test_r4b_and_r5_put_a_subscription_status_first(number: object) -> None:
    status = {
        "resourceType": "SubscriptionStatus",
        "status": "active",
        "type": "event-notification",
        "eventsSinceSubscriptionStart": number,
        "subscription": {"reference": "Subscription/s"},
        "notificationEvent": [{"eventNumber": number, "focus": {"reference": "Task/1"}}],
    }
    told = read({"resourceType": "Bundle", "type": "subscription-notification", "entry": [{"resource": status}]})
    assert (told.kind, told.since, told.status) == ("event", 4, "active")
    assert [(one.number, one.hints) for one in told.events] == [(4, (TASK,))]


@pytest.mark.requirement(72)
def test_older_servers_name_the_parameters_in_another_way() -> None:
    bundle = json.loads(
        json.dumps(r4("event-notification", 1, event(1, "Task/1")))
        .replace("events-since-subscription-start", "eventsSinceSubscriptionStart")
        .replace("event-number", "eventNumber")
        .replace('"notification-event"', '"notificationEvent"')
    )
    told = read(bundle)
    assert (told.since, told.events[0].number, told.events[0].hints) == (1, 1, (TASK,))


@pytest.mark.requirement(72)
def test_full_resources_and_deletions_beside_events_that_name_nothing_are_taken_from_the_entries() -> None:
    full = {"fullUrl": f"{BASE}/Task/1", "resource": {"resourceType": "Task", "id": "1", "meta": {"versionId": "3"}}}
    gone = {"fullUrl": f"{BASE}/Task/2", "request": {"method": "DELETE", "url": "Task/2"}}
    told = read(r4("event-notification", 1, event(1), more=(full, gone)))
    assert told.hints == (Hint(type="Task", remote_id="1", version="3"), Hint(type="Task", remote_id="2", gone=True))


def test_context_beside_a_named_focus_is_no_news() -> None:
    patient = {"fullUrl": f"{BASE}/Patient/p", "resource": {"resourceType": "Patient", "id": "p"}}
    told = read(r4("event-notification", 1, event(1, "Task/1"), more=(patient,)))
    assert (told.hints, told.events[0].hints) == ((), (TASK,))


@pytest.mark.requirement(72)
def test_an_event_whose_focus_is_an_identifier_only_names_nothing() -> None:
    told = event(1)
    told["part"].append({"name": "focus", "valueReference": {"identifier": {"value": "a-1"}, "type": "Appointment"}})
    assert [(one.number, one.hints) for one in read(r4("event-notification", 1, told)).events] == [(1, ())]


@pytest.mark.requirement(72)
def test_the_same_event_has_the_same_mark_and_another_with_its_number_has_not() -> None:
    def mark(told: dict[str, Any]) -> str:
        return read(r4("event-notification", 1, told)).events[0].mark

    assert mark(event(1, "Task/1")) == mark(event(1, "Task/1"))
    assert mark(event(1, "Task/1")) != mark(event(1, "Task/2"))
    assert mark(event(1, "Task/1")) != mark(event(1, "Task/1", at="2024-05-06T12:00:01Z"))


@pytest.mark.requirement(72)
def test_an_empty_post_says_that_something_changed() -> None:
    assert read() == BARE


@pytest.mark.requirement(72, 73)
@pytest.mark.parametrize(
    ("body", "headers", "version"),
    [
        ({"resourceType": "Task", "id": "1", "meta": {"versionId": "4"}}, {}, "4"),
        ({"resourceType": "Task", "id": "1"}, {"if_match": 'W/"4"'}, "4"),
        ({"resourceType": "Task", "id": "1"}, {"if_match": '"4"'}, "4"),
        ({"resourceType": "Task", "id": "other", "meta": {"versionId": "9"}}, {}, ""),
        (b"<Task/>", {}, ""),
        (None, {}, ""),
    ],
)
def test_a_resource_put_below_the_hook_is_named_by_its_address(
    body: object, headers: dict[str, str], version: str
) -> None:
    told = read(body, method="PUT", place=("Task", "1"), **headers)
    assert told.hints == (Hint(type="Task", remote_id="1", version=version),)


@pytest.mark.requirement(72)
def test_deletions_come_as_delete_or_with_medplums_header() -> None:
    gone = (Hint(type="Task", remote_id="1", gone=True),)
    assert read(method="DELETE", place=("Task", "1")).hints == gone
    assert read({}, x_medplum_deleted_resource="Task/1").hints == gone


def test_a_resource_posted_as_it_is_and_a_plain_bundle_name_what_they_hold() -> None:
    task = {"resourceType": "Task", "id": "1"}
    assert read(task).hints == (TASK,)
    assert read({"resourceType": "Bundle", "type": "history", "entry": [{"resource": task}]}).hints == (TASK,)


HOSTILE = [
    b"{",
    b"[]",
    b'"text"',
    b"\xff\xfe",
    b"null",
    b"{" * 100_000,
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b'{"resourceType":"Bundle","resourceType":"Bundle"}',
    json.dumps({"resourceType": "Bundle", "entry": "x" * 300_000}).encode(),
    {"resourceType": "Bundle"},
    {"resourceType": "Bundle", "entry": {"resource": 1}},
    {"resourceType": "Bundle", "entry": [None, 1, "x", [], {"resource": []}]},
    {"resourceType": "Task"},
    {"resourceType": "Nonsense", "id": "1"},
    {"resourceType": "Task", "id": "../../Patient"},
    {"resourceType": ["Task"], "id": {"a": 1}},
    {},
]


@pytest.mark.parametrize("body", HOSTILE)
def test_what_cannot_be_understood_says_that_something_changed(body: object) -> None:
    assert read(body) == BARE


@pytest.mark.parametrize(
    "reference",
    ["Task/", "/Task", "Task/a b", "Task/a?x=1", "Nonsense/1", "task/1", "Task/" + "a" * 256, "\n", "Task/\x07"],
)
def test_no_reference_leads_out_of_its_type(reference: str) -> None:
    assert read(x_medplum_deleted_resource=reference) == BARE
    assert read(r4("event-notification", 1, event(1, reference))).events[0].hints == ()


@pytest.mark.parametrize("number", [None, -1, 1.5, True, "x", "9" * 30, {"a": 1}])
def test_a_number_that_is_none_counts_for_nothing(number: object) -> None:
    told = r4("event-notification", 1, event(1, "Task/1"))
    for one in told["entry"][0]["resource"]["parameter"]:
        if one["name"] == "notification-event":
            one["part"][0] = {"name": "event-number", "valueString": number}
        if one["name"] == "events-since-subscription-start":
            one["valueString"] = number
    found = read(told)
    assert found.since is None
    assert found.events == (Event(number=0, mark=found.events[0].mark, hints=(TASK,)),)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["resourceType", "entry", "resource", "parameter", "name", "part", "id", "meta", "type"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(body=JSON)
def test_nothing_at_all_is_refused(body: object) -> None:
    if isinstance(body, dict):
        body["resourceType"] = "Bundle"
    assert read(body).kind in ("bare", "event", "handshake", "heartbeat")


def test_what_is_left_out_of_a_long_notification_is_said() -> None:
    entries = [{"fullUrl": f"Task/{one}"} for one in range(MOST_EVENTS + 2)]
    plain = read_bundle({"resourceType": "Bundle", "entry": entries})
    assert (len(plain.hints), plain.cut) == (MOST_EVENTS + 1, True)
    assert not read_bundle({"resourceType": "Bundle", "entry": entries[:5]}).cut
    events = [event(one, f"Task/{one}") for one in range(1, MOST_EVENTS + 2)]
    told = read_bundle(r4("event-notification", MOST_EVENTS + 1, *events))
    assert (len(told.events), told.cut) == (MOST_EVENTS, True)
    assert not read_bundle(r4("event-notification", 3, *events[:3])).cut


@pytest.mark.requirement(72)
def test_the_answer_to_a_status_request_is_a_sign_of_life_with_its_count_and_status() -> None:
    told = read(r4("query-status", 9))
    assert (told.kind, told.since, told.status, told.hints) == ("heartbeat", 9, "active", ())
