"""What queues and banners show of a patient."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_tracker.model.patient import name_of, record_number, summary_of


def test_the_summary_names_what_a_banner_shows() -> None:
    body: dict[str, Any] = {
        "resourceType": "Patient",
        "id": "ann",
        "name": [
            {"use": "nickname", "text": "Annie"},
            {"use": "official", "given": ["Ann", "B"], "family": "Synthetic"},
        ],
        "birthDate": "1950-02",
        "gender": "female",
        "identifier": [{"value": "9"}, {"type": {"coding": [{"code": "MR"}]}, "value": "42"}],
        "telecom": [
            {"system": "phone", "use": "old", "value": "1"},
            {"system": "email", "value": "a@example.org"},
            {"system": "phone", "value": "555-0100"},
        ],
        "communication": [{"language": {"text": "Spanish"}}],
    }
    found = summary_of(body, "ehr")
    assert (found.name, found.birth_date, found.gender, found.mrn) == ("Ann B Synthetic", "1950-02", "female", "42")
    assert (found.phone, found.language, found.deceased, found.connection) == ("555-0100", "Spanish", False, "ehr")


@pytest.mark.parametrize(
    ("members", "deceased"),
    [
        ({"deceasedBoolean": True}, True),
        ({"deceasedDateTime": "2026"}, True),
        ({"deceasedBoolean": False}, False),
        ({"deceasedBoolean": "true"}, False),
        ({}, False),
    ],
)
def test_death_is_told_either_way(members: dict[str, Any], deceased: bool) -> None:
    assert summary_of({"resourceType": "Patient", "id": "x"} | members, None).deceased is deceased


def test_a_nameless_patient_is_shown_by_the_id() -> None:
    assert summary_of({"resourceType": "Patient", "id": "x"}, None).name == "x"


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([{"text": "Only text"}], "Only text"),
        ([{"family": "F"}], "F"),
        ([{"given": ["G", 7, None]}], "G"),
        ([{"given": "G", "family": ["F"]}], ""),
        ("nonsense", ""),
        ([], ""),
    ],
)
def test_names_of_any_shape_can_be_shown(names: object, shown: str) -> None:
    assert name_of({"resourceType": "Patient", "name": names}) == shown


def test_without_a_record_number_the_first_identifier_serves() -> None:
    assert record_number({"identifier": [{"system": "s"}, {"value": "7"}]}) == "7"
    assert record_number({"identifier": "x"}) is None
