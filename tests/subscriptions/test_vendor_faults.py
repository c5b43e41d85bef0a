"""What vendors' servers do that others do not, each with the mapping that goes by the vendor's name and nothing else set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from fhir_tracker import quarantine
from fhir_tracker.errors import UsageError
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.storage.database import Database
from fhir_tracker.unmapped import task_id
from subscriptions.budget import allowance_of
from tests.mappings.fixtures import outcome, sent_by
from tests.subscriptions.dialects import HOUR, Dialect, moved, once, saying
from tests.subscriptions.fake_ehr import BASE, FakeEhr
from tests.subscriptions.tracker import VIEWER
from tests.subscriptions.vendor_ehr import ATHENA, ECW, EPIC, ORACLE, VendorEhr
from tests.subscriptions.writer import Writer
from tests.subscriptions.writing_ehr import WritingEhr

EPIC_WITH_VISITS = replace(
    EPIC,
    searches={**EPIC.searches, "Appointment": ("patient", "date"), "Task": ("patient",)},
    requires={**EPIC.requires, "Appointment": (("patient",),), "Task": (("patient",),)},
)
VISIT = sent_by("epic")["Appointment"]


def plan(patient: str, **members: Any) -> dict[str, Any]:
    category = [{"coding": [{"code": "assess-plan"}]}]
    subject = {"reference": f"Patient/{patient}"}
    return {"status": "active", "intent": "plan", "category": category, "subject": subject, **members}


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as made:
        yield made


@pytest.fixture
def epic(database: Database, router: respx.MockRouter, tmp_path: Path) -> Dialect:
    ehr = VendorEhr(EPIC_WITH_VISITS)
    ehr.serve(router)
    made = Dialect(database, ehr, tmp_path, "epic", tuple(ehr.profile.searches))
    made.patient("a")
    ehr.put("CarePlan", "p1", **plan("a"))
    return made


@pytest.mark.requirement(78)
def test_epic_is_asked_as_its_mapping_knows_without_a_word_from_the_practice(epic: Dialect) -> None:
    epic.sync()
    assert {epic.tracker.choice(type_).strategy for type_ in EPIC_WITH_VISITS.searches} == {"roster"}
    assert epic.tracker.held("CarePlan") == {"p1"}
    assert all("category=assess-plan" in url for url in epic.ehr.requests if "CarePlan?" in url)


def test_epic_s_4101_says_that_nothing_was_found_and_counts_as_a_whole_answer(epic: Dialect) -> None:
    epic.sync()
    epic.ehr.delete("CarePlan", "p1")
    epic.ehr.twists.append(saying(epic.ehr, "CarePlan?", outcome("epic", "4101")))
    assert not epic.of("CarePlan", HOUR * 2).notes
    epic.sync(HOUR * 2)
    assert epic.tracker.held("CarePlan") == set()


@pytest.mark.parametrize("code", ["4119", "4122"])
def test_an_answer_that_epic_says_is_not_whole_makes_nothing_missing(epic: Dialect, code: str) -> None:
    epic.sync()
    epic.ehr.delete("CarePlan", "p1")
    epic.ehr.twists.append(saying(epic.ehr, "CarePlan?", outcome("epic", code)))
    for _ in range(3):
        assert any(code in note for note in epic.of("CarePlan", HOUR * 2).notes)
    assert epic.tracker.held("CarePlan") == {"p1"}
    assert epic.missed("CarePlan") == 0


def test_a_patient_whom_epic_merged_is_redirected_and_a_person_is_asked(epic: Dialect) -> None:
    epic.sync()
    epic.ehr.put("Patient", "b", active=True)
    epic.ehr.twists.append(lambda request: moved("Patient/b") if request.url.path.endswith("/Patient/a") else None)
    epic.sync(HOUR * 2)
    told = epic.task(local_id("patient-merged", "clinic-a.clinic-b", "Task"))
    assert (told["for"], told["focus"]) == ({"reference": "Patient/clinic-a"}, {"reference": "Patient/clinic-b"})
    assert epic.tracker.held() == {"a", "b"}


def test_a_paging_session_that_epic_ended_is_begun_again(epic: Dialect) -> None:
    epic.ehr.page_size = 2
    for number in range(5):
        epic.ehr.put("CarePlan", f"c{number}", **plan("a"))
    epic.ehr.twists.append(once(lambda url: "_getpages" in url, lambda: epic.ehr.json(outcome("epic", "4113"), 400)))
    epic.tracker.sync()
    epic.sync(HOUR * 2)
    assert epic.tracker.held("CarePlan") == {"p1", "c0", "c1", "c2", "c3", "c4"}
    assert epic.missed("CarePlan") == 0


def test_codes_of_the_site_are_asked_about_once_until_the_practice_explains_them(epic: Dialect) -> None:
    for id_ in ("v1", "v2"):
        members = {name: one for name, one in VISIT.items() if name not in ("resourceType", "id", "meta")}
        epic.ehr.put("Appointment", id_, **members | {"participant": [{"actor": {"reference": "Patient/a"}}]})
    epic.sync()
    told = epic.task(task_id("clinic", "appointment-type", 1))
    assert "7.3.808267.11|1004." in told["reasonCode"]["text"]
    assert not epic.task(task_id("clinic", "appointment-type", 2))
    table = epic.file.with_suffix(".toml")
    code = VISIT["serviceType"][0]["coding"][0]
    table.write_text(f'[appointment-type.codes]\n"{code["system"]}|{code["code"]}" = "tcm-visit"\n', encoding="utf-8")
    epic.codes(table)
    epic.ehr.put("Appointment", "v3", **members | {"participant": [{"actor": {"reference": "Patient/a"}}]})
    epic.sync(HOUR * 2)
    for id_ in ("v1", "v2", "v3"):
        (service,) = epic.body("Appointment", id_)["serviceType"]
        assert [(one["code"], "extension" in one) for one in service["coding"]] == [
            ("tcm-visit", True),
            ("1004", False),
        ]
    versions = len(epic.tracker.versions("v1", "Appointment"))
    epic.sync(HOUR * 2)
    assert len(epic.tracker.versions("v1", "Appointment")) == versions == 2
    assert epic.task(task_id("clinic", "appointment-type", 1))["reasonCode"] == told["reasonCode"]


def test_a_status_that_nobody_knows_waits_in_quarantine_until_the_table_has_it(epic: Dialect) -> None:
    about: dict[str, Any] = {"for": {"reference": "Patient/a"}}
    epic.ehr.put("Task", "t1", status="open", intent="order", **about)
    assert epic.of("Task").tally.quarantined == 1
    with epic.tracker.database.read() as tx:
        (waiting,) = quarantine.waiting(tx, VIEWER)
    assert waiting.reason == "No code table knows the Task.status 'open'."
    table = epic.file.with_suffix(".toml")
    table.write_text('[status.Task]\nopen = "requested"\n', encoding="utf-8")
    epic.codes(table)
    epic.sync(HOUR * 2)
    assert epic.body("Task", "t1")["status"] == "requested"
    with epic.tracker.database.read() as tx:
        assert not quarantine.waiting(tx, VIEWER)


def test_a_table_that_cannot_be_read_stops_the_connection_and_nothing_is_quarantined(epic: Dialect) -> None:
    epic.codes(epic.file.with_suffix(".toml"))
    with pytest.raises(UsageError, match=r"code table patients\.toml cannot be read"):
        epic.tracker.sync()
    with epic.tracker.database.read() as tx:
        assert not quarantine.waiting(tx, VIEWER)


def meanwhile(ehr: WritingEhr) -> Callable[[httpx.Request], None]:
    """Somebody there changes the visit before the first write is looked at."""

    def fault(_: httpx.Request) -> None:
        ehr.before.clear()
        ehr.change("Appointment", "a1", description="moved")

    return fault


def test_oracle_s_visits_and_teams_are_asked_as_its_mapping_knows(
    database: Database, router: respx.MockRouter, tmp_path: Path
) -> None:
    ehr = VendorEhr(ORACLE)
    ehr.serve(router)
    oracle = Dialect(database, ehr, tmp_path, "oracle_health", tuple(ORACLE.searches))
    oracle.patient("a")
    who = [{"actor": {"reference": "Patient/a"}, "status": "accepted"}]
    ehr.put("Appointment", "soon", status="booked", start="2024-06-01T09:00:00Z", participant=who)
    oracle.sync()
    assert oracle.tracker.choice("Appointment").strategy == "windowed"
    assert oracle.tracker.held("Appointment") == {"soon"}


@pytest.mark.requirement(46)
@pytest.mark.parametrize("stale", [409, 412])
def test_oracle_takes_the_status_of_a_visit_by_a_patch_upon_its_version(
    database: Database, router: respx.MockRouter, stale: int
) -> None:
    ehr = WritingEhr()
    ehr.serve(router)
    ehr.takes["Appointment"], ehr.takes["Task"] = ("patch",), ()
    ehr.needs_match, ehr.stale, ehr.conditional = True, stale, False
    ehr.put("Patient", "12724066", active=True)
    sent = sent_by("oracle_health")["Appointment"]
    members = {name: one for name, one in sent.items() if name not in ("resourceType", "id", "meta")}
    ehr.put("Appointment", "a1", **members)
    writer = Writer(database, BASE, mapping="oracle_health")
    with database.begin() as tx:
        writer.mirror(tx, ehr.held("Patient", "12724066"))
        writer.mirror(tx, ehr.held("Appointment", "a1"))
    writer.patient = "Patient/clinic-12724066"
    ehr.before.append(meanwhile(ehr))
    writer.change("Appointment", "clinic-a1", status="cancelled", comment="she moved")
    assert writer.write().counts == {"unsupported": 1}
    assert writer.row("Appointment/clinic-a1").reason == "It was written without comment, which it does not take."
    assert [request.method for request in ehr.writes] == ["PATCH", "PATCH"]
    assert b"comment" not in ehr.writes[-1].content
    there = ehr.held("Appointment", "a1")
    assert (there["status"], there["description"]) == ("cancelled", "moved")
    assert there["participant"] == sent["participant"]
    assert there["serviceType"] == sent["serviceType"]


def test_athena_is_asked_by_the_day_and_never_for_visits(
    database: Database, router: respx.MockRouter, tmp_path: Path
) -> None:
    ehr = VendorEhr(replace(ATHENA, searches={**ATHENA.searches, "Appointment": ("_id",)}))
    ehr.serve(router)
    athena = Dialect(database, ehr, tmp_path, "athena", tuple(ehr.profile.searches))
    athena.patient("a")
    ehr.put("CarePlan", "p1", **plan("a", title="one"))
    athena.sync()
    ehr.pass_time(3600)
    ehr.put("CarePlan", "p1", **plan("a", title="two"))
    athena.sync()
    assert any("CarePlan?_lastUpdated=ge2024-05-" in url and "T" not in url.partition("ge")[2] for url in ehr.requests)
    assert athena.body("CarePlan", "p1")["title"] == "two"
    assert not [url for url in ehr.requests if "Appointment" in url]


def test_eclinicalworks_has_its_minute_from_its_mapping(
    database: Database, router: respx.MockRouter, tmp_path: Path
) -> None:
    ehr = VendorEhr(ECW)
    ehr.serve(router)
    ecw = Dialect(database, ehr, tmp_path, "ecw", tuple(ECW.searches))
    allowance = allowance_of(ecw.tracker.connection)
    assert allowance is not None
    assert (allowance.at(ecw.tracker.now), allowance.aligned) == (250, True)
    ecw.patient("a")
    ehr.put("CarePlan", "p1", **plan("a"))
    ehr.twists.append(once(lambda url: "CarePlan?" in url, lambda: httpx.Response(429)))
    ecw.sync()
    assert ecw.tracker.held("CarePlan") == {"p1"}


def test_hapi_s_cache_of_searches_is_passed_by(database: Database, router: respx.MockRouter, tmp_path: Path) -> None:
    ehr = FakeEhr()
    cache: dict[str, httpx.Response] = {}
    controls: list[str] = []

    def cached(request: httpx.Request) -> httpx.Response | None:
        control = request.headers.get("cache-control", "")
        controls.append(control)
        if "no-cache" not in control and str(request.url) in cache:
            return cache[str(request.url)]
        cache[str(request.url)] = ehr.answer(request)
        return cache[str(request.url)]

    ehr.twists.append(cached)
    ehr.serve(router)
    hapi = Dialect(database, ehr, tmp_path, "hapi", ("Task",))
    for number in range(3):
        ehr.put("Task", "1", status="requested", intent="order", description=str(number))
        hapi.sync()
        assert hapi.body("Task", "1")["description"] == str(number)
    assert not [control for control in controls if "no-store" in control]


def test_an_estimated_total_as_google_gives_it_is_not_believed(
    database: Database, router: respx.MockRouter, tmp_path: Path
) -> None:
    ehr = FakeEhr(page_size=2)

    def estimating(request: httpx.Request) -> httpx.Response | None:
        found = ehr.answer(request)
        if "Task" not in str(request.url) and "_getpages" not in str(request.url):
            return None
        return ehr.json(found.json() | {"total": 1})

    ehr.twists.append(estimating)
    ehr.serve(router)
    google = Dialect(database, ehr, tmp_path, "generic", ("Task",))
    for number in range(7):
        ehr.put("Task", str(number), status="requested", intent="order")
    google.sync()
    assert google.tracker.held("Task") == {str(number) for number in range(7)}


def test_what_medplum_deleted_is_deleted_and_its_own_meta_stays_there(
    database: Database, router: respx.MockRouter, tmp_path: Path
) -> None:
    ehr = FakeEhr()
    ehr.serve(router)
    medplum = Dialect(database, ehr, tmp_path, "medplum", ("Task",))
    sent = sent_by("medplum")["Task"]
    members = {name: one for name, one in sent.items() if name not in ("resourceType", "id", "meta")}
    ehr.put("Task", "t1", **members)
    ehr.texts["Task", "t1"] = ehr.texts["Task", "t1"].replace(
        '"meta": {', '"meta": {"project": "p", "compartment": [],'
    )
    medplum.sync()
    assert "project" not in medplum.body("Task", "t1")["meta"]
    assert '"project"' in (medplum.tracker.verbatim("t1", "Task") or "")
    ehr.pass_time(5)
    ehr.delete("Task", "t1")
    medplum.sync()
    assert medplum.tracker.held("Task") == set()
