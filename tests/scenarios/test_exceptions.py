"""Exceptions of a plan, from what the EHR or a person writes to work that is made, and closed by itself where it can be."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.vocabulary import EXCEPTIONS, FLAG_SYSTEM
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, NURSE, Clinic, appointment, encounter

DAY = timedelta(days=1)
ANN = {"reference": "Patient/ann"}
LOINC = "http://loinc.org"
PROGRAM = """
program: exceptions
eligible: {any: [{Encounter: {status: finished, class: IMP, within: 30 days}}]}
services: {visit: ["http://example.org/service|visit"]}
statuses:
  - {code: to-do, is: requested, means: Not yet done}
  - {code: done, is: completed, means: Done}
tasks:
  - {code: first-call, role: rn}
  - {code: call-payer, role: front-desk, on: rule, due: {after: created, within: 1 day}}
  - {code: appeal, role: provider, on: rule, due: {after: created, within: 5 days}}
  - {code: close-plan, role: rn, on: rule, due: {after: created, within: 1 day}}
  - {code: ask-why, role: rn, on: rule, due: {after: created, within: 2 days}, done_by: {appointment: booked, service: visit}}
  - {code: pressure, role: rn, on: rule, due: {after: created, within: 1 day}}
  - {code: chase, role: rn, on: rule, due: {after: created, within: 1 day}}
  - {code: marked, role: rn, on: rule, due: {after: created, within: 1 day}}
rules:
  - {id: payer-silent, when: {authorization: {is: pending, for: 5 days}}, do: {create_task: call-payer}}
  - {id: payer-denied, when: {authorization: denied}, do: {create_task: appeal}}
  - {id: gone, when: {patient: [deceased, moved, merged, inactive]}, do: {create_task: close-plan}}
  - {id: no-shows, when: {no_show_chain: {service: visit, times: 2}}, do: {create_task: ask-why}}
  - id: high
    when: {observation: {code: "http://loinc.org|85354-9", component: "http://loinc.org|8480-6", above: "160 mm[Hg]", times: 2}}
    do: {create_task: pressure}
  - id: silent
    when: {monitoring_incomplete: {Observation: {code: "http://loinc.org|85354-9"}, at_least: 3, every: 7 days}}
    do: {raise_flag: monitoring-incomplete}
  - id: lab
    when:
      absent:
        expect: {Observation: {code: "http://loinc.org|4548-4"}}
        after: {ServiceRequest: {code: "http://loinc.org|4548-4"}}
        within: 7 days
    do: {create_task: chase}
  - id: by-hand
    when: {exception: [EVERY]}
    do: {create_task: marked}
