"""An Observation that claims one of R4's own profiles of vital signs keeps to it.

https://hl7.org/fhir/R4/observation-vitalsigns.html
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.profiles.tables import find_vital_sign, vital_signs

R4 = "http://hl7.org/fhir/StructureDefinition/"
WEIGHT: Resource = {
    "resourceType": "Observation",
    "meta": {"profile": [f"{R4}bodyweight"]},
    "status": "final",
    "category": [
        {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}
    ],
    "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
    "subject": {"reference": "Patient/synthetic"},
    "effectiveDateTime": "2026-01-31",
    "valueQuantity": {"value": 70, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
}
EXAMPLES = Path(__file__).parents[2] / "fixtures" / "r4-examples"


def found(resource: Resource) -> list[tuple[str | None, str]]:
    return [(issue.expression, issue.code) for issue in check(resource, warnings=True) if issue.severity == "error"]


def test_a_broken_claim_is_judged_and_does_not_refuse_a_write() -> None:
    broken = changed("subject", None)
    assert found(broken) == [("Observation.subject", "required")]
    assert check(broken) == ()


def changed(name: str, value: Json) -> Resource:
    resource: Resource = copy.deepcopy(WEIGHT) | {name: value}
    return {key: one for key, one in resource.items() if one is not None}


def test_a_right_weight_has_no_issue() -> None:
    assert found(WEIGHT) == []


@pytest.mark.parametrize(
    ("name", "value", "place", "code"),
    [
        ("subject", None, "Observation.subject", "required"),
        ("category", None, "Observation.category", "required"),
        ("effectiveDateTime", None, "Observation.effective", "required"),
        ("effectiveDateTime", "2026-01", "Observation.effective", "invariant"),
        ("valueQuantity", None, "Observation", "invariant"),
        ("code", {"coding": [{"system": "http://loinc.org", "code": "718-7"}]}, "Observation.code.coding", "required"),
    ],
)
def test_what_the_profile_asks_is_missed_where_it_is_not(name: str, value: Json, place: str, code: str) -> None:
    assert (place, code) in found(changed(name, value))


def test_a_weight_has_a_unit_of_weight() -> None:
    other = {**WEIGHT["valueQuantity"], "code": "cm"}
    assert found(changed("valueQuantity", other)) == [("Observation.valueQuantity.code", "code-invalid")]


def test_without_the_claim_nothing_of_the_profile_is_asked() -> None:
    assert found({key: one for key, one in WEIGHT.items() if key not in ("meta", "subject", "category")}) == []


def test_in_a_bundle_the_place_is_within_the_bundle() -> None:
    entry: Resource = {
        "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000001",
        "resource": changed("subject", None),
    }
    bundle: Resource = {"resourceType": "Bundle", "type": "collection", "entry": [entry]}
    assert found(bundle) == [("Bundle.entry[0].resource.subject", "required")]


def test_every_profile_is_read_and_known_by_its_version() -> None:
    assert len(vital_signs()) == 11
    assert find_vital_sign(f"{R4}bp|4.0.1") is find_vital_sign(f"{R4}bp")
    assert find_vital_sign(f"{R4}bp|5.0.0") is None


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("Observation-*.json")), ids=lambda path: path.stem)
def test_an_official_example_keeps_to_what_it_claims(path: Path) -> None:
    assert found(read_resource(path.read_bytes())) == []
