"""What an Observation says, as texts an Event can keep, and tests on it: numbers with UCUM units, codes, interpretations.

https://hl7.org/fhir/R4/observation.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from fhir_tracker.fhir.codeable import codings
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import at, objects_at, text_at

COMPONENT: Final = "component "
"""Before a component's `system|code` in `Event.detail`."""
_MOST: Final = 50
_NUMBER: Final = re.compile(r"[<>]?=?-?[0-9]{1,18}(?:\.[0-9]{1,12})?")
_QUANTITY: Final = re.compile(r"(?P<number>-?[0-9]{1,12}(?:\.[0-9]{1,9})?) *(?P<unit>[^ ]{0,40})")
_ALIASES: Final[Mapping[str, str]] = {
    "mmhg": "mm[Hg]",
    "mm hg": "mm[Hg]",
    "lb": "[lb_av]",
    "lbs": "[lb_av]",
    "pounds": "[lb_av]",
    "oz": "[oz_av]",
    "in": "[in_i]",
    "inch": "[in_i]",
    "inches": "[in_i]",
    "ft": "[ft_i]",
    "bpm": "/min",
    "beats/min": "/min",
    "beats/minute": "/min",
    "breaths/min": "/min",
    "{beats}/min": "/min",
    "{breaths}/min": "/min",
    "c": "Cel",
    "°c": "Cel",
    "degc": "Cel",
    "f": "[degF]",
    "°f": "[degF]",
    "degf": "[degF]",
    "percent": "%",
    "mg/dl": "mg/dL",
    "g/dl": "g/dL",
    "mmol/l": "mmol/L",
    "µmol/l": "umol/L",
    "kgs": "kg",
}
"""Units as people and EHRs write them in words, by their UCUM code; looked up in lower case, after the code as it is."""
_UNITS: Final[Mapping[str, tuple[str, Decimal, Decimal]]] = {
    unit: (dimension, Decimal(factor), Decimal(offset))
    for dimension, units in {
        "mass": {"kg": "1", "g": "0.001", "mg": "0.000001", "ug": "0.000000001", "[lb_av]": "0.45359237",
                 "[oz_av]": "0.028349523125"},
        "length": {"m": "1", "cm": "0.01", "mm": "0.001", "[in_i]": "0.0254", "[ft_i]": "0.3048"},
        "pressure": {"mm[Hg]": "133.322387415", "kPa": "1000", "Pa": "1"},
        "mass concentration": {"g/L": "1", "kg/L": "1000", "g/dL": "10", "g/mL": "1000", "mg/dL": "0.01",
                               "mg/L": "0.001", "mg/mL": "1", "ug/mL": "0.001", "ug/dL": "0.00001",
                               "ug/L": "0.000001", "ng/mL": "0.000001", "ng/dL": "0.00000001", "pg/mL": "0.000000001"},
        "concentration": {"mol/L": "1", "mmol/L": "0.001", "umol/L": "0.000001", "nmol/L": "0.000000001",
                          "pmol/L": "0.000000000001"},
        "volume": {"L": "1", "l": "1", "dL": "0.1", "mL": "0.001", "ml": "0.001", "uL": "0.000001"},
        "time": {"s": "1", "min": "60", "h": "3600", "d": "86400", "wk": "604800"},
        "frequency": {"/s": "60", "/min": "1", "/h": "0.016666666666666666"},
        "share": {"1": "1", "%": "0.01"},
    }.items()
    for unit, factor in units.items()
    for offset in ("0",)
} | {
    "K": ("temperature", Decimal(1), Decimal(0)),
    "Cel": ("temperature", Decimal(1), Decimal("273.15")),
    "[degF]": ("temperature", Decimal(5) / Decimal(9), Decimal("459.67") * 5 / 9),
}  # fmt: skip
"""Unit -> dimension, and factor and offset into the dimension's own unit."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number and its UCUM unit ("" for none)."""

    number: Decimal
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.number} {self.unit}".strip()


@dataclass(frozen=True, kw_only=True)
class ValueTest:
    """A test on an Observation's value, or on that of its component coded `component` (any of them).

    Every given part must fit: `at_least`, `above`, `at_most`, `below` by number, `codes` any of the coded values,
    `interpretation` any of the interpretation codes.
    """

    component: tuple[str, ...] = ()
    at_least: Quantity | None = None
    above: Quantity | None = None
    at_most: Quantity | None = None
    below: Quantity | None = None
    codes: tuple[str, ...] = ()
    interpretation: tuple[str, ...] = ()

    @property
    def bounds(self) -> tuple[tuple[str, Quantity], ...]:
        """The given bounds by their names, in the order above."""
        named = (("at_least", self.at_least), ("above", self.above), ("at_most", self.at_most), ("below", self.below))
        return tuple((name, bound) for name, bound in named if bound is not None)


def value_detail(resource: Resource) -> dict[str, str]:
    """The value, interpretation and components of an Observation as texts for `Event.detail`."""
    found: dict[str, str] = {}
    for prefix, holder in _holders(resource):
        if number := _number_in(holder):
            found[f"{prefix}value"] = number
        if coded := _codes_in(holder.get("valueCodeableConcept")):
            found[f"{prefix}value-codes"] = coded
        elif isinstance(holder.get("valueBoolean"), bool):
            found[f"{prefix}value-codes"] = str(holder["valueBoolean"]).lower()
        if read := _codes_in(holder.get("interpretation")):
            found[f"{prefix}interpretation"] = read
    return found


