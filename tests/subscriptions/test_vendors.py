"""Epic, Oracle Health, athenahealth and eClinicalWorks as they answer: each is followed to the last change all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from fhir_tracker import records
from fhir_tracker.model.allowance import read_allowance
from fhir_tracker.model.author import Author
from fhir_tracker.storage import absences, rosters
from fhir_tracker.storage.database import Database
from subscriptions import EhrClient, Limits, SyncReport, refresh_patient, sync_connection
from subscriptions.budget import SharedBudget
from tests.subscriptions.fake_ehr import BASE
from tests.subscriptions.tracker import VIEWER, Tracker
from tests.subscriptions.vendor_ehr import ATHENA, ECW, EPIC, ORACLE, Profile, VendorEhr

Practice = Callable[[Profile, dict[str, str]], "Vendor"]
HOUR = timedelta(hours=1)


class Vendor:
    """A tracker that follows a vendor's server; patients are known by a file."""

    def __init__(self, database: Database, ehr: VendorEhr, folder: Path, strategies: dict[str, str]) -> None:
        self.ehr = ehr
        self.tracker = Tracker(database, ehr)
        self.file = folder / "patients"
        self.file.write_text("", encoding="utf-8")
        options = {"strategies": strategies, "roster_file": str(self.file)}
        self.tracker.connection = replace(self.tracker.connection, types=tuple(ehr.profile.searches), options=options)

    def patient(self, *ids: str) -> None:
        for id_ in ids:
            self.ehr.put("Patient", id_, active=True)
        self.file.write_text("\n".join([*self.file.read_text(encoding="utf-8").split(), *ids]), encoding="utf-8")

    def sync(self, later: timedelta = timedelta()) -> SyncReport:
        self.tracker.now += later
        self.ehr.now += later
        done = self.tracker.sync()
        assert done.complete, done.error
        return done

    def asked(self, part: str) -> list[str]:
        """Every address that was asked and holds `part`."""
        return [url for url in self.ehr.requests if part in url]


@pytest.fixture
def practice(database: Database, tmp_path: Path) -> Any:
    with respx.mock(assert_all_called=False) as router:

        def made(profile: Profile, strategies: dict[str, str]) -> Vendor:
            ehr = VendorEhr(profile)
            ehr.serve(router)
            return Vendor(database, ehr, tmp_path, strategies)

        yield made


def plan(patient: str, **members: Any) -> dict[str, Any]:
    return {
        "status": "active",
        "intent": "plan",
        "category": [{"coding": [{"code": "assess-plan"}]}],
        "subject": {"reference": f"Patient/{patient}"},
        **members,
    }


EPIC_WAY = {"CarePlan": "roster?category=assess-plan"}


@pytest.mark.requirement(78)
def test_epic_is_followed_patient_by_patient_and_by_content_where_nothing_is_stamped(practice: Practice) -> None:
    epic = practice(EPIC, EPIC_WAY)
    epic.patient("a", "b")
    epic.ehr.put("CarePlan", "p1", **plan("a", title="one"))
    epic.ehr.put("CareTeam", "t1", status="active", subject={"reference": "Patient/b"})
    epic.sync()
    assert epic.tracker.held() == {"a", "b"}
    assert epic.tracker.held("CarePlan") == {"p1"}
    assert epic.tracker.held("CareTeam") == {"t1"}
    assert [epic.tracker.choice(type_).strategy for type_ in EPIC.searches] == ["roster"] * 3
    before = len(epic.tracker.versions("p1", "CarePlan"))
    epic.ehr.put("CarePlan", "p1", **plan("a", title="two"))
    epic.sync(HOUR * 2)
    assert len(epic.tracker.versions("p1", "CarePlan")) == before + 1
    epic.sync(HOUR * 2)
    assert len(epic.tracker.versions("p1", "CarePlan")) == before + 1
    assert not epic.asked("CarePlan?patient=a&_lastUpdated")


