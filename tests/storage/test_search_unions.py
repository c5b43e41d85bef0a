"""Observations are found by what they and their components say alike, whose values are indexed under each alone."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_tracker.storage.database import Database
from tests.storage.samples import found, put_all, walk

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"


def coded(code: str) -> dict[str, Any]:
    return {"coding": [{"system": LOINC, "code": code}]}


def amount(value: float) -> dict[str, Any]:
    return {"value": value, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"}


def observation(id_: str, **members: object) -> dict[str, Any]:
    """An Observation of nobody; the data is synthetic."""
    return {"resourceType": "Observation", "id": id_, "status": "final", **members}


SAMPLES = (
    observation("whole", code=coded("pressure"), valueQuantity=amount(120)),
    observation(
        "parts",
        code=coded("panel"),
        component=[
            {"code": coded("pressure"), "valueQuantity": amount(80)},
            {"code": coded("posture"), "valueCodeableConcept": coded("sitting")},
        ],
    ),
    observation("coded", code=coded("posture"), valueCodeableConcept=coded("sitting")),
    observation("absent", code=coded("other"), dataAbsentReason=coded("unknown")),
)


@pytest.mark.requirement(21, 22)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("combo-code=pressure", ["parts", "whole"]),
        (f"combo-code={LOINC}|panel,other", ["absent", "parts"]),
        ("combo-code:not=posture", ["absent", "whole"]),
        ("combo-code=pressure&combo-code=panel", ["parts"]),
        ("combo-value-quantity=gt70", ["parts", "whole"]),
        (f"combo-value-quantity=lt100|{UCUM}|mm[Hg]", ["parts"]),
        ("combo-value-quantity:missing=true", ["absent", "coded"]),
        ("combo-value-concept=sitting", ["coded", "parts"]),
        ("combo-data-absent-reason:missing=false", ["absent"]),
        (f"combo-code-value-quantity={LOINC}|pressure$gt100", ["whole"]),
        ("combo-code-value-quantity=pressure$80||mmHg,pressure$120", ["parts", "whole"]),
        ("combo-code-value-quantity=panel$80", []),
        ("combo-code-value-concept=posture$sitting", ["coded", "parts"]),
        ("combo-code-value-concept:missing=true", ["absent", "whole"]),
        ("component-code=pressure", ["parts"]),
        ("code=pressure&combo-value-quantity=80,120", ["whole"]),
    ],
)
def test_a_combination_finds_the_whole_and_its_components(database: Database, text: str, expected: list[str]) -> None:
    put_all(database, SAMPLES)
    assert found(database, "Observation", text) == expected


def test_they_are_sorted_by_the_values_of_both(database: Database) -> None:
    put_all(database, SAMPLES)
    for order, expected in (("", ["parts", "whole"]), ("-", ["whole", "parts"])):
        matches = walk(database, "Observation", f"combo-value-quantity:missing=false&_sort={order}combo-value-quantity")
        assert [one.id for one in matches] == expected
