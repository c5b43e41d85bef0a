"""The comparison of everything: it finds what all other ways missed, counts it, and erases nothing on suspicion."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from fhir_tracker import connections
from fhir_tracker.storage import absences, cursors, resources
from subscriptions import TypeReport
from subscriptions.reconcile import cursor_name, is_reconcile_due, missed_events
from tests.subscriptions.fake_ehr import FakeEhr
from tests.subscriptions.tracker import VIEWER, Tracker

DAY = 86_400


def reconciled(tracker: Tracker) -> TypeReport:
    done = tracker.reconcile()
    assert done.complete, done.error
    return next(one for one in done.types if one.type == "Patient")


def hide(ehr: FakeEhr, *hidden: str) -> None:
    """Leave some out of every search by time, as a lost commit would be."""

    def without(request: httpx.Request) -> httpx.Response | None:
        if "_lastUpdated" not in str(request.url):
            return None
        answer = ehr.answer(request)
        told = json.loads(answer.text)
        told["entry"] = [one for one in told.get("entry", []) if one["resource"]["id"] not in hidden]
        return ehr.json(told)

    ehr.twists.append(without)


def subset(ehr: FakeEhr, *, version: bool = True, tag: bool = True) -> None:
    """Keep to `_elements`, as HAPI does."""

    def short(request: httpx.Request) -> httpx.Response | None:
        if "_elements" not in str(request.url):
            return None
        told: dict[str, Any] = json.loads(ehr.answer(request).text)
        for one in told.get("entry", []):
            meta = one["resource"]["meta"] | ({"tag": [{"code": "SUBSETTED"}]} if tag else {})
            if not version:
                meta.pop("versionId")
            one["resource"] = {"resourceType": "Patient", "id": one["resource"]["id"], "meta": meta}
        return ehr.json(told)

    ehr.twists.append(short)


@pytest.fixture(params=["whole", "short", "short without versions", "short untagged", "refuses _elements"])
def shaped(request: pytest.FixtureRequest, ehr: FakeEhr) -> str:
    if request.param.startswith("short"):
        subset(ehr, version="without" not in request.param, tag="untagged" not in request.param)
    if request.param.startswith("refuses"):
        ehr.twists.append(lambda asked: httpx.Response(400) if "_elements" in str(asked.url) else None)
    return str(request.param)


@pytest.mark.requirement(78)
def test_what_every_other_way_missed_is_found_and_counted(tracker: Tracker, ehr: FakeEhr, shaped: str) -> None:
    ehr.put("Patient", "a", active=True)
    ehr.put("Patient", "b", active=True)
    tracker.sync()
    ehr.pass_time(DAY)
    hide(ehr, "a", "c")
    ehr.put("Patient", "a", active=False)
    ehr.put("Patient", "c", active=True)
    ehr.pass_time(DAY)
    tracker.sync()
    assert tracker.held() == {"a", "b"}
    report = reconciled(tracker)
    assert report.missed == 2
    assert tracker.held() == {"a", "b", "c"}
    found = tracker.find("a")
    assert found is not None
    assert '"active":false' in found.body
    assert reconciled(tracker).missed == 0
    with tracker.database.read() as tx:
        kept = cursors.find(tx, "clinic", cursor_name("Patient"))
    assert kept is not None
    assert missed_events(dict(kept.detail)) == 2


def test_a_change_that_the_next_poll_sees_anyway_is_no_missed_event(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a", active=True)
    tracker.sync()
    ehr.pass_time(1)

    def late(request: httpx.Request) -> None:
        if "_elements" in str(request.url) and "b" not in {id_ for _, id_ in ehr.texts}:
            ehr.put("Patient", "b", active=True)

    ehr.twists.append(late)
    assert reconciled(tracker).missed == 0
    assert tracker.held() == {"a", "b"}


@pytest.mark.requirement(78)
def test_what_is_missing_twice_from_a_whole_answer_is_tagged_and_comes_back_untagged(
    tracker: Tracker, ehr: FakeEhr, shaped: str
) -> None:
    ehr.put("Patient", "a", active=True)
    ehr.put("Patient", "b", active=True)
    tracker.sync()

    def without_a(request: httpx.Request) -> httpx.Response | None:
        if "Patient?" not in str(request.url):
            return None
        answer = next((found for one in earlier if (found := one(request))), None) or ehr.answer(request)
        if answer.status_code != 200:
            return answer
        told = json.loads(answer.text)
        told["entry"] = [one for one in told.get("entry", []) if one["resource"]["id"] != "a"]
        return ehr.json(told)

    earlier = list(ehr.twists)
    ehr.twists = [without_a]
    reconciled(tracker)
    assert tagged(tracker, "a") is False
    reconciled(tracker)
    assert tagged(tracker, "a") is True
    reconciled(tracker)
    assert len(tracker.versions("a")) == 2
    ehr.twists = earlier
    reconciled(tracker)
    assert tagged(tracker, "a") is False
    with tracker.database.read() as tx:
        assert absences.count(tx, "clinic", "Patient") == 0


def tagged(tracker: Tracker, id_: str) -> bool:
    found = tracker.find(id_)
    assert found is not None
    assert not found.deleted
    return '"no-longer-returned"' in found.body


@pytest.mark.requirement(78)
@pytest.mark.parametrize("status", [404, 410])
def test_a_deletion_that_no_history_told_is_believed_when_it_is_said_twice(
    tracker: Tracker, ehr: FakeEhr, status: int
) -> None:
    ehr.put("Patient", "a", active=True)
    ehr.put("Patient", "b", active=True)
    tracker.sync()
    ehr.delete("Patient", "a")
    ehr.history.clear()
    ehr.twists.append(lambda asked: httpx.Response(status) if str(asked.url).endswith("Patient/a") else None)
    assert reconciled(tracker).tally.deleted == 0
    report = reconciled(tracker)
    assert (report.tally.deleted, report.missed) == (1, 1)
    assert tracker.held() == {"b"}


def test_an_answer_that_says_it_is_not_whole_makes_nothing_absent(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a", active=True)
    tracker.sync()
    outcome = '{"resource": {"resourceType": "OperationOutcome", "issue": [{"code": "incomplete"}]}}'
    ehr.twists.append(lambda asked: ehr.bundle([outcome]) if "Patient?" in str(asked.url) else None)
    for _ in range(3):
        reconciled(tracker)
    assert tagged(tracker, "a") is False


def test_a_server_that_fails_in_the_middle_of_a_comparison_loses_nothing_and_is_told(
    tracker: Tracker, ehr: FakeEhr
) -> None:
    ehr.page_size = 2
    for number in range(5):
        ehr.put("Patient", f"p{number}", active=True)
    tracker.sync()
    ehr.twists.append(
        lambda asked: httpx.Response(500) if "_getpagesoffset=4" in str(asked.url) and len(ehr.requests) > 8 else None
    )
    done = tracker.reconcile()
    assert done.types[0].error is not None
    assert done.types[0].error.startswith("reconciliation: ")
    assert tracker.held() == {f"p{number}" for number in range(5)}
    with tracker.database.read() as tx:
        assert absences.count(tx, "clinic", "Patient") == 0


def test_a_connection_is_compared_once_a_day_after_its_first_load(tracker: Tracker, ehr: FakeEhr) -> None:
    def due() -> bool:
        with tracker.database.read() as tx:
            return is_reconcile_due(tx, connections.get(tx, "clinic"), timedelta(days=1), tracker.now)

    assert not due()
    tracker.sync()
    assert not due()
    tracker.now += timedelta(days=1)
    assert due()
    tracker.reconcile()
    assert not due()
    tracker.now += timedelta(days=1)
    ehr.twists.append(lambda asked: httpx.Response(500) if "_elements" in str(asked.url) else None)
    tracker.reconcile()
    assert not due()
    tracker.now += timedelta(hours=1)
    assert due()


@pytest.mark.requirement(78)
def test_a_patient_whose_address_leads_to_another_was_merged_and_is_kept(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a", active=True)
    ehr.put("Patient", "b", active=True)
    tracker.sync()
    ehr.delete("Patient", "a")
    ehr.history.clear()
    moved = httpx.Response(301, headers={"location": "b"})
    ehr.twists.append(lambda asked: moved if str(asked.url).endswith("Patient/a") else None)
    for _ in range(3):
        reconciled(tracker)
    assert tagged(tracker, "a")
    with tracker.database.read() as tx:
        tasks = resources.scan(tx, VIEWER, ["Task"])
    assert len(tasks) == 1
    assert '"Patient/clinic-a"' in tasks[0].body
    assert '"Patient/clinic-b"' in tasks[0].body