def parse_quantity(text: str) -> Quantity:
    """`150 mm[Hg]`, `9 %`, `7.5`; raises ValueError saying what is wrong."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'"{text}" is not a value: write a number and its UCUM unit, such as "150 mm[Hg]" or "9 %"')
    unit = match["unit"]
    return Quantity(number=Decimal(match["number"]), unit=canonical_unit(unit))


def canonical_unit(unit: str) -> str:
    """The UCUM code of a unit: `mmHg` is mm[Hg]; what is not known stays as it is."""
    return unit if unit in _UNITS else _ALIASES.get(unit.lower(), unit)


def is_known_unit(unit: str) -> bool:
    """Whether values in other units can be compared with one in this unit."""
    return not unit or unit in _UNITS


def passes(test: ValueTest, detail: Mapping[str, str]) -> bool:
    """Whether what an Observation said passes; a value that cannot be compared does not."""
    return any(_passes(test, detail, prefix) for prefix in _prefixes(test, detail))


def said(test: ValueTest, detail: Mapping[str, str]) -> str:
    """The values that the test looks at, as they were said; "" for none."""
    keys = [f"{prefix}{name}" for prefix in _prefixes(test, detail) for name in ("value", "value-codes")]
    texts = [detail[key].replace("\n", ", ") for key in keys if detail.get(key)]
    return " / ".join(dict.fromkeys(texts))


def compare(value: Quantity, bound: Quantity) -> int | None:
    """-1, 0 or 1 as `value` is less than, equal to or more than `bound`; None when the units do not go together."""
    if value.unit == bound.unit or not bound.unit:
        return _sign(value.number - bound.number)
    mine, other = _UNITS.get(value.unit), _UNITS.get(bound.unit)
    if mine is None or other is None or mine[0] != other[0]:
        return None
    return _sign(value.number * mine[1] + mine[2] - bound.number * other[1] - other[2])


def _sign(difference: Decimal) -> int:
    close = abs(difference) < Decimal("1e-15")
    return 0 if close else 1 if difference > 0 else -1


def _prefixes(test: ValueTest, detail: Mapping[str, str]) -> list[str]:
    if not test.component:
        return [""]
    bare = [one for one in test.component if "|" not in one]
    found = {key.removeprefix(COMPONENT).rpartition(" ")[0] for key in detail if key.startswith(COMPONENT)}
    fitting = (one for one in sorted(found) if one in test.component or one.rpartition("|")[2] in bare)
    return [f"{COMPONENT}{one} " for one in fitting]


def _passes(test: ValueTest, detail: Mapping[str, str], prefix: str) -> bool:
    if test.codes and not _has(test.codes, detail.get(f"{prefix}value-codes", "")):
        return False
    if test.interpretation and not _has(test.interpretation, detail.get(f"{prefix}interpretation", "")):
        return False
    return not test.bounds or _in_bounds(test, detail.get(f"{prefix}value", ""))


def _in_bounds(test: ValueTest, text: str) -> bool:
    """As numbers: `<5` is below 5 and above nothing, `>400` above 400 and below nothing."""
    words = text.lstrip("<>=")
    less, more, equal = text.startswith("<"), text.startswith(">"), "=" in text[:2]
    if not words:
        return False
    number, _, unit = words.partition(" ")
    value = Quantity(number=Decimal(number), unit=unit)
    for name, bound in test.bounds:
        sign = compare(value, bound)
        if sign is None:
            return False
        if name in ("at_least", "above"):
            strict = name == "above" and not (more and not equal)
            if less or sign < 0 or (strict and sign == 0):
                return False
        elif more or sign > 0 or (name == "below" and not (less and not equal) and sign == 0):
            return False
    return True


def _has(wanted: tuple[str, ...], held: str) -> bool:
    codes = held.split("\n")
    bare = {one.rpartition("|")[2] for one in codes}
    return any(one in codes if "|" in one else one in bare for one in wanted) if held else False


def _holders(resource: Resource) -> Iterator[tuple[str, Resource]]:
    yield "", resource
    for component in tuple(objects_at(resource, "component"))[:_MOST]:
        for system, code in codings(component.get("code"))[:3]:
            yield f"{COMPONENT}{system}|{code} ", component


def _number_in(holder: Resource) -> str:
    """`150 mm[Hg]`, with `<` or `>` before it where the value has a comparator."""
    number, unit, sign = at(holder, "valueQuantity", "value"), "", ""
    if number is not None:
        coded, worded = text_at(holder, "valueQuantity", "code"), text_at(holder, "valueQuantity", "unit")
        unit = canonical_unit(coded or worded or "")
        sign = text_at(holder, "valueQuantity", "comparator") or ""
    else:
        number = holder.get("valueInteger")
    if isinstance(number, bool) or not isinstance(number, (int, float, Decimal)):
        return ""
    text = _plain(number)
    return f"{sign}{text} {unit}".strip() if text and _NUMBER.fullmatch(f"{sign}{text}") and len(unit) <= 60 else ""


def _plain(number: int | float | Decimal) -> str:
    try:
        value = Decimal(str(number))
    except (InvalidOperation, ValueError):
        return ""
    return f"{value:f}" if value.is_finite() and abs(value.adjusted()) < 18 else ""


def _codes_in(value: Json) -> str:
    """The codings of one CodeableConcept or a list of them, one `system|code` a line."""
    pairs = [pair for one in (value if isinstance(value, list) else [value])[:_MOST] for pair in codings(one)]
    return "\n".join(
        dict.fromkeys(f"{system}|{code}" for system, code in pairs[:_MOST] if "\n" not in f"{system}{code}")
    )
