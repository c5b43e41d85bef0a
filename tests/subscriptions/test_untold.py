"""A Subscription that looks sound and tells of nothing is found out by what polls bring, and shown as what it is."""

from __future__ import annotations

import pytest

from fhir_tracker.storage.database import Database
from subscriptions import untold
from subscriptions.notifications import Notification
from tests.subscriptions.fake_ehr import FakeEhr
from tests.subscriptions.listener import Listener, patient
from tests.subscriptions.subscribing import TOPIC, Subscriptions


@pytest.fixture
def there(ehr: FakeEhr) -> Subscriptions:
    return Subscriptions(ehr, topics=(TOPIC,))


@pytest.fixture
def listener(database: Database, ehr: FakeEhr, there: Subscriptions) -> Listener:
    """Subscribed, and since then polled once more."""
    ehr.put("Patient", "a")
    made = Listener(database, ehr)
    made.sync()
    made.pass_time(130)
    made.sync()
    return made


def poll_changes(listener: Listener, count: int, *, seconds: float = 61) -> None:
    """So many polls, each of which brings one change that nobody told of; between them the worker works."""
    for _ in range(count):
        listener.ehr.put("Patient", "a", gender="other" if listener.body("a").get("gender") == "male" else "male")
        listener.pass_time(seconds)
        listener.sync()
        listener.work()


@pytest.mark.fault("F34")
@pytest.mark.requirement(75, 78)
def test_one_that_never_fires_is_asked_for_again_once_and_then_complained_of(
    listener: Listener, there: Subscriptions
) -> None:
    first = there.secret()
    poll_changes(listener, 2)
    held = listener.held_subscription()
    assert (held.status, held.untold, held.told_at) == ("active", 2, None)
    poll_changes(listener, 2)
    held = listener.held_subscription()
    assert (held.status, held.reason) == ("active", untold.REMINDED)
    second = there.secret()
    assert second != first
    poll_changes(listener, 7)
    held = listener.held_subscription()
    assert (held.status, held.reason) == ("active", untold.STILL_MUTE)
    assert held.untold >= 3
    assert there.secret() == second
    listener.pass_time(90_000)
    poll_changes(listener, 3)
    assert there.secret() != second


@pytest.mark.parametrize("told", [(patient("a"),), ()])
def test_one_that_tells_late_or_vaguely_is_left_alone(
    listener: Listener, there: Subscriptions, told: tuple[object, ...]
) -> None:
    secret = there.secret()
    for _ in range(3):
        poll_changes(listener, 2)
        assert listener.held_subscription().untold > 0
        listener.hear(*told)  # type: ignore[arg-type]
        listener.work()
        assert listener.held_subscription().untold == 0
    assert there.secret() == secret
    assert listener.held_subscription().reason == ""


def test_what_was_told_of_before_the_poll_is_no_find(listener: Listener) -> None:
    for gender in ("male", "other"):
        listener.ehr.put("Patient", "a", gender=gender)
        listener.pass_time(20)
        listener.hear(patient("a"))
        listener.sync()
        assert listener.held_subscription().untold == 0


def test_a_heartbeat_is_no_news(database: Database, ehr: FakeEhr, there: Subscriptions) -> None:
    ehr.put("Patient", "a")
    listener = Listener(database, ehr, "backport")
    listener.sync()
    listener.pass_time(130)
    listener.sync()
    poll_changes(listener, 2, seconds=20)
    listener.hear(told=Notification(kind="heartbeat", since=0))
    assert listener.held_subscription().untold == 2


def test_the_first_load_and_polls_that_bring_nothing_are_no_finds(listener: Listener) -> None:
    assert listener.held_subscription().untold == 0
    for _ in range(2):
        listener.pass_time(30)
        listener.sync()
    assert listener.held_subscription().untold == 0


def test_it_is_heard_again_after_all_and_the_complaint_ends(listener: Listener) -> None:
    poll_changes(listener, 11)
    assert listener.held_subscription().reason == untold.STILL_MUTE
    listener.hear(patient("a"))
    assert (listener.held_subscription().reason, listener.held_subscription().untold) == ("", 0)


def test_one_that_stays_requested_is_complained_of_until_it_is_used(
    database: Database, ehr: FakeEhr, there: Subscriptions
) -> None:
    ehr.put("Patient", "a")
    listener = Listener(database, ehr)
    listener.sync()
    there.only()["status"] = "requested"
    listener.pass_time(300)
    listener.work()
    assert (listener.held_subscription().status, listener.held_subscription().reason) == ("requested", "")
    listener.pass_time(301)
    listener.work()
    assert listener.held_subscription().reason == untold.STUCK
    there.only()["status"] = "active"
    listener.pass_time(61)
    listener.work()
    assert (listener.held_subscription().status, listener.held_subscription().reason) == ("active", "")