@pytest.mark.requirement(79)
def test_patients_are_asked_about_again_after_an_hour_and_those_with_open_work_after_a_quarter(
    practice: Practice,
) -> None:
    epic = practice(EPIC, EPIC_WAY)
    epic.patient("a", "b")
    epic.ehr.put("CarePlan", "p1", **plan("a"))
    epic.sync()
    with epic.tracker.database.begin() as tx:
        task = {
            "resourceType": "Task",
            "status": "requested",
            "intent": "order",
            "for": {"reference": "Patient/clinic-b"},
        }
        records.create(tx, task, Author(viewer=VIEWER, origin="api", at=epic.tracker.now))
    asked = []
    for minutes in (59, 2, 5, 10):
        epic.ehr.requests.clear()
        epic.sync(timedelta(minutes=minutes))
        asked.append([url[-1 - len("&_count=100")] for url in epic.asked("CarePlan?category")])
    assert asked == [[], ["b", "a"], [], ["b"]]


def test_a_roster_that_was_killed_in_the_middle_goes_on_with_those_who_are_left(practice: Practice) -> None:
    class Killed(BaseException):
        """kill -9."""

    epic = practice(EPIC, EPIC_WAY)
    epic.patient(*[f"p{number:02}" for number in range(8)])
    for number in range(8):
        epic.ehr.put("CarePlan", f"c{number}", **plan(f"p{number:02}"))
    left = [5]

    def killing(request: httpx.Request) -> None:
        if "CarePlan?category" in str(request.url):
            left[0] -= 1
            if left[0] < 0:
                raise Killed

    epic.ehr.twists.append(killing)
    with pytest.raises(Killed):
        epic.tracker.sync()
    assert epic.tracker.held("CarePlan") == {f"c{number}" for number in range(5)}
    epic.ehr.twists.clear()
    epic.ehr.requests.clear()
    epic.tracker.now += timedelta(minutes=1)
    epic.sync()
    assert epic.tracker.held("CarePlan") == {f"c{number}" for number in range(8)}
    assert len(epic.asked("CarePlan?category")) == 3


@pytest.mark.requirement(78)
@pytest.mark.parametrize(("code", "tagged"), [("4101", True), ("4119", False)])
def test_epic_s_word_that_nothing_was_found_is_a_whole_answer_and_that_more_exists_is_none(
    practice: Practice, code: str, tagged: bool
) -> None:
    epic = practice(EPIC, EPIC_WAY)
    epic.patient("a")
    epic.ehr.put("CareTeam", "t1", status="active", subject={"reference": "Patient/a"})
    epic.sync()
    told = {"severity": "warning", "code": "processing", "details": {"coding": [{"system": "urn:oid:1", "code": code}]}}
    outcome = json.dumps(
        {"resource": {"resourceType": "OperationOutcome", "issue": [told]}, "search": {"mode": "outcome"}}
    )
    epic.ehr.twists.append(lambda request: epic.ehr.bundle([outcome]) if "CareTeam?" in str(request.url) else None)
    for _ in range(2):
        epic.sync(HOUR * 2)
    assert bool(tags(epic, "t1")) is tagged


def test_a_patient_behind_glass_does_not_keep_the_others_from_being_read(practice: Practice) -> None:
    epic = practice(EPIC, EPIC_WAY)
    epic.patient("a", "b", "c")
    epic.ehr.put("CarePlan", "p1", **plan("c"))
    epic.ehr.twists.append(
        lambda request: (
            httpx.Response(403) if "CarePlan?" in str(request.url) and "patient=b" in str(request.url) else None
        )
    )
    done = epic.sync()
    assert epic.tracker.held("CarePlan") == {"p1"}
    report = next(one for one in done.types if one.type == "CarePlan")
    assert any("403" in note for note in report.notes)
    with epic.tracker.database.read() as tx:
        assert rosters.standing(tx, "clinic", "CarePlan", epic.tracker.now).failing == 1


def test_a_question_that_no_patient_can_be_asked_is_an_error_and_not_a_long_silence(practice: Practice) -> None:
    epic = practice(EPIC, {"CarePlan": "roster"})
    epic.patient(*[f"p{number}" for number in range(9)])
    done = epic.tracker.sync()
    report = next(one for one in done.types if one.type == "CarePlan")
    assert report.error is not None
    assert "400" in report.error
    assert report.permanent


