"""Oddities of servers: each is seen, kept with its type and shown, and none of them loses a change."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlencode

import httpx
import pytest

from fhir_tracker.fhir.dates import instant
from fhir_tracker.storage import connections as stored
from subscriptions.showing import ways_of
from tests.subscriptions.fake_ehr import BASE, FakeEhr, Twist
from tests.subscriptions.tracker import Tracker


def shown(tracker: Tracker) -> tuple[str, ...]:
    """The quirks of Patient, as `connection show` tells them."""
    with tracker.database.read() as tx:
        connection = stored.find(tx, "clinic")
        assert connection is not None
        return ways_of(tx, connection, tracker.now)[0].quirks


def changed(ehr: FakeEhr, change: Callable[[dict[str, object], httpx.Request], None]) -> Twist:
    """A twist that changes each Patient page."""

    def twist(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith("/Patient"):
            return None
        answer = ehr.answer(request)
        if answer.status_code != 200:
            return answer
        told = json.loads(answer.text)
        change(told, request)
        return ehr.json(told)

    return twist


def follow_on(tracker: Tracker, ehr: FakeEhr) -> None:
    """A first load, then an hour later a change that has to be found."""
    ehr.put("Patient", "a", active=True)
    ehr.put("Patient", "b", active=True)
    assert tracker.patients().error is None
    ehr.pass_time(3600)
    ehr.put("Patient", "a", active=False)
    ehr.pass_time(3600)
    assert tracker.patients().error is None
    found = tracker.find("a")
    assert found is not None
    assert '"active":false' in found.body


@pytest.mark.requirement(78)
def test_a_well_behaved_server_has_no_quirks(tracker: Tracker, ehr: FakeEhr) -> None:
    follow_on(tracker, ehr)
    assert shown(tracker) == ()


@pytest.mark.requirement(78)
def test_a_server_that_drops_the_filter_silently_is_found_out_by_its_self_link(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.filters = False

    def without(told: dict[str, object], _: httpx.Request) -> None:
        told["link"] = [{"relation": "self", "url": f"{BASE}/Patient?_sort=_lastUpdated"}]

    ehr.twists.append(changed(ehr, without))
    follow_on(tracker, ehr)
    assert shown(tracker) == ("does not say that it looked at _lastUpdated",)


@pytest.mark.requirement(78)
def test_a_server_that_says_it_understood_a_day_is_asked_a_whole_day_back(tracker: Tracker, ehr: FakeEhr) -> None:
    """As athenahealth: a moment is taken, and only its day is looked at, so that what came later that day is left out."""

    def by_day(request: httpx.Request) -> httpx.Response | None:
        since = request.url.params.get("_lastUpdated")
        if since is None or not request.url.path.endswith("/Patient"):
            return None
        day = since[:12]
        found = ehr.answer(httpx.Request("GET", f"{BASE}/Patient?{urlencode({'_lastUpdated': day})}"))
        told = json.loads(found.text)
        told["link"] = [{"relation": "self", "url": f"{BASE}/Patient?{urlencode({'_lastUpdated': day})}"}]
        return ehr.json(told)

    ehr.twists.append(by_day)
    follow_on(tracker, ehr)
    tracker.sync()
    assert shown(tracker) == ("_lastUpdated is understood to the day only",)
    assert "_lastUpdated=ge2024-05-05&" in [url for url in ehr.requests if "Patient?" in url][-1]


@pytest.mark.requirement(78)
def test_a_server_that_refuses_moments_is_asked_by_days(tracker: Tracker, ehr: FakeEhr) -> None:
    def refuses(request: httpx.Request) -> httpx.Response | None:
        moment = "T" in request.url.params.get("_lastUpdated", "")
        return httpx.Response(400) if moment and request.url.path.endswith("/Patient") else None

    ehr.twists.append(refuses)
    follow_on(tracker, ehr)
    assert "_lastUpdated is understood to the day only" in shown(tracker)
    assert "refuses _lastUpdated" not in shown(tracker)
    ehr.requests.clear()
    tracker.sync()
    assert [url for url in ehr.requests if "Patient?" in url] == [
        f"{BASE}/Patient?_lastUpdated=ge2024-05-05&_count=100"
    ]


@pytest.mark.requirement(78)
def test_stamps_to_the_day_widen_the_window_by_a_whole_day(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a", stamp="2024-05-06", active=True)
    tracker.sync()
    ehr.pass_time(3600)
    ehr.put("Patient", "a", stamp="2024-05-06", active=False)
    tracker.sync()
    found = tracker.find("a")
    assert found is not None
    assert '"active":false' in found.body
    assert shown(tracker) == ("stamps rows to the day",)


def test_a_server_that_refuses_to_sort_is_followed_without(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.twists.append(lambda request: httpx.Response(400) if "_sort" in request.url.params else None)
    follow_on(tracker, ehr)
    assert shown(tracker) == ("refuses _sort",)


def test_a_server_without_a_date_header_is_seen(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.dated = False
    follow_on(tracker, ehr)
    assert shown(tracker) == ("no Date header",)


def test_pages_counted_by_rows_are_seen(tracker: Tracker, ehr: FakeEhr) -> None:
    def offset(told: dict[str, object], request: httpx.Request) -> None:
        if "_offset" not in request.url.params:
            told["link"] = [{"relation": "next", "url": f"{BASE}/Patient?_offset=100"}]

    ehr.twists.append(changed(ehr, offset))
    follow_on(tracker, ehr)
    assert shown(tracker) == ("pages are counted by rows",)


@pytest.mark.requirement(78)
def test_an_answer_out_of_a_cache_is_seen_and_counts_from_when_it_was_made(tracker: Tracker, ehr: FakeEhr) -> None:
    """As HAPI within a minute: the same search answers with the result of before, under the date of now."""
    ehr.put("Patient", "a", active=True)
    old: list[str] = []

    def cached(told: dict[str, object], _: httpx.Request) -> None:
        if not old:
            old.append(json.dumps(told | {"meta": {"lastUpdated": instant(ehr.now)}}))
            ehr.put("Patient", "b", active=True)
            ehr.pass_time(50)
        told.clear()
        told.update(json.loads(old[0]))

    twist = changed(ehr, cached)
    ehr.twists.append(twist)
    tracker.sync()
    assert shown(tracker) == ("answers come out of a search cache",)
    assert tracker.held() == {"a"}
    ehr.twists.remove(twist)
    ehr.pass_time(timedelta(minutes=10).total_seconds())
    tracker.sync()
    assert tracker.held() == {"a", "b"}
