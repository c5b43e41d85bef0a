"""Our Subscriptions at an EHR: asked for before the first load, watched, and renewed after what they missed was pulled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.dates import instant
from fhir_tracker.storage.database import Database
from subscriptions.notifications import Notification
from subscriptions.subscription_bodies import Wanted, topic_for
from tests.subscriptions.fake_ehr import BASE, FakeEhr
from tests.subscriptions.listener import HOOK, Listener
from tests.subscriptions.subscribing import PROFILE, TOPIC, Subscriptions
from tests.subscriptions.test_notifications import event, r4

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"


def subscribed(database: Database, ehr: FakeEhr, how: str = "auto", **there: Any) -> tuple[Listener, Subscriptions]:
    """A tracker after its first sync, and what the EHR holds of it."""
    found = Subscriptions(ehr, **there)
    ehr.put("Patient", "a")
    made = Listener(database, ehr, how)
    made.sync()
    return made, found


@pytest.mark.requirement(77)
def test_a_plain_subscription_says_what_hapi_and_the_standard_need(database: Database, ehr: FakeEhr) -> None:
    listener, there = subscribed(database, ehr)
    made = there.only()
    assert (made["criteria"], made["channel"]["type"], made["channel"]["payload"]) == (
        "Patient?",
        "rest-hook",
        "application/fhir+json",
    )
    assert made["channel"]["endpoint"] == HOOK
    assert made["channel"]["extension"][0] == {
        "url": "http://hapifhir.io/fhir/StructureDefinition/subscription-send-delete-messages",
        "valueBoolean": True,
    }
    held = listener.held_subscription()
    assert (held.kind, held.status, held.remote_id) == ("rest-hook", "active", made["id"])


@pytest.mark.requirement(77)
def test_a_backport_subscription_has_profile_topic_one_content_and_a_heartbeat(
    database: Database, ehr: FakeEhr
) -> None:
    listener, there = subscribed(database, ehr, "backport", topics=(TOPIC,))
    made = there.only()
    assert (made["meta"]["profile"], made["criteria"]) == ([PROFILE], TOPIC)
    content = [
        one for one in made["channel"]["_payload"]["extension"] if one["url"] == f"{BACKPORT}/backport-payload-content"
    ]
    assert [one["valueCode"] for one in content] == ["id-only"]
    assert {one["url"].rpartition("/")[2] for one in made["channel"]["extension"]} == {
        "backport-heartbeat-period",
        "backport-timeout",
    }
    assert (listener.held_subscription().kind, listener.held_subscription().events) == ("backport", 0)


@pytest.mark.requirement(77)
@pytest.mark.parametrize(("kind", "criteria"), [("rest-hook", "Patient?"), ("backport", TOPIC)])
def test_what_we_send_is_valid_r4(kind: str, criteria: str) -> None:
    body = Wanted(type="Patient", kind=kind, criteria=criteria).body(HOOK, "s" * 43, "1")
    assert check(read_resource(json.dumps(body).encode())) == ()
    del body["status"]
    assert check(read_resource(json.dumps(body).encode())) != ()


@pytest.mark.requirement(71)
def test_each_secret_is_long_random_and_kept_only_as_a_digest(database: Database, ehr: FakeEhr) -> None:
    listener, there = subscribed(database, ehr)
    secret = there.secret()
    assert len(secret) >= 43
    assert listener.held_subscription().digest == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in repr(listener.held_subscription())
    assert listener.held_subscription().digest not in repr(listener.held_subscription())


def test_subscribing_comes_before_the_first_load(database: Database, ehr: FakeEhr) -> None:
    subscribed(database, ehr)
    asked = [one.removeprefix(f"{BASE}/").partition("?")[0] for one in ehr.requests]
    assert asked.index("Subscription") < asked.index("Patient")


def test_what_changes_during_the_first_load_is_there_after_it(database: Database, ehr: FakeEhr) -> None:
    there = Subscriptions(ehr)
    ehr.put("Patient", "a")
    listener = Listener(database, ehr)

    def meanwhile(request: Any) -> None:
        if "Patient?" in str(request.url) and there.held and "b" not in {key[1] for key in ehr.texts}:
            ehr.put("Patient", "b")
            listener.hear()

    ehr.twists.insert(0, meanwhile)
    listener.sync()
    listener.pass_time(11)
    listener.work()
    assert listener.held() == {"a", "b"}


@pytest.mark.parametrize(
    ("how", "refuses", "kind", "status"),
    [
        ("auto", (), "rest-hook", "active"),
        ("auto", ("rest-hook",), "backport", "requested"),
        ("auto", ("rest-hook", "backport"), "backport", "refused"),
        ("rest-hook", ("rest-hook",), "rest-hook", "refused"),
        ("backport", (), "backport", "requested"),
    ],
)
def test_what_is_chosen_is_what_the_server_takes(
    database: Database, ehr: FakeEhr, how: str, refuses: tuple[str, ...], kind: str, status: str
) -> None:
    listener, there = subscribed(database, ehr, how, refuses=refuses, topics=(TOPIC,))
    held = listener.held_subscription()
    assert (held.kind, held.status) == (kind, status)
    assert len(there.held) == (0 if status == "refused" else 1)
    assert ("422" in held.reason) == (status == "refused")
    assert listener.held() == {"a"}


def test_a_refusal_is_not_asked_for_again_before_a_day_has_passed(database: Database, ehr: FakeEhr) -> None:
    listener, there = subscribed(database, ehr, refuses=("rest-hook",))
    asked = len(there.asked)
    listener.pass_time(3600)
    listener.sync()
    listener.work()
    assert len(there.asked) == asked
    there.refuses = ()
    listener.pass_time(86_400)
    listener.sync()
    assert listener.held_subscription().status == "active"


@pytest.mark.parametrize(("how", "topics"), [("auto", ()), ("backport", ("http://example.org/encounter-start",))])
def test_a_server_that_offers_nothing_is_told_so_and_polled(
    database: Database, ehr: FakeEhr, how: str, topics: tuple[str, ...]
) -> None:
    found = Subscriptions(ehr, topics=topics)
    found.offered = bool(topics)
    ehr.put("Patient", "a")
    listener = Listener(database, ehr, how)
    listener.sync()
    assert (listener.held_subscription().status, found.asked) == ("refused", [])
    assert listener.held_subscription().reason
    assert listener.held() == {"a"}


@pytest.mark.parametrize(("subscribe", "public_url"), [("none", "https://tracker.example"), ("auto", "")])
def test_nothing_is_asked_for_where_that_is_not_wanted_or_we_cannot_be_reached(
    database: Database, ehr: FakeEhr, subscribe: str, public_url: str
) -> None:
    there = Subscriptions(ehr)
    listener = Listener(database, ehr, subscribe, public_url)
    assert listener.sync().complete
    assert (there.asked, there.held) == ([], {})


def test_one_that_was_made_without_our_hearing_of_it_is_taken_over(database: Database, ehr: FakeEhr) -> None:
    there = Subscriptions(ehr)
    there.silent_create = True
    listener = Listener(database, ehr)
    listener.sync()
    assert listener.held_subscription().status == "arming"
    there.silent_create = False
    listener.pass_time(61)
    listener.sync()
    held = listener.held_subscription()
    assert (held.status, held.remote_id) == ("active", there.only()["id"])
    assert held.digest == hashlib.sha256(there.secret().encode()).hexdigest()


def errors(there: Subscriptions, listener: Listener) -> None:
    there.only()["status"] = "error"


def ends(there: Subscriptions, listener: Listener) -> None:
    there.only()["end"] = instant(listener.now - timedelta(days=1))


LOSSES: list[Callable[[Subscriptions, Listener], object]] = [
    errors,
    ends,
    lambda there, listener: there.only().update(status="off"),
    lambda there, listener: there.held.clear(),
]


@pytest.mark.fault("F34")
@pytest.mark.requirement(75)
@pytest.mark.parametrize("lose", LOSSES)
def test_what_a_lost_subscription_missed_is_pulled_and_then_it_is_asked_for_again(
    database: Database, ehr: FakeEhr, lose: Callable[[Subscriptions, Listener], object]
) -> None:
    listener, there = subscribed(database, ehr)
    before = there.secret()
    lose(there, listener)
    ehr.put("Patient", "missed")
    listener.pass_time(61)
    asked = [one.partition("?")[0] for one in listener.work()]
    assert "missed" in listener.held()
    renewed = max(index for index, one in enumerate(asked) if one.startswith("Subscription"))
    assert asked.index("Patient") < renewed
    held = listener.held_subscription()
    assert (held.status, there.secret() != before) == ("active", True)
    assert held.digest == hashlib.sha256(there.secret().encode()).hexdigest()
    assert held.former_digest == hashlib.sha256(before.encode()).hexdigest()
    listener.pass_time(360)
    there.only().pop("end", None)
    listener.work()
    assert listener.held_subscription().former_digest is None


@pytest.mark.requirement(75)
def test_it_is_not_asked_for_again_while_the_pull_fails(database: Database, ehr: FakeEhr) -> None:
    listener, there = subscribed(database, ehr)
    there.only()["status"] = "error"

    def down(request: Any) -> Any:
        return ehr.json({}, 500) if "Patient?" in str(request.url) else None

    ehr.twists.append(down)
    for _ in range(5):
        listener.pass_time(61)
        listener.work()
    assert listener.held_subscription().status == "lost"
    assert not [one for one in there.asked if one[0] == "PUT"]
    ehr.twists.remove(down)
    listener.pass_time(600)
    listener.work()
    assert listener.held_subscription().status == "active"


@pytest.mark.requirement(75)
def test_a_status_told_by_a_notification_is_looked_into_at_once(database: Database, ehr: FakeEhr) -> None:
    listener, there = subscribed(database, ehr)
    there.only()["status"] = "error"
    listener.pass_time(11)
    listener.hear(told=Notification(kind="heartbeat", status="error"))
    listener.work()
    assert there.only()["status"] == "active"


@pytest.mark.fault("F34")
@pytest.mark.requirement(75)
def test_a_heartbeat_that_stays_away_has_it_renewed_and_is_not_waited_for_twice(
    database: Database, ehr: FakeEhr
) -> None:
    listener, there = subscribed(database, ehr, "backport", topics=(TOPIC,))
    there.only()["status"] = "active"
    there.status_since = 0
    for _ in range(2):
        listener.pass_time(90)
        listener.hear(told=Notification(kind="heartbeat", since=0))
        listener.work()
    assert there.secret() == (first := there.secret())
    assert any(path.endswith("$status") for _, path in there.asked)
    for _ in range(4):
        listener.pass_time(61)
        listener.work()
    second = there.secret()
    assert second != first
    for _ in range(8):
        listener.pass_time(61)
        listener.work()
    assert there.secret() == second
    assert listener.held_subscription().heartbeat == 0


@pytest.mark.fault("F32")
@pytest.mark.requirement(74)
def test_a_gap_is_waited_for_then_asked_for_by_number(database: Database, ehr: FakeEhr) -> None:
    listener, there = subscribed(database, ehr, "backport", topics=(TOPIC,))
    there.events = r4("query-event", 3, event(2, "Patient/lost"))
    ehr.put("Patient", "lost")
    for number in (1, 3):
        listener.hear_event(number, "a")
    listener.work()
    assert listener.held() == {"a"}
    listener.pass_time(11)
    asked = listener.work()
    assert any("$events?eventsSinceNumber=2&eventsUntilNumber=2" in one for one in asked)
    assert not any(one.startswith("Patient?_lastUpdated") for one in asked)
    assert listener.held() == {"a", "lost"}
    assert (listener.held_subscription().missing, listener.held_subscription().gap_at) == ((), None)


@pytest.mark.fault("F32")
@pytest.mark.requirement(74)
@pytest.mark.parametrize("events", [None, {}, r4("query-event", 3, event(3, "Patient/a"))])
def test_a_gap_that_the_server_cannot_fill_is_pulled(
    database: Database, ehr: FakeEhr, events: dict[str, Any] | None
) -> None:
    listener, there = subscribed(database, ehr, "backport", topics=(TOPIC,))
    there.events = events
    ehr.put("Patient", "lost")
    for number in (1, 3):
        listener.hear_event(number, "a")
    listener.pass_time(11)
    listener.work()
    assert listener.held() == {"a", "lost"}
    assert (listener.held_subscription().missing, listener.held_subscription().gaps) == ((), 1)


@pytest.mark.fault("F32")
@pytest.mark.requirement(74)
def test_a_gap_is_pulled_where_events_lead_to_another_server(database: Database, ehr: FakeEhr) -> None:
    listener, _ = subscribed(database, ehr, "backport", topics=(TOPIC,))
    away = httpx.Response(302, headers={"location": "https://evil.example/"})
    ehr.twists.insert(0, lambda request: away if "$events" in str(request.url) else None)
    ehr.put("Patient", "lost")
    for number in (1, 3):
        listener.hear_event(number, "a")
    listener.pass_time(11)
    listener.work()
    assert listener.held() == {"a", "lost"}


@pytest.mark.fault("F32")
@pytest.mark.requirement(74)
def test_an_event_that_comes_late_closes_the_gap_by_itself(database: Database, ehr: FakeEhr) -> None:
    listener, _ = subscribed(database, ehr, "backport", topics=(TOPIC,))
    for number in (1, 3, 2):
        listener.hear_event(number, "a")
    listener.pass_time(11)
    asked = listener.work()
    assert not any("$events" in one for one in asked)


@pytest.mark.requirement(74, 75)
def test_events_that_only_the_servers_count_knows_of_are_found_too(database: Database, ehr: FakeEhr) -> None:
    listener, there = subscribed(database, ehr, "backport", topics=(TOPIC,))
    there.only()["status"] = "active"
    there.status_since = 2
    ehr.put("Patient", "lost")
    listener.pass_time(61)
    listener.work()
    assert listener.held_subscription().missing == ("1", "2")
    listener.pass_time(11)
    listener.work()
    assert "lost" in listener.held()


@pytest.mark.parametrize(
    ("type_", "topics", "chosen"),
    [
        ("Appointment", ("http://x/appointment-booked", "http://x/appointment-change"), "http://x/appointment-change"),
        ("Task", ("http://x/Task",), "http://x/Task"),
        ("Task", ("http://x/tasking-start", "http://x/patient-change"), ""),
        ("Task", (), ""),
    ],
)
def test_a_topic_is_found_by_its_name(type_: str, topics: tuple[str, ...], chosen: str) -> None:
    assert topic_for(type_, topics) == chosen