@pytest.mark.requirement(78)
def test_oracle_shows_active_care_teams_only_and_the_others_are_tagged_and_never_erased(practice: Practice) -> None:
    oracle = practice(ORACLE, {})
    oracle.patient("a")
    team: dict[str, Any] = {"subject": {"reference": "Patient/a"}}
    oracle.ehr.put("CareTeam", "t1", status="active", **team)
    oracle.sync()
    assert oracle.tracker.choice("CareTeam").strategy == "roster"
    oracle.ehr.put("CareTeam", "t1", status="inactive", **team)
    oracle.sync(HOUR * 2)
    assert not tags(oracle, "t1")
    with oracle.tracker.database.read() as tx:
        assert absences.count(tx, "clinic", "CareTeam") == 1
    oracle.sync(HOUR * 2)
    assert tags(oracle, "t1") == ["no-longer-returned"]
    found = oracle.tracker.find("t1", "CareTeam")
    assert found is not None
    assert not found.deleted
    assert '"inactive"' in found.body
    oracle.sync(HOUR * 2)
    oracle.ehr.put("CareTeam", "t1", status="active", **team)
    oracle.sync(HOUR * 2)
    assert not tags(oracle, "t1")


def tags(vendor: Vendor, id_: str) -> list[str]:
    found = vendor.tracker.find(id_, "CareTeam")
    assert found is not None
    return ["no-longer-returned"] if '"no-longer-returned"' in found.body else []


@pytest.mark.requirement(78)
def test_what_is_gone_twice_is_deleted_with_its_history_kept(practice: Practice) -> None:
    oracle = practice(ORACLE, {})
    oracle.patient("a")
    oracle.ehr.put("CareTeam", "t1", status="active", subject={"reference": "Patient/a"})
    oracle.sync()
    oracle.ehr.delete("CareTeam", "t1")
    oracle.sync(HOUR * 2)
    assert oracle.tracker.held("CareTeam") == {"t1"}
    oracle.sync(HOUR * 2)
    assert oracle.tracker.held("CareTeam") == set()
    assert [one.op for one in oracle.tracker.versions("t1", "CareTeam")] == ["delete", "create"]


@pytest.mark.requirement(78)
def test_oracle_s_appointments_are_read_by_patient_in_a_window_of_the_server_s_dates(practice: Practice) -> None:
    oracle = practice(ORACLE, {})
    oracle.patient("a", "b")
    who: dict[str, Any] = {"participant": [{"actor": {"reference": "Patient/a"}, "status": "accepted"}]}
    oracle.ehr.put("Appointment", "soon", status="booked", start="2024-06-01T09:00:00Z", **who)
    oracle.ehr.put("Appointment", "far", status="booked", start="2026-06-01T09:00:00Z", **who)
    oracle.sync()
    assert oracle.tracker.choice("Appointment").strategy == "windowed"
    assert oracle.tracker.held("Appointment") == {"soon"}
    assert oracle.asked("date=ge2024-04-05&date=le2024-11-05")
    oracle.ehr.put("Appointment", "soon", status="cancelled", start="2024-06-01T09:00:00Z", **who)
    oracle.sync(HOUR * 2)
    found = oracle.tracker.find("soon", "Appointment")
    assert found is not None
    assert '"cancelled"' in found.body


@pytest.mark.requirement(78)
def test_athena_s_days_are_asked_for_with_a_whole_day_of_overlap(practice: Practice) -> None:
    athena = practice(ATHENA, {})
    athena.ehr.put("CarePlan", "p1", **plan("a", title="one"))
    athena.sync()
    athena.ehr.pass_time(3600)
    athena.ehr.put("CarePlan", "p1", **plan("a", title="two"))
    athena.ehr.pass_time(7200)
    athena.sync()
    assert athena.asked("CarePlan?_lastUpdated=ge2024-05-05&")
    found = athena.tracker.find("p1", "CarePlan")
    assert found is not None
    assert '"two"' in found.body
    athena.ehr.requests.clear()
    athena.sync()
    assert len(athena.asked("CarePlan?")) == 1


