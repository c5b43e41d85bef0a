"""Exceptions, misfiled documents and what could not be sent, on pages; and what a hostile form does about them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from fhir_tracker import built_in
from fhir_tracker.model.vocabulary import EXCEPTION_MEANS, EXCEPTIONS, FLAG_SYSTEM
from fhir_tracker.storage import dispatches
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.dispatches import Untold
from tests.api.staff.conftest import Reader
from tests.support.clinic import Clinic, encounter

DAY = timedelta(days=1)
PROGRAM = """
program: pages
eligible: {any: [{Encounter: {status: finished, class: IMP, within: 30 days}}]}
statuses:
  - {code: to-do, is: requested, means: Not yet done}
  - {code: done, is: completed, means: Done}
tasks:
  - {code: see, role: rn}
  - {code: flagged, role: rn, on: rule}
documents:
  - {code: summary, title: Discharge summary, after: enrolment, within: 1 hour, satisfied_by: {DocumentReference: {code: "urn:l|sum"}}}
rules:
  - {id: told, when: {exception: [EVERY]}, do: {create_task: flagged}}
  - {id: no-summary, when: {document_missing: summary}, do: {raise_flag: no-summary}}
""".replace("EVERY", ", ".join(EXCEPTIONS))


@pytest.fixture
def ready_url(one_file: str) -> str:
    """On SQLite: what flags do is tested on both kinds of database where rules and clients put them up."""
    return one_file


@pytest.fixture
def ward(database: Database, now: datetime) -> Clinic:
    clinic = Clinic(database, PROGRAM, now - 3 * DAY)
    clinic.patient("ann", now - 3 * DAY)
    clinic.discharge("ann", now - 3 * DAY)
    return clinic


def flags_of(clinic: Clinic) -> list[dict[str, Any]]:
    return [one for one in clinic.stored("Flag") if one["code"]["coding"][0]["code"] in EXCEPTIONS]


def test_every_exception_is_offered_with_its_definition_and_published_with_it(reader: Reader, ward: Clinic) -> None:
    page = reader.get("/patients/ann").words
    assert set(EXCEPTION_MEANS) == set(EXCEPTIONS)
    for code, title in EXCEPTIONS.items():
        assert f"{title}: {EXCEPTION_MEANS[code]}" in page
    (system,) = [one for one in built_in.built_in_resources() if one["url"] == FLAG_SYSTEM]
    assert {one["code"]: one["definition"] for one in system["concept"]} == EXCEPTION_MEANS


def test_an_exception_is_put_up_worked_on_taken_down_and_put_up_again(
    reader: Reader, ward: Clinic, now: datetime
) -> None:
    sent = reader.send("/patients/ann/exceptions", {"code": "contraindication", "reason": "allergic <b>to it</b>"})
    assert (sent.status, sent.location.startswith("/patients/ann?said=")) == (303, True)
    page = reader.get("/patients/ann")
    assert EXCEPTION_MEANS["contraindication"] in page.words
    assert "<b>to it" not in page.text
    (flag,) = flags_of(ward)
    assert (flag["status"], flag["subject"]["reference"]) == ("active", "Patient/ann")
    assert [one["target"][0]["reference"] for one in ward.provenance(f"Flag/{flag['id']}")]
    ward.sweep(now + timedelta(minutes=1))
    assert ward.task("ann", "flagged").open
    assert reader.send("/patients/ann/exceptions", {"code": "contraindication"}).status == 303
    assert len(flags_of(ward)) == 1
    assert reader.send("/patients/ann/exceptions/contraindication/end").status == 303
    assert [one["status"] for one in flags_of(ward)] == ["inactive"]
    assert reader.send("/patients/ann/exceptions/contraindication/end").status == 422
    assert reader.send("/patients/ann/exceptions", {"code": "contraindication"}).status == 303
    assert sorted(one["status"] for one in flags_of(ward)) == ["active", "inactive"]


def test_the_same_exception_put_up_twice_by_clients_is_over_at_once(
    reader: Reader, ward: Clinic, now: datetime
) -> None:
    for number in range(3):
        ward.put(
            {
                "resourceType": "Flag",
                "id": f"f{number}",
                "status": "active",
                "code": {"coding": [{"system": FLAG_SYSTEM, "code": "no-show"}]},
                "subject": {"reference": "Patient/ann"},
            },
            now - DAY,
        )
    assert reader.send("/patients/ann/exceptions/no-show/end").status == 303
    assert [one["status"] for one in flags_of(ward)] == ["inactive"] * 3


@pytest.mark.parametrize(
    ("path", "code", "status"),
    [
        ("ann/exceptions", "", 422),
        ("ann/exceptions", "high-risk", 422),
        ("ann/exceptions", f"{FLAG_SYSTEM}|no-show", 422),
        ("ann/exceptions", "no-show\r\nX: y", 422),
        ("nobody/exceptions", "no-show", 404),
        ("ann/exceptions/no-show/end", "", 422),
        ("ann/exceptions/nonsense/end", "", 422),
        ("nobody/exceptions/no-show/end", "", 404),
    ],
)
def test_what_is_no_exception_or_nobodys_changes_nothing(
    reader: Reader, ward: Clinic, path: str, code: str, status: int
) -> None:
    assert reader.send(f"/patients/{path}", {"code": code}).status == status
    assert flags_of(ward) == []


def test_a_flag_needs_the_token_of_a_page(reader: Reader, ward: Clinic) -> None:
    assert reader.send("/patients/ann/exceptions", {"code": "no-show"}, csrf="wrong").status == 403
    assert flags_of(ward) == []


def test_two_people_at_once_put_up_one_flag(reader: Reader, ward: Clinic) -> None:
    token = reader.get("/help/keys").hidden("csrf")
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda _: reader.send("/patients/ann/exceptions", {"code": "moved"}, csrf=token), range(4))
        )
    assert {one.status for one in answers} == {303}
    assert len(flags_of(ward)) == 1


def test_a_summary_filed_under_another_patients_stay_is_told_where_it_is_missed(
    reader: Reader, ward: Clinic, now: datetime
) -> None:
    ward.patient("ben", now - 40 * DAY)
    ward.put(encounter("ben", now - 30 * DAY, id_="other"), now - 2 * DAY)
    summary = {
        "resourceType": "DocumentReference",
        "id": "sum",
        "status": "current",
        "type": {"coding": [{"system": "urn:l", "code": "sum"}]},
        "subject": {"reference": "Patient/ann"},
        "date": (now - DAY).isoformat(),
        "content": [{"attachment": {"title": "Summary"}}],
        "context": {"encounter": [{"reference": "Encounter/other"}]},
    }
    ward.put(summary, now - DAY)
    said = "Filed elsewhere? DocumentReference/sum was filed under Encounter/other, which is another patient's"
    assert said in reader.get("/patients/ann").words
    assert said in reader.get(f"/tasks/{ward.task('ann', 'see').ref.partition('/')[2]}").words


def test_a_summary_in_another_patients_record_that_names_this_stay_is_told_on_both_pages(
    reader: Reader, ward: Clinic, now: datetime
) -> None:
    ward.patient("ben", now - 40 * DAY)
    (stay,) = [one["id"] for one in ward.stored("Encounter")]
    summary = {
        "resourceType": "DocumentReference",
        "id": "bens",
        "status": "current",
        "type": {"coding": [{"system": "urn:l", "code": "sum"}]},
        "subject": {"reference": "Patient/ben"},
        "date": (now - DAY).isoformat(),
        "content": [{"attachment": {"title": "Not for these eyes"}}],
        "context": {"encounter": [{"reference": f"Encounter/{stay}"}]},
    }
    pages = ("/patients/ann", f"/tasks/{ward.task('ann', 'see').ref.partition('/')[2]}")
    for page in pages:
        assert "DocumentReference/bens" not in reader.get(page).words
    ward.put(summary, now - DAY)
    for page in pages:
        words = reader.get(page).words
        assert f"DocumentReference/bens names Encounter/{stay} and was filed in the record of Patient/ben" in words
        assert "Not for these eyes" not in words


def test_what_could_not_be_sent_is_on_the_operations_page(reader: Reader, ward: Clinic, now: datetime) -> None:
    assert "mails or webhook calls" not in reader.get("/operations").words
    whom = Untold(channel="email", role="rn", person=None, oldest=now)
    with ward.database.begin() as tx:
        dispatches.add(tx, whom, ["1"], address="", at=now, reason="no address")
        dispatches.add(tx, whom, ["2"], address="nurse@clinic.example", at=now)
        held = dispatches.claim(tx, "email", now, timedelta(minutes=1))
        assert held is not None
        dispatches.failed(tx, held, "refused", None, now)
    page = reader.get("/operations").words
    assert "1 mails or webhook calls were refused for good (fhir-tracker notifications list)." in page
    assert "1 mails or webhook calls have no address to go to" in page
    assert "nurse@clinic.example" not in page
