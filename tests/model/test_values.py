"""What Observations say: kept as text, compared across units, with comparators, codes, components and nonsense."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.model.values import (
    Quantity,
    ValueTest,
    canonical_unit,
    compare,
    parse_quantity,
    passes,
    said,
    value_detail,
)

LOINC = "http://loinc.org"
SYSTOLIC = f"{LOINC}|8480-6"


def quantity(value: object, unit: str = "mm[Hg]", **more: object) -> dict[str, Any]:
    return {"valueQuantity": {"value": value, "code": unit, "system": "http://unitsofmeasure.org", **more}}


def coded(*codes: str) -> dict[str, Any]:
    return {"coding": [{"system": LOINC, "code": code} for code in codes]}


PRESSURE = {
    "component": [
        {"code": coded("8480-6"), **quantity(Decimal("152.0"))},
        {"code": coded("8462-4"), **quantity(88), "interpretation": [coded("H")]},
    ]
}


def test_a_value_keeps_its_digits_and_its_unit() -> None:
    assert value_detail(quantity(Decimal("7.10"), "%")) == {"value": "7.10 %"}
    assert value_detail({"valueInteger": 12}) == {"value": "12"}
    assert value_detail({"valueQuantity": {"value": 150, "unit": "mmHg"}}) == {"value": "150 mm[Hg]"}
    assert value_detail(quantity(5, "mg/dL", comparator="<")) == {"value": "<5 mg/dL"}


def test_components_codes_and_interpretations_are_kept_too() -> None:
    assert value_detail(PRESSURE) == {
        f"component {SYSTOLIC} value": "152.0 mm[Hg]",
        f"component {LOINC}|8462-4 value": "88 mm[Hg]",
        f"component {LOINC}|8462-4 interpretation": f"{LOINC}|H",
    }
    held = {"valueCodeableConcept": coded("LA6576-8"), "interpretation": [coded("POS"), coded("A")]}
    assert value_detail(held) == {
        "value-codes": f"{LOINC}|LA6576-8",
        "interpretation": f"{LOINC}|POS\n{LOINC}|A",
    }
    assert value_detail({"valueBoolean": True}) == {"value-codes": "true"}


@pytest.mark.parametrize(
    ("test", "detail", "holds"),
    [
        (ValueTest(above=parse_quantity("150 mm[Hg]")), {"value": "150 mm[Hg]"}, False),
        (ValueTest(at_least=parse_quantity("150 mm[Hg]")), {"value": "150 mm[Hg]"}, True),
        (ValueTest(above=parse_quantity("150 mm[Hg]")), {"value": "20.1 kPa"}, True),
        (ValueTest(below=parse_quantity("90 mm[Hg]")), {"value": "80 mm[Hg]"}, True),
        (ValueTest(at_most=parse_quantity("90")), {"value": "90 mm[Hg]"}, True),
        (ValueTest(above=parse_quantity("9 %")), {"value": "0.1 1"}, True),
        (ValueTest(above=parse_quantity("9 %")), {"value": "75 mmol/mol"}, False),
        (ValueTest(above=parse_quantity("9 %")), {"value": "10"}, False),
        (ValueTest(above=parse_quantity("9 %")), {}, False),
        (ValueTest(above=parse_quantity("100 [lb_av]")), {"value": "46 kg"}, True),
        (ValueTest(at_least=parse_quantity("100.4 [degF]")), {"value": "38.0 Cel"}, True),
        (ValueTest(above=parse_quantity("100.4 [degF]")), {"value": "38.0 Cel"}, False),
        (ValueTest(below=parse_quantity("5 mg/dL")), {"value": "<5 mg/dL"}, True),
        (ValueTest(below=parse_quantity("4 mg/dL")), {"value": "<5 mg/dL"}, False),
        (ValueTest(above=parse_quantity("4 mg/dL")), {"value": "<5 mg/dL"}, False),
        (ValueTest(above=parse_quantity("400 mg/dL")), {"value": ">400 mg/dL"}, True),
        (ValueTest(above=parse_quantity("400 mg/dL")), {"value": ">=400 mg/dL"}, False),
        (ValueTest(below=parse_quantity("500 mg/dL")), {"value": ">400 mg/dL"}, False),
        (ValueTest(codes=("POS",)), {"value-codes": "urn:x|POS\nurn:y|1"}, True),
        (ValueTest(codes=("urn:z|POS",)), {"value-codes": "urn:x|POS"}, False),
        (ValueTest(interpretation=("H", "HH")), {"interpretation": "urn:x|HH"}, True),
        (ValueTest(interpretation=("H",), above=parse_quantity("1")), {"interpretation": "urn:x|H"}, False),
        (ValueTest(component=("8480-6",), above=parse_quantity("150 mm[Hg]")), value_detail(PRESSURE), True),
        (ValueTest(component=(SYSTOLIC,), above=parse_quantity("155 mm[Hg]")), value_detail(PRESSURE), False),
        (ValueTest(component=("8462-4",), above=parse_quantity("80 mm[Hg]")), value_detail(PRESSURE), True),
        (ValueTest(component=("other",), above=parse_quantity("1")), value_detail(PRESSURE), False),
    ],
)
def test_every_given_part_must_fit(test: ValueTest, detail: dict[str, str], holds: bool) -> None:
    assert passes(test, detail) is holds


def test_what_was_said_is_told_of_the_parts_that_are_looked_at() -> None:
    assert said(ValueTest(), {"value": "7 %"}) == "7 %"
    assert said(ValueTest(component=("8480-6", "8462-4")), value_detail(PRESSURE)) == "88 mm[Hg] / 152.0 mm[Hg]"
    assert said(ValueTest(component=("8480-6",)), {"value": "7 %"}) == ""


@pytest.mark.parametrize("text", ["", "high", "9  mm hg x", "9,5 %", "1e9 %", "--1", "9999999999999 %"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a value"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "unit"), [("mmHg", "mm[Hg]"), ("LBS", "[lb_av]"), ("mg/dL", "mg/dL"), ("MG/DL", "mg/dL"), ("odd", "odd")]
)
def test_units_in_words_are_understood(text: str, unit: str) -> None:
    assert canonical_unit(text) == unit


@given(
    number=st.decimals(min_value=-1000, max_value=1000, places=3),
    pair=st.sampled_from((("kg", "[lb_av]"), ("mm[Hg]", "kPa"), ("mg/dL", "g/L"), ("Cel", "[degF]"), ("cm", "[in_i]"))),
)
@settings(max_examples=60, deadline=None)
def test_comparing_is_the_same_from_either_side(number: Decimal, pair: tuple[str, str]) -> None:
    one, other = Quantity(number=number, unit=pair[0]), Quantity(number=number, unit=pair[1])
    there, back = compare(one, other), compare(other, one)
    assert there is not None
    assert back == -there


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.decimals() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("value code unit comparator coding system interpretation".split()), inner)
    ),
    max_leaves=10,
)
NAMES = "valueQuantity valueInteger valueCodeableConcept valueBoolean interpretation component code".split()


@given(resource=st.dictionaries(st.sampled_from(NAMES), ANY, max_size=4))
@settings(max_examples=200, deadline=None)
def test_any_observation_is_read_and_tested_without_an_error(resource: dict[str, Any]) -> None:
    found = value_detail(resource)
    assert all(found.values())
    for unit in ("", "%", "mm[Hg]"):
        bound = Quantity(number=Decimal(5), unit=unit)
        for test in (ValueTest(above=bound), ValueTest(at_most=bound), ValueTest(below=bound, component=("x",))):
            assert passes(test, found) in (True, False)