""".replace("EVERY", ", ".join(code for code in EXCEPTIONS if code != "monitoring-incomplete"))


@pytest.fixture
def clinic(database: Database) -> Clinic:
    clinic = Clinic(database, PROGRAM)
    clinic.patient("ann")
    clinic.put(encounter("ann", MONDAY, id_="stay"), MONDAY)
    clinic.enrol(MONDAY)
    clinic.sweep(MONDAY)
    return clinic


def made(clinic: Clinic, code: str) -> list[str]:
    """The status of each task of that kind."""
    return [one.fhir_status for one in clinic.items("ann") if one.code == code]


def wakes(clinic: Clinic) -> datetime:
    """When the plan is next looked at."""
    plan = next(one for one in clinic.items("ann") if one.kind == "plan")
    assert plan.next_action_at is not None
    return plan.next_action_at


def answer(outcome: str, at: datetime, **members: Any) -> dict[str, Any]:
    base = {"resourceType": "ClaimResponse", "id": "c", "status": "active", "patient": ANN, "use": "preauthorization"}
    return base | {"outcome": outcome, "created": instant(at), "request": {"reference": "Claim/1"}} | members


def pressure(id_: str, at: datetime, systolic: str, unit: str = "mm[Hg]") -> dict[str, Any]:
    part = {
        "code": {"coding": [{"system": LOINC, "code": "8480-6"}]},
        "valueQuantity": {"value": Decimal(systolic), "code": unit, "system": "http://unitsofmeasure.org"},
    }
    code = {"coding": [{"system": LOINC, "code": "85354-9"}]}
    base = {"resourceType": "Observation", "id": id_, "status": "final", "subject": ANN, "code": code}
    return base | {"effectiveDateTime": instant(at), "component": [part]}


def test_a_payer_who_is_silent_is_called_on_the_day_and_one_who_denies_is_answered(clinic: Clinic) -> None:
    clinic.put(answer("queued", MONDAY), MONDAY)
    clinic.sweep(MONDAY)
    assert wakes(clinic) == MONDAY + 5 * DAY
    clinic.sweep(MONDAY + 5 * DAY)
    assert made(clinic, "call-payer") == ["requested"]
    clinic.put(answer("complete", MONDAY + 6 * DAY, disposition="Denied"), MONDAY + 6 * DAY)
    clinic.sweep(MONDAY + 6 * DAY)
    clinic.sweep(MONDAY + 30 * DAY)
    assert (made(clinic, "call-payer"), made(clinic, "appeal")) == (["requested"], ["requested"])


@pytest.mark.parametrize(
    "members",
    [
        {"deceasedDateTime": instant(MONDAY)},
        {"deceasedBoolean": True},
        {"active": False},
        {"link": [{"type": "replaced-by", "other": {"reference": "Patient/anna"}}]},
        {
            "address": [
                {"use": "old", "state": "NY", "postalCode": "12203"},
                {"use": "home", "state": "ID", "postalCode": "83702", "period": {"start": instant(MONDAY + DAY)}},
            ]
        },
    ],
    ids=["died", "dead", "inactive", "merged", "moved"],
)
def test_what_the_record_says_of_the_patient_is_acted_on_when_it_arrives(
    clinic: Clinic, members: dict[str, Any]
) -> None:
    assert made(clinic, "close-plan") == []
    clinic.put({"resourceType": "Patient", "id": "ann", "name": [{"family": "Synthetic"}], **members}, MONDAY + 2 * DAY)
    clinic.sweep(MONDAY + 2 * DAY)
    clinic.sweep(MONDAY + 3 * DAY)
    assert made(clinic, "close-plan") == ["requested"]


def test_a_chain_of_no_shows_is_one_piece_of_work_which_the_next_booking_closes(clinic: Clinic) -> None:
    for number in (1, 2, 3):
        at = MONDAY + number * 2 * DAY
        clinic.put(appointment("ann", at, id_=f"a{number}", status="noshow"), at + timedelta(hours=1))
        clinic.sweep(at + timedelta(hours=1))
        assert made(clinic, "ask-why") == ([] if number == 1 else ["requested"])
    clinic.put(appointment("ann", MONDAY + 20 * DAY, id_="a4", status="booked"), MONDAY + 8 * DAY)
    clinic.sweep(MONDAY + 8 * DAY)
    assert made(clinic, "ask-why") == ["completed"]


def test_readings_count_by_their_value_in_whatever_unit_and_too_few_are_flagged(clinic: Clinic) -> None:
    for number, (systolic, unit) in enumerate((("170", "mm[Hg]"), ("120.0", "mm[Hg]"), ("165", "mm[Hg]"))):
        clinic.put(pressure(f"o{number}", MONDAY + number * DAY, systolic, unit), MONDAY + number * DAY)
    clinic.sweep(MONDAY + 3 * DAY)
    assert made(clinic, "pressure") == []
    clinic.put(pressure("o3", MONDAY + 3 * DAY, "22.5", "kPa"), MONDAY + 3 * DAY)
    clinic.sweep(MONDAY + 3 * DAY)
    assert made(clinic, "pressure") == ["requested"]
    clinic.sweep(MONDAY + 8 * DAY)
    assert clinic.stored("Flag") == []
    clinic.sweep(MONDAY + 15 * DAY)
    assert [one["code"]["coding"][0]["code"] for one in clinic.stored("Flag")] == ["monitoring-incomplete"]


def test_each_order_without_its_result_is_chased_once(clinic: Clinic) -> None:
    code = {"coding": [{"system": LOINC, "code": "4548-4"}]}
    for name, at in (("one", MONDAY), ("two", MONDAY + DAY)):
        order = {"resourceType": "ServiceRequest", "id": name, "status": "active", "intent": "order", "subject": ANN}
        clinic.put({**order, "code": code, "authoredOn": instant(at)}, at)
    result = {"resourceType": "Observation", "id": "r", "status": "final", "subject": ANN, "code": code}
    filed = {"effectiveDateTime": instant(MONDAY + 2 * DAY), "basedOn": [{"reference": "ServiceRequest/two"}]}
    clinic.put({**result, **filed}, MONDAY + 2 * DAY)
    for day in (6, 7, 8, 9):
        clinic.sweep(MONDAY + day * DAY)
    assert made(clinic, "chase") == ["requested"]
    assert clinic.task("ann", "chase").focus == "ServiceRequest/one"


def test_any_exception_that_a_person_marks_is_acted_on_once(clinic: Clinic) -> None:
    codes = [one for one in EXCEPTIONS if one != "monitoring-incomplete"]
    for code in codes:
        coding = {"system": FLAG_SYSTEM, "code": code, "display": EXCEPTIONS[code]}
        flag = {"resourceType": "Flag", "id": code, "status": "active", "subject": ANN, "code": {"coding": [coding]}}
        clinic.put(flag, MONDAY + DAY, NURSE)
    clinic.sweep(MONDAY + DAY)
    clinic.sweep(MONDAY + 2 * DAY)
    about = sorted(one.focus or "" for one in clinic.items("ann") if one.code == "marked")
    assert about == sorted(f"Flag/{code}" for code in codes)