@pytest.mark.requirement(79)
def test_eclinicalworks_is_never_asked_more_than_it_allows_in_a_minute_of_its_clock(practice: Practice) -> None:
    ecw = practice(ECW, {})
    ecw.patient(*[f"p{number:03}" for number in range(300)])
    tracker, ehr = ecw.tracker, ecw.ehr

    def pause(seconds: float) -> None:
        tracker.now += timedelta(seconds=seconds)
        ehr.pass_time(seconds)

    start = tracker.now
    budget = SharedBudget(
        tracker.database,
        "clinic",
        read_allowance("250 aligned"),
        lambda: tracker.now,
        monotonic=lambda: (tracker.now - start).total_seconds(),
    )
    with EhrClient(BASE, limits=Limits(tries=2), pause=pause, budget=budget) as client:
        done = sync_connection(tracker.database, tracker.connection, client=client, now=lambda: tracker.now)
    assert done.complete, done.error
    assert len(ehr.requests) > 600
    assert max(ehr.served.values()) <= 250
    with tracker.database.read() as tx:
        assert rosters.standing(tx, "clinic", "CarePlan", tracker.now).never == 0


@pytest.mark.requirement(78)
def test_where_patient_and_time_can_be_said_together_only_changes_are_read(practice: Practice) -> None:
    athena = practice(ATHENA, {"CarePlan": "last_updated_patient"})
    athena.ehr.put("Patient", "a", active=True)
    athena.ehr.put("CarePlan", "p1", **plan("a", title="one"))
    athena.ehr.put("CarePlan", "p2", **plan("a", title="one"))
    athena.sync()
    athena.ehr.profile = replace(ATHENA, days=False)
    athena.sync(HOUR * 48)
    athena.ehr.put("CarePlan", "p1", **plan("a", title="two"))
    athena.ehr.requests.clear()
    report = next(one for one in athena.sync(HOUR * 2).types if one.type == "CarePlan")
    assert (report.tally.fetched, report.tally.applied) == (1, 1)
    assert athena.asked("CarePlan?patient=a&_lastUpdated=ge2024-05-08")


@pytest.mark.requirement(78)
def test_a_reconciliation_of_a_roster_reads_everyone_and_counts_what_time_had_hidden(practice: Practice) -> None:
    athena = practice(ATHENA, {"CarePlan": "last_updated_patient"})
    athena.ehr.profile = replace(ATHENA, days=False)
    athena.ehr.put("Patient", "a", active=True)
    athena.ehr.put("CarePlan", "p1", **plan("a", title="one"))
    athena.sync()
    athena.ehr.put("CarePlan", "p1", stamp="2024-05-01T00:00:00Z", **plan("a", title="two"))
    athena.sync(HOUR * 2)
    done = athena.tracker.reconcile()
    assert done.complete, done.error
    assert next(one for one in done.types if one.type == "CarePlan").missed == 1


def test_one_patient_is_read_at_once_when_a_page_opens(practice: Practice) -> None:
    epic = practice(EPIC, EPIC_WAY)
    epic.patient("a", "b")
    epic.sync()
    epic.ehr.put("CarePlan", "p1", **plan("a"))
    with EhrClient(BASE) as client:
        done = refresh_patient(
            epic.tracker.database, epic.tracker.connection, "a", client=client, now=lambda: epic.tracker.now
        )
    assert done.complete, done.error
    assert epic.tracker.held("CarePlan") == {"p1"}


def test_a_type_that_is_only_read_at_launch_is_not_pulled(practice: Practice) -> None:
    epic = practice(EPIC, {"CarePlan": "launch?category=assess-plan", "CareTeam": "none"})
    epic.patient("a")
    epic.ehr.put("CarePlan", "p1", **plan("a"))
    assert [one.type for one in epic.sync().types] == ["Patient"]
    with EhrClient(BASE) as client:
        refresh_patient(
            epic.tracker.database, epic.tracker.connection, "a", client=client, now=lambda: epic.tracker.now
        )
    assert epic.tracker.held("CarePlan") == {"p1"}
