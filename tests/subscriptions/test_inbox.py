"""What a notification hints at is read at the EHR: once, whatever is sent how often and in which order, and nothing is lost."""

from __future__ import annotations

import math

import httpx
import pytest

from fhir_tracker.storage import inbox
from fhir_tracker.storage.database import Database
from subscriptions.inbox import BATCH, MOST_WAITING, SEARCHED, TRIES
from subscriptions.notifications import MOST_EVENTS, Hint, read_bundle
from tests.subscriptions.fake_ehr import FakeEhr
from tests.subscriptions.listener import Listener, patient
from tests.subscriptions.subscribing import Subscriptions


@pytest.fixture
def there(ehr: FakeEhr) -> Subscriptions:
    return Subscriptions(ehr)


@pytest.fixture
def listener(database: Database, ehr: FakeEhr, there: Subscriptions) -> Listener:
    """Subscribed, with the Patients a, b and c."""
    for one in "abc":
        ehr.put("Patient", one, active=True)
    made = Listener(database, ehr)
    made.sync()
    return made


@pytest.mark.requirement(76)
def test_one_resource_is_read_and_several_are_searched_for_together(listener: Listener, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a", active=False)
    listener.hear(patient("a"))
    assert listener.work() == ["Patient/a"]
    assert listener.body("a")["active"] is False
    for one in "abcd":
        ehr.put("Patient", one, gender="other")
        listener.hear(patient(one))
    assert listener.work() == ["Patient?_id=a%2Cb%2Cc%2Cd&_count=4"]
    assert [listener.body(one)["gender"] for one in "abcd"] == ["other"] * 4
    assert listener.waiting() == []


@pytest.mark.fault("F33")
@pytest.mark.requirement(73)
def test_a_version_that_is_held_or_older_is_not_even_asked_for(listener: Listener, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a", active=False)
    listener.hear(patient("a", "2"))
    assert listener.work() == ["Patient/a"]
    for version in ("2", "1"):
        listener.hear(patient("a", version))
        assert listener.work() == []
    assert len(listener.versions("a")) == 2


@pytest.mark.fault("F33")
@pytest.mark.requirement(73)
def test_an_older_answer_than_was_told_of_is_asked_for_once_more(listener: Listener, ehr: FakeEhr) -> None:
    old = {one: ehr.texts["Patient", one] for one in "ab"}
    for one in "ab":
        ehr.put("Patient", one, active=False)

    def late(request: httpx.Request) -> httpx.Response | None:
        entries = [f'{{"resource": {text}}}' for text in old.values()]
        return ehr.bundle(entries) if "_id" in str(request.url) else None

    ehr.twists.append(late)
    listener.hear(patient("a", "2"), patient("b", "2"))
    assert listener.work()[1:] == ["Patient/a", "Patient/b"]
    assert [len(listener.versions(one)) for one in "ab"] == [2, 2]


def test_what_is_gone_is_deleted_when_that_was_told_or_is_answered(listener: Listener, ehr: FakeEhr) -> None:
    ehr.delete("Patient", "a")
    ehr.delete("Patient", "b")
    listener.hear(patient("a", gone=True))
    listener.hear(patient("b"))
    listener.work()
    assert listener.held() == {"c"}
    assert [listener.is_deleted(one) for one in "ab"] == [True, True]


def test_a_deletion_that_was_told_and_is_none_deletes_nothing(listener: Listener, ehr: FakeEhr) -> None:
    listener.hear(patient("a", gone=True))
    listener.work()
    assert listener.held() == {"a", "b", "c"}
    assert listener.waiting() == []


def test_what_is_not_found_once_is_looked_for_again_before_it_is_deleted(listener: Listener, ehr: FakeEhr) -> None:
    ehr.twists.append(lambda request: httpx.Response(404) if str(request.url).endswith("/Patient/a") else None)
    listener.hear(patient("a"))
    listener.work()
    assert listener.held() == {"a", "b", "c"}
    assert listener.work() == []
    listener.pass_time(31)
    assert "Patient/a" in listener.work()
    assert listener.held() == {"b", "c"}
    assert listener.waiting() == []


@pytest.mark.requirement(80)
def test_ids_that_nobody_knows_cost_two_searches_and_are_then_forgotten(listener: Listener, ehr: FakeEhr) -> None:
    listener.hear(*(patient(f"forged{number}") for number in range(40)))
    assert len(listener.work()) == 1
    assert listener.work() == []
    listener.pass_time(31)
    assert len([one for one in listener.work() if "_id" in one]) == 1
    assert listener.waiting() == []


@pytest.mark.fault("F35")
@pytest.mark.requirement(76, 80)
def test_empty_notifications_have_the_type_pulled_once_in_a_window(listener: Listener, ehr: FakeEhr) -> None:
    listener.pass_time(60)
    ehr.put("Patient", "d")
    for _ in range(20):
        listener.hear()
    assert any(one.startswith("Patient?") for one in listener.work())
    assert listener.held() == {"a", "b", "c", "d"}
    ehr.put("Patient", "e")
    for _ in range(20):
        listener.hear()
        assert not any(one.startswith("Patient?") for one in listener.work())
    listener.pass_time(11)
    assert any(one.startswith("Patient?") for one in listener.work())
    assert "e" in listener.held()


def test_a_server_that_is_down_is_asked_again_after_growing_pauses_and_nothing_is_lost(
    listener: Listener, ehr: FakeEhr
) -> None:
    ehr.put("Patient", "a", active=False)
    listener.hear(patient("a"))
    ehr.twists.append(lambda request: httpx.Response(503))
    asked = [len(listener.work())]
    for _ in range(6):
        listener.pass_time(4)
        asked.append(len([one for one in listener.work() if one == "Patient/a"]))
    assert 2 <= sum(asked) <= 5
    ehr.twists.pop()
    listener.pass_time(300)
    listener.work()
    assert listener.waiting() == []
    assert len(listener.versions("a")) == 2


def test_a_hint_that_leads_nowhere_is_given_up_and_the_poll_does_without_it(listener: Listener, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a", active=False)
    ehr.twists.append(lambda request: httpx.Response(400) if str(request.url).endswith("/Patient/a") else None)
    listener.hear(patient("a"))
    for _ in range(TRIES):
        assert [one.remote_id for one in listener.waiting()] == ["a"]
        listener.work()
        listener.pass_time(3600)
    assert listener.waiting() == []
    listener.sync()
    assert len(listener.versions("a")) == 2


def test_what_we_may_not_read_is_quarantined(listener: Listener, ehr: FakeEhr) -> None:
    ehr.twists.append(lambda request: httpx.Response(403) if str(request.url).endswith("/Patient/x") else None)
    listener.hear(patient("x"))
    listener.work()
    assert [(one.type, one.remote_id) for one in listener.quarantined()] == [("Patient", "x")]


def test_what_is_told_while_it_is_read_is_read_once_more(listener: Listener, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a", active=False)
    listener.hear(patient("a"))
    told: list[int] = []

    def meanwhile(request: httpx.Request) -> httpx.Response | None:
        if not told and str(request.url).endswith("/Patient/a"):
            told.append(1)
            answer = ehr.answer(request)
            ehr.put("Patient", "a", active=True)
            listener.hear(patient("a"))
            return answer
        return None

    ehr.twists.append(meanwhile)
    listener.work()
    assert [one.times for one in listener.waiting()] == [2]
    listener.work()
    assert len(listener.versions("a")) == 3
    assert listener.waiting() == []


def test_types_that_are_not_followed_are_struck_out(listener: Listener, ehr: FakeEhr) -> None:
    listener.hear(Hint(type="Observation", remote_id="1"))
    assert listener.work() == []
    assert listener.waiting() == []


@pytest.mark.parametrize("id_", ["a,b", "a|b", "a$b", "a\\b", "a%2Fb", "ä"])
def test_odd_ids_stay_one_value_of_the_search_and_one_part_of_the_address(
    listener: Listener, ehr: FakeEhr, id_: str
) -> None:
    listener.hear(patient(id_))
    (asked,) = listener.work()
    assert asked.count("/") == 1
    listener.hear(patient(id_), patient("a"))
    listener.work()
    assert {"a", "b", "c"} <= listener.held()


@pytest.mark.requirement(80)
def test_a_sync_works_off_what_was_told_meanwhile(listener: Listener, ehr: FakeEhr) -> None:
    listener.pass_time(60)
    ehr.put("Patient", "d")
    listener.hear(patient("d"))
    listener.sync()
    assert "d" in listener.held()
    assert listener.waiting() == []


def count_waiting(listener: Listener) -> int:
    with listener.database.read() as tx:
        return inbox.waiting(tx, "clinic")


@pytest.mark.fault("F35")
@pytest.mark.requirement(80)
def test_a_hundred_thousand_hints_fill_nothing_and_cost_the_ehr_some_searches(listener: Listener, ehr: FakeEhr) -> None:
    for start in range(0, 100_000, 1000):
        listener.hear(*(patient(f"made-up-{start + one}") for one in range(1000)))
    assert count_waiting(listener) == MOST_WAITING + 1
    ehr.put("Patient", "real", active=True)
    for _ in range(2):
        asked = listener.work()
        assert [one.partition("=")[0] for one in asked] == ["Patient?_id"] * math.ceil(BATCH / SEARCHED)
    assert listener.sync().complete
    assert "real" in listener.held()
    assert count_waiting(listener) <= MOST_WAITING + 1


@pytest.mark.fault("F35")
@pytest.mark.requirement(80)
def test_hints_of_types_that_nobody_follows_keep_no_others_waiting(listener: Listener, ehr: FakeEhr) -> None:
    listener.hear(*(Hint(type="Flag", remote_id=str(one)) for one in range(3 * BATCH)))
    listener.pass_time(1)
    ehr.put("Patient", "b", gender="other")
    listener.hear(patient("b"))
    assert listener.work() == ["Patient/b"]
    assert listener.waiting() == []


def test_more_than_one_notification_can_name_has_the_type_pulled(listener: Listener, ehr: FakeEhr) -> None:
    entries = [{"fullUrl": f"Patient/x{one}"} for one in range(MOST_EVENTS + 2)]
    for one in ("b", "last"):
        ehr.put("Patient", one, gender="other")
    listener.pass_time(11)
    listener.hear(told=read_bundle({"resourceType": "Bundle", "type": "history", "entry": entries}))
    listener.work()
    assert listener.held() == {"a", "b", "c", "last"}
