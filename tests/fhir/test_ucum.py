"""Codes of UCUM units are told from words that are none.

https://ucum.org/ucum
"""

from __future__ import annotations

import pytest

from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.ucum import LONGEST, SYSTEM, is_unit

RIGHT = (
    "1 m kg mg/dL mm[Hg] % /min {beats}/min 10*3/uL 10*-3 10^9/L [degF] Cel [in_i'H2O] [iU]/L k[iU]/L mL/min/{1.73_m2} m2 m-2 m+2"
    " kg.m/s2 (mg)/dL mg/(24.h) {tbl} mg{dry} mmol/mol{Hb} wk mo a dam B[SPL] m[H2O] Kibit 24.h 5 [pH] [arb'U]/mL ((m)) eq/L"
).split()
WRONG = (
    "tablet tablets mcg hours MGG Kg mg/ mg//dL / IU lbs mmHg percent { {x mm[Hg 2m m. m..s //m {a}{b} (m (m)2 m) () year ea kwk"
    " kmin k% [foo] m[foo] -1 x (m)2 (m)(m) m(s) mg,dL µg 10*x"
).split()


@pytest.mark.parametrize("code", RIGHT)
def test_a_unit_is_one(code: str) -> None:
    assert is_unit(code)


@pytest.mark.parametrize("code", [*WRONG, "", " m", "mg mL", "m\n"])
def test_what_is_no_unit_is_none(code: str) -> None:
    assert not is_unit(code)


def test_a_note_may_have_blanks() -> None:
    assert is_unit("mg{per day}")


@pytest.mark.parametrize("text", ["(" * 500, "m." * 500 + "m", "m" * 500, "{" * 500, "[" * 500, "1" * 500, "()" * 90])
def test_what_is_long_or_deep_is_answered_at_once(text: str) -> None:
    assert len(text) <= LONGEST or not is_unit(text)
    assert not is_unit(text[:LONGEST]) or text.startswith(("1", "m.m"))


def test_a_quantity_and_a_coding_of_ucum_have_units() -> None:
    goal: Resource = {
        "resourceType": "Goal",
        "lifecycleStatus": "active",
        "description": {"text": "x"},
        "subject": {"display": "x"},
    }
    weight: Resource = {"value": 70, "unit": "kilos", "system": SYSTEM, "code": "kilos"}
    target: Resource = {"measure": {"text": "weight"}, "detailQuantity": weight}
    assert [one.expression for one in check(goal | {"target": [target]})] == ["Goal.target[0].detail.code"]
    assert check(goal | {"target": [{**target, "detailQuantity": {**weight, "code": "kg"}}]}) == ()
    coded: Resource = {"coding": [{"system": SYSTEM, "code": "kilos"}]}
    assert [one.code for one in check(goal | {"description": coded})] == ["code-invalid"]
