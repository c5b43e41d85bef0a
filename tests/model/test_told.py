"""What of work and patients comes from elements that a role may not see."""

from __future__ import annotations

import pytest

from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.patient import PatientSummary
from fhir_tracker.model.policy import Policy
from fhir_tracker.model.sight import EVERYTHING, Sight, sight_of
from fhir_tracker.model.told import may_be_description, shown_summary, tells_names
from tests.storage.samples import item

ANN = PatientSummary(
    patient="ann", name="Ann Ash", birth_date="1950-01-01", gender="female", mrn="77", phone="555", language="es",
    flags=("fall",), zone="America/New_York",
)  # fmt: skip


def hiding(type_: str, *paths: str, grants: str = "user/*.rs") -> Sight:
    policy = Policy(grants=grants_of([grants]), hidden={type_: frozenset(paths)} if paths else {}, restricted=True)
    return sight_of(None, policy, None)


@pytest.mark.security("A3")
@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("telecom", {"phone": None}), ("telecom.value", {"phone": None}), ("birthDate", {"birth_date": None}),
        ("identifier", {"mrn": None}), ("gender", {"gender": None}), ("communication", {"language": None}),
        ("address", {"zone": None}), ("name", {"name": "ann"}), ("name.given", {"name": "ann"}), ("photo", {}),
    ],
)  # fmt: skip
def test_a_summary_lacks_what_comes_from_hidden_elements(path: str, gone: dict[str, object]) -> None:
    assert vars(shown_summary(ANN, hiding("Patient", path))) == vars(ANN) | gone


@pytest.mark.security("A3")
def test_flags_are_told_to_those_who_may_read_them() -> None:
    assert shown_summary(ANN, hiding("Task", grants="user/Patient.rs")).flags == ()
    assert shown_summary(ANN, hiding("Flag", "code")).flags == ()
    assert shown_summary(ANN, hiding("Flag")).flags == ("fall",)
    assert shown_summary(ANN, EVERYTHING) is ANN


@pytest.mark.security("A3")
def test_a_title_that_comes_from_a_hidden_description_is_not_told() -> None:
    bare, coded = item("Task/a", title="She has a lump", code=""), item("Task/b", title="First call", code="call")
    desk = hiding("Task", "description")
    assert [may_be_description(one, desk) for one in (bare, coded)] == [True, False]
    assert not may_be_description(bare, hiding("Task", "note"))
    assert not may_be_description(bare, EVERYTHING)


@pytest.mark.security("A3")
def test_patients_are_not_looked_for_by_what_is_hidden() -> None:
    assert not tells_names(hiding("Patient", "name"))
    assert not tells_names(hiding("Patient", "identifier"))
    assert tells_names(hiding("Patient", "telecom"))
