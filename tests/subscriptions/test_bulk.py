"""A bulk export as the source: begun, waited for, taken piece by piece, and complete after any interruption."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from fhir_tracker.storage import absences
from subscriptions import EhrClient, SyncReport, TypeReport, sync_connection
from subscriptions.bulk import PIECE
from tests.subscriptions.fake_ehr import BASE, FakeEhr
from tests.subscriptions.tracker import Tracker


class Exporter:
    """The export side of an EHR: files of what it holds, and how often it says that they are not ready."""

    def __init__(self, ehr: FakeEhr) -> None:
        self.ehr = ehr
        self.busy = 0
        self.asked: list[httpx.Request] = []
        self.deleted: list[str] = []
        self.errors: list[str] = []
        self.ended = 0
        self.lost: set[str] = set()
        self.elsewhere = ""
        self.statuses: dict[str, int] = {}
        ehr.twists.append(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response | None:
        url = str(request.url)
        for part, status in self.statuses.items():
            if part in url:
                return httpx.Response(status)
        if "$export" in url:
            self.asked.append(request)
            return httpx.Response(202, headers={"content-location": f"{BASE}/jobs/1"})
        if url.endswith("/jobs/1"):
            return self._status(request)
        if "/files/" in url:
            return self._file(url.rpartition("/")[2])
        return None

    def _status(self, request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            self.ended += 1
            return httpx.Response(202)
        if self.busy:
            self.busy -= 1
            return httpx.Response(202, headers={"retry-after": "120", "x-progress": "half"})
        base = self.elsewhere or BASE
        told: dict[str, Any] = {
            "transactionTime": self.ehr.stamp(),
            "request": f"{BASE}/$export",
            "requiresAccessToken": True,
            "output": [{"type": "Patient", "url": f"{base}/files/Patient"}],
            "deleted": [{"type": "Bundle", "url": f"{base}/files/deleted"}] if self.deleted else [],
            "error": [{"type": "OperationOutcome", "url": f"{base}/files/error"}] if self.errors else [],
        }
        return httpx.Response(200, headers={"content-type": "application/json"}, text=json.dumps(told))

    def _file(self, name: str) -> httpx.Response:
        lines = {
            "Patient": [text for (_, id_), text in self.ehr.texts.items() if id_ not in self.lost],
            "error": self.errors,
            "deleted": [
                json.dumps(
                    {"resourceType": "Bundle", "entry": [{"request": {"method": "DELETE", "url": f"Patient/{id_}"}}]}
                )
                for id_ in self.deleted
            ],
        }[name]
        return httpx.Response(200, headers={"content-type": "application/fhir+ndjson"}, text="\n".join(lines) + "\n\n")


@pytest.fixture
def exporter(tracker: Tracker, ehr: FakeEhr) -> Exporter:
    tracker.connection = replace(tracker.connection, options={"strategies": {"Patient": "bulk"}, "group": "ours"})
    return Exporter(ehr)


def synced(tracker: Tracker, later: timedelta = timedelta(), *, reconcile: bool = False) -> TypeReport:
    tracker.now += later
    tracker.ehr.now += later
    done: SyncReport = tracker.reconcile() if reconcile else tracker.sync()
    return done.types[0]


@pytest.mark.requirement(78)
def test_an_export_of_the_group_is_asked_for_waited_for_and_taken(
    tracker: Tracker, ehr: FakeEhr, exporter: Exporter
) -> None:
    for number in range(7):
        ehr.put("Patient", f"p{number}", active=True)
    exporter.busy = 2
    assert synced(tracker).notes == ("an export is under way",)
    asked = exporter.asked[0]
    assert str(asked.url).startswith(f"{BASE}/Group/ours/$export?")
    assert (asked.headers["prefer"], asked.url.params["_type"]) == ("respond-async", "Patient")
    synced(tracker, timedelta(seconds=60))
    assert exporter.busy == 1
    synced(tracker, timedelta(seconds=61))
    report = synced(tracker, timedelta(seconds=121))
    assert report.tally.applied == 7
    assert tracker.held() == {f"p{number}" for number in range(7)}
    assert exporter.ended == 1
    assert synced(tracker, timedelta(hours=1)).tally.fetched == 0
    assert len(exporter.asked) == 1


@pytest.mark.requirement(78)
def test_the_next_day_only_what_changed_is_asked_for_and_deletions_are_confirmed(
    tracker: Tracker, ehr: FakeEhr, exporter: Exporter
) -> None:
    for id_ in "abc":
        ehr.put("Patient", id_, active=True)
    synced(tracker)
    ehr.delete("Patient", "a")
    exporter.deleted = ["a", "b"]
    report = synced(tracker, timedelta(days=1))
    assert exporter.asked[1].url.params["_since"].startswith("2024-05-06T11:57:5")
    assert report.tally.deleted == 1
    assert tracker.held() == {"b", "c"}


def test_what_an_export_could_not_hold_is_in_quarantine(tracker: Tracker, ehr: FakeEhr, exporter: Exporter) -> None:
    ehr.put("Patient", "a", active=True)
    ehr.put_text("Patient", "bad", '{"resourceType": "Patient", "id": "bad", "active": ')
    exporter.errors = ['{"resourceType": "OperationOutcome", "issue": [{"code": "exception"}]}']
    assert synced(tracker).tally.quarantined == 2
    assert {one.type for one in tracker.quarantined()} == {"Patient", "OperationOutcome"}
    assert tracker.held() == {"a"}


def test_a_kill_in_the_middle_of_a_file_goes_on_with_the_next_piece(
    tracker: Tracker, ehr: FakeEhr, exporter: Exporter
) -> None:
    class Killed(BaseException):
        """kill -9."""

    for number in range(PIECE + 20):
        ehr.put("Patient", f"p{number}", active=True)

    def dying() -> datetime:
        if tracker.held():
            raise Killed
        return tracker.now

    with EhrClient(BASE) as client, pytest.raises(Killed):
        sync_connection(tracker.database, tracker.connection, client=client, now=dying)
    assert len(tracker.held()) == PIECE
    report = synced(tracker, timedelta(minutes=1))
    assert report.tally.fetched == 20
    assert len(tracker.held()) == PIECE + 20
    assert len(exporter.asked) == 1


@pytest.mark.parametrize("part", ["jobs/1", "files/Patient"])
def test_an_export_that_expired_is_asked_for_anew(
    tracker: Tracker, ehr: FakeEhr, exporter: Exporter, part: str
) -> None:
    ehr.put("Patient", "a", active=True)
    exporter.statuses = {part: 404}
    assert synced(tracker).error is not None
    exporter.statuses = {}
    assert synced(tracker, timedelta(minutes=1)).error is None
    assert tracker.held() == {"a"}
    assert len(exporter.asked) == 2


def test_a_server_that_has_no_room_for_another_export_is_asked_later(
    tracker: Tracker, ehr: FakeEhr, exporter: Exporter
) -> None:
    ehr.put("Patient", "a", active=True)
    exporter.statuses = {"$export": 429}
    assert synced(tracker).error is not None
    exporter.statuses = {}
    assert synced(tracker, timedelta(minutes=1)).error is None
    assert tracker.held() == {"a"}


def test_files_on_another_origin_are_not_fetched(tracker: Tracker, ehr: FakeEhr, exporter: Exporter) -> None:
    ehr.put("Patient", "a", active=True)
    exporter.elsewhere = "https://files.example"
    report = synced(tracker)
    assert report.permanent
    assert "another origin" in (report.error or "")


@pytest.mark.requirement(78)
def test_a_whole_export_is_asked_for_by_a_reconciliation_and_shows_what_is_missing(
    tracker: Tracker, ehr: FakeEhr, exporter: Exporter
) -> None:
    for id_ in "ab":
        ehr.put("Patient", id_, active=True)
    synced(tracker)
    exporter.lost = {"a"}
    for _ in range(2):
        synced(tracker, timedelta(hours=1), reconcile=True)
        synced(tracker, timedelta(hours=1))
    assert "_since" not in exporter.asked[-1].url.params
    with tracker.database.read() as tx:
        assert absences.count(tx, "clinic", "Patient") == 1
    found = tracker.find("a")
    assert found is not None
    assert '"no-longer-returned"' in found.body
