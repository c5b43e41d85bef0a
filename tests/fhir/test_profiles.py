"""What US Core asks of care plans, care teams, goals and patients, one change of a right resource at a time.

https://hl7.org/fhir/us/core/STU6.1/profiles-and-extensions.html
"""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest

from fhir_tracker.errors import TrackerError
from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.definitions.code_systems import is_unknown_code
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.profiles.conformance import MOST_ISSUES, check_profile
from fhir_tracker.fhir.profiles.tables import find_profile, profiles
from tests.agreement.mutations import mutants

EXAMPLES = Path(__file__).parents[2] / "fixtures" / "us-core" / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.json"))
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
WHY = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
RACE = "Patient.extension[0]"


def example(name: str) -> Resource:
    return read_resource((EXAMPLES / f"{name}.json").read_bytes())


def found(resource: Resource) -> list[tuple[str | None, str]]:
    profile = find_profile(f"{US_CORE}{str(resource['resourceType']).lower()}")
    assert profile is not None
    return [(one.expression, one.code) for one in check_profile(resource, profile)]


def changed(name: str, path: str, value: Any) -> Resource:
    """The example with another value at a path of names and indexes; None takes it away."""
    resource = copy.deepcopy(example(name))
    *steps, last = (int(one) if one.isdigit() else one for one in path.split("/"))
    holder: Any = resource
    for step in steps:
        holder = holder[step]
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return resource


@pytest.mark.requirement(119, 120)
@pytest.mark.parametrize("name", NAMES)
def test_a_published_example_keeps_to_its_profile(name: str) -> None:
    assert found(example(name)) == []


PLAN, TEAM, GOAL, PATIENT = "CarePlan-colonoscopy", "CareTeam-example", "Goal-goal-1", "Patient-example"
CODING = {"system": "http://example.org/x", "code": "x"}
CHANGES: list[tuple[str, str, Any, list[tuple[str, str]]]] = [
    (PLAN, "category", None, [("CarePlan.category", "required"), ("CarePlan.category", "required")]),
    (PLAN, "category", [{"coding": [CODING]}], [("CarePlan.category", "required")]),
    (PLAN, "text/status", "extensions", [("CarePlan.text.status", "code-invalid")]),
    (PLAN, "subject", {"reference": "Group/1"}, [("CarePlan.subject.reference", "structure")]),
    (TEAM, "subject", None, [("CareTeam.subject", "required")]),
    (TEAM, "participant", None, [("CareTeam.participant", "required")]),
    (TEAM, "participant/0/role", None, [("CareTeam.participant[0].role", "required")]),
    (TEAM, "participant/0/role", [{"text": "x"}, {"text": "y"}], [("CareTeam.participant[0].role", "structure")]),
    (TEAM, "participant/0/member", None, [("CareTeam.participant[0].member", "required")]),
    (GOAL, "subject", {"reference": "Organization/1"}, [("Goal.subject.reference", "structure")]),
    (GOAL, "subject", {"display": "somebody"}, []),
    (PATIENT, "identifier", None, [("Patient.identifier", "required")]),
    (PATIENT, "identifier/0/system", None, [("Patient.identifier[0].system", "required")]),
    (PATIENT, "identifier/0/value", None, [("Patient.identifier[0].value", "required")]),
    (PATIENT, "name", None, [("Patient.name", "required")]),
    (PATIENT, "name", [{"text": "x"}], [("Patient.name[0]", "invariant")]),
    (PATIENT, "name", [{"extension": [WHY]}], []),
    (PATIENT, "name", [{"family": "x", "extension": [WHY]}], [("Patient.name[0]", "invariant")]),
    (PATIENT, "telecom", [{"system": "phone"}], [("Patient.telecom[0].value", "required")]),
    (PATIENT, "telecom", [{"value": "5"}], [("Patient.telecom[0].system", "required")]),
    (PATIENT, "gender", None, [("Patient.gender", "required")]),
    (PATIENT, "_gender", {"extension": [WHY]}, []),
    (PATIENT, "address/0/state", "Massachusetts", [("Patient.address[0].state", "code-invalid")]),
    (PATIENT, "extension/0/extension/0/valueCoding/code", "0000-0", [(f"{RACE}.extension[0].value", "code-invalid")]),
    (PATIENT, "extension/0/extension", [], [(f"{RACE}.extension", "required"), (f"{RACE}.extension", "required")]),
    (PATIENT, "extension/0/valueString", "x", [(f"{RACE}.value", "structure")]),
]


@pytest.mark.parametrize(("name", "path", "value", "expected"), CHANGES)
def test_a_change_is_found_in_its_place(name: str, path: str, value: Any, expected: list[tuple[str, str]]) -> None:
    assert found(changed(name, path, value)) == expected


def test_an_extension_that_the_profile_allows_once_is_not_given_twice() -> None:
    patient = example(PATIENT)
    patient["extension"] = [*patient["extension"], patient["extension"][0]]
    assert found(patient) == [("Patient.extension", "structure")]


def test_a_profile_is_found_with_its_version_or_without_and_never_with_another() -> None:
    assert sorted(one.type for one in profiles().values()) == ["CarePlan", "CareTeam", "Goal", "Patient"]
    assert find_profile(f"{US_CORE}goal") == find_profile(f"{US_CORE}goal|6.1.0")
    assert find_profile(f"{US_CORE}goal|3.1.1") is None
    assert find_profile("") is None


def test_another_type_is_one_issue_without_a_place() -> None:
    profile = find_profile(f"{US_CORE}goal")
    assert profile is not None
    (issue,) = check_profile(example(PLAN), profile)
    assert (issue.expression, issue.code) == (None, "structure")


@pytest.mark.parametrize("name", NAMES)
def test_no_change_makes_the_check_fail(name: str) -> None:
    for case in mutants(name, example(name), 150, random.Random(name)):
        try:
            resource = read_resource(case.text.encode())
        except TrackerError:
            continue
        if resource["resourceType"] == case.type:
            assert len(found(resource)) <= MOST_ISSUES


def test_a_code_is_unknown_only_in_a_system_that_r4_lists_completely() -> None:
    status, old_table = "http://hl7.org/fhir/task-status", "http://terminology.hl7.org/CodeSystem/v2-0203"
    assert [is_unknown_code(status, one) for one in ("draft", "Draft", "x", "")] == [False, True, True, True]
    assert [is_unknown_code(old_table, one) for one in ("MR", "mr", "x")] == [False, False, True]
    assert not is_unknown_code("http://loinc.org", "nonsense")
