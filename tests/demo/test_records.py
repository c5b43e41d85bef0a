"""The demo's data file: enough patients, sound FHIR, dated from the day it is loaded."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from api.demo.people import people
from api.demo.records import RESTRICTED, ZONE, load, moment, source
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.references import walk_references
from fhir_tracker.roles import built_in

NOW = datetime(2026, 3, 11, 15, 4, 9, tzinfo=UTC)
HTEST = "http://terminology.hl7.org/CodeSystem/v3-ActReason|HTEST"


def test_at_least_sixty_patients_come_with_everything_a_practice_has() -> None:
    count = Counter(resource["resourceType"] for resource in load(NOW).resources)
    assert count["Patient"] >= 60
    assert {"CarePlan", "Encounter", "Condition", "Practitioner", "Appointment", "DocumentReference"} <= set(count)


def test_every_record_is_valid_fhir_and_marked_as_test_data() -> None:
    for resource in load(NOW).resources:
        assert check(resource) == (), resource["id"]
        assert HTEST in [f"{tag['system']}|{tag['code']}" for tag in resource["meta"]["tag"]]


def test_one_patient_whom_the_day_does_not_need_is_restricted() -> None:
    records = load(NOW)
    shut = [one for one in records.resources if one["meta"].get("security")]
    assert [(one["resourceType"], one["id"]) for one in shut] == [("Patient", RESTRICTED)]
    assert [one["code"] for one in shut[0]["meta"]["security"]] == ["R"]
    assert RESTRICTED not in records.cast.values()


def test_every_reference_leads_to_a_record_that_is_there() -> None:
    resources = load(NOW).resources
    present = {f"{resource['resourceType']}/{resource['id']}" for resource in resources}
    assert len(present) == len(resources)
    for resource in resources:
        for _, holder in walk_references(resource):
            assert holder["reference"] in present


def test_no_number_of_a_document_or_digit_in_a_name_is_left() -> None:
    text = json.dumps(source())
    assert "us-ssn" not in text
    for resource in load(NOW).resources:
        if resource["resourceType"] == "Patient":
            assert not any(character.isdigit() for character in json.dumps(resource["name"]))


def test_at_least_twenty_patients_left_hospital_in_the_last_days_whatever_the_day() -> None:
    for now in (NOW + timedelta(days=n) for n in range(7)):
        stays = [r for r in load(now).resources if r["resourceType"] == "Encounter" and r["class"]["code"] == "IMP"]
        ends = [datetime.fromisoformat(r["period"]["end"]) for r in stays if r["status"] == "finished"]
        recent = [end for end in ends if now - timedelta(days=12) < end]
        assert len(recent) >= 20
        assert max(recent) <= now


def test_nothing_that_has_happened_lies_in_the_future() -> None:
    for resource in load(NOW).resources:
        if resource["resourceType"] == "Appointment" and resource["status"] in {"fulfilled", "noshow"}:
            assert datetime.fromisoformat(resource["end"]) < NOW
        if resource["resourceType"] == "DocumentReference":
            assert datetime.fromisoformat(resource["date"]) < NOW


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        ("@-90m", "2026-03-11T09:30:00-04:00"),
        ("@-3T09:30", "2026-03-08T09:30:00-04:00"),
        ("@-4T09:30:15", "2026-03-07T09:30:15-05:00"),
        ("@-3bT09:30", "2026-03-06T09:30:00-05:00"),
        ("@+3bT10:00", "2026-03-16T10:00:00-04:00"),
        ("@-10", "2026-03-01"),
        ("@home", "@home"),
    ],
)
def test_an_offset_becomes_a_moment_in_the_practices_zone(offset: str, expected: str) -> None:
    assert moment(offset, NOW.astimezone(ZONE)) == expected


def test_there_is_somebody_of_every_role_by_the_trackers_own_references() -> None:
    assert {person.role for person in people()} == set(built_in())
    practitioners = {r["id"] for r in load(NOW).resources if r["resourceType"] == "Practitioner"}
    assert {person.ref.removeprefix("Practitioner/demo-ehr-") for person in people()} <= practitioners
    assert people()[0].viewer().roles == frozenset({people()[0].role})


def test_the_cast_of_the_day_is_among_the_patients() -> None:
    records = load(NOW)
    patients = {r["id"] for r in records.resources if r["resourceType"] == "Patient"}
    assert set(records.cast.values()) <= patients
    assert len(set(records.cast.values())) == len(records.cast)
