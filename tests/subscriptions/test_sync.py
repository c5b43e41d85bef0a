from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from fhir_tracker import connections
from fhir_tracker.errors import Busy
from fhir_tracker.storage import connections as stored
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.jobs import Lease
from subscriptions import due_connections, leases, next_due, retry_quarantined
from tests.subscriptions.fake_ehr import BASE, FakeEhr
from tests.subscriptions.tracker import Tracker


def connection(tracker: Tracker) -> Connection:
    with tracker.database.read() as tx:
        return connections.get(tx, "clinic")


def due(tracker: Tracker, seconds: float) -> bool:
    with tracker.database.read() as tx:
        return bool(due_connections(tx, tracker.now + timedelta(seconds=seconds)))


def test_without_chosen_types_those_are_followed_that_the_server_searches(tracker: Tracker, ehr: FakeEhr) -> None:
    tracker.connection = Connection(key="clinic", base_url=BASE, created_at=tracker.now)
    assert [one.type for one in tracker.sync().types] == ["Patient", "CarePlan", "Task"]
    assert [one.type for one in tracker.sync().types] == ["Patient", "CarePlan", "Task"]
    assert sum(url.endswith("/metadata") for url in ehr.requests) == 1


def test_a_server_without_metadata_is_tried_all_the_same(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a")
    ehr.twists.append(lambda request: httpx.Response(404) if "metadata" in str(request.url) else None)
    assert tracker.sync().complete
    assert tracker.held() == {"a"}


def test_a_second_sync_of_the_same_connection_is_refused_while_one_runs(tracker: Tracker) -> None:
    lease = leases.take(tracker.database, "clinic", tracker.now)
    with pytest.raises(Busy):
        tracker.sync()
    leases.release(tracker.database, lease, tracker.now)
    assert tracker.sync().complete


def test_a_stopped_process_that_comes_back_cannot_commit_its_page(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a", active=True)
    taken: list[Lease] = []

    def overtaken(request: httpx.Request) -> None:
        if "Patient?" in str(request.url) and not taken:
            later = tracker.now + leases.LEASE + timedelta(seconds=1)
            taken.append(leases.take(tracker.database, "clinic", later))

    ehr.twists.append(overtaken)
    with pytest.raises(Busy, match="taken over"):
        tracker.sync()
    assert tracker.held() == set()
    leases.release(tracker.database, taken[0], tracker.now)
    tracker.sync()
    assert tracker.held() == {"a"}


def test_an_unreachable_server_is_tried_once_a_poll_and_told(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.twists.append(lambda request: httpx.Response(503))
    pauses = []
    for _ in range(12):
        report = tracker.sync()
        assert report.unreachable
        with tracker.database.read() as tx:
            pauses.append((next_due(tx, connection(tracker)) - tracker.now).total_seconds())
    assert pauses == [30] * 12
    assert connection(tracker).state == "failing"
    assert connection(tracker).last_error == "metadata: The server answered 503."
    ehr.twists.clear()
    assert tracker.sync().complete
    assert connection(tracker).state == "ok"
    assert not due(tracker, 29)
    assert due(tracker, 31)


def test_a_server_that_asks_for_patience_is_not_due_before(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a")
    tracker.sync()
    ehr.twists.append(lambda request: httpx.Response(429, headers={"retry-after": "1800"}))
    tracker.sync()
    assert not due(tracker, 1799)
    assert due(tracker, 1801)


def test_one_type_that_fails_does_not_stop_the_others(tracker: Tracker, ehr: FakeEhr) -> None:
    tracker.connection = Connection(key="clinic", base_url=BASE, created_at=tracker.now, types=("Patient", "Task"))
    ehr.put("Task", "t", status="requested", intent="order")
    ehr.twists.append(lambda request: httpx.Response(403) if "Patient?" in str(request.url) else None)
    report = tracker.sync()
    assert not report.complete
    assert not report.unreachable
    assert [one.error is None for one in report.types] == [False, True]
    assert tracker.held("Task") == {"t"}


def test_a_removed_connection_leaves_what_it_mirrored(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a")
    tracker.sync()
    with tracker.database.begin() as tx:
        connections.remove(tx, "clinic")
    assert tracker.find("a") is not None
    with tracker.database.read() as tx:
        assert stored.all(tx) == []


def test_a_deletion_that_cannot_be_ordered_is_confirmed_by_a_read(tracker: Tracker, ehr: FakeEhr) -> None:
    for id_ in ("gone", "alive"):
        ehr.put_text(
            "Patient", id_, f'{{"resourceType":"Patient","id":"{id_}","meta":{{"lastUpdated":"2024-05-06T12:00:00Z"}}}}'
        )
    tracker.sync()
    ehr.delete("Patient", "gone")
    text = ehr.texts["Patient", "alive"]
    ehr.delete("Patient", "alive")
    ehr.put_text("Patient", "alive", text)
    assert tracker.patients().tally.deleted == 1
    assert tracker.held() == {"alive"}


def test_a_search_result_from_before_the_deletion_does_not_revive(tracker: Tracker, ehr: FakeEhr) -> None:
    text = ehr.put("Patient", "a", active=True)
    tracker.sync()
    ehr.delete("Patient", "a")
    tracker.sync()
    ehr.twists.append(
        lambda request: ehr.bundle([f'{{"resource":{text}}}']) if "Patient?" in str(request.url) else None
    )
    tracker.sync()
    assert tracker.held() == set()
    ehr.twists.clear()
    ehr.put("Patient", "a", active=True)
    tracker.sync()
    assert tracker.held() == {"a"}


def test_a_retry_says_why_an_entry_still_cannot_be_applied(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put_text("Patient", "b", '{"resourceType":"Patient","id":"b","meta":"none"}')
    tracker.sync()
    waiting = tracker.quarantined()[0]
    assert retry_quarantined(tracker.database, waiting, lambda: tracker.now) == "`meta` is not an object."
    assert [one.times for one in tracker.quarantined()] == [2]
