"""How a value of one FHIR type becomes rows of one search type.

https://hl7.org/fhir/R4/search.html#ptypes
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import OPEN_END, OPEN_START, date_range, period_range
from fhir_tracker.fhir.folding import fold
from fhir_tracker.fhir.json_types import Json
from fhir_tracker.fhir.quantities import decimal_range
from fhir_tracker.fhir.references import ParsedReference, parse_reference
from fhir_tracker.fhir.search_rows import (
    DateRow,
    NumberRow,
    Part,
    QuantityRow,
    ReferenceRow,
    StringRow,
    TokenRow,
    UriRow,
)

Rows = list[Part]
Converter = Callable[[str, Json, Rows], None]


def token_coding(param: str, value: Json, rows: Rows) -> None:
    """A Coding."""
    code = value.get("code") if type(value) is dict else None
    if type(code) is str:
        system = value.get("system")
        rows.append(TokenRow(param, system if type(system) is str else None, code))


def token_concept(param: str, value: Json, rows: Rows) -> None:
    """A CodeableConcept: each of its codings."""
    found = value.get("coding") if type(value) is dict else None
    if type(found) is list:
        for coding in found:
            token_coding(param, coding, rows)


def token_identifier(param: str, value: Json, rows: Rows) -> None:
    """An Identifier: its system and value, and for `:of-type` its value under each coded type it has."""
    code = value.get("value") if type(value) is dict else None
    if type(code) is str:
        system = value.get("system")
        rows.append(TokenRow(param, system if type(system) is str else None, code))
        if param and ":" not in param and "type" in value:
            _token_of_type(param, value["type"], code, rows)


def _token_of_type(param: str, concept: Json, code: str, rows: Rows) -> None:
    types: Rows = []
    token_concept("", concept, types)
    for row in types:
        if isinstance(row, TokenRow) and row.system:
            rows.append(TokenRow(f"{param}:of-type", f"{row.system}|{row.code}", code))


def token_contact(param: str, value: Json, rows: Rows) -> None:
    """A ContactPoint: its value, without a system."""
    code = value.get("value") if type(value) is dict else None
    if type(code) is str:
        rows.append(TokenRow(param, None, code))


def token_text(param: str, value: Json, rows: Rows) -> None:
    """A code, id, uri or string, without a system."""
    if type(value) is str:
        rows.append(TokenRow(param, None, value))


def token_boolean(param: str, value: Json, rows: Rows) -> None:
    """A boolean, as `true` or `false`."""
    if type(value) is bool:
        rows.append(TokenRow(param, None, "true" if value else "false"))


def token_of_system(system: str) -> Converter:
    """A code whose required value set has one system: that system."""

    def convert(param: str, value: Json, rows: Rows) -> None:
        if type(value) is str:
            rows.append(TokenRow(param, system, value))

    return convert


def reference(param: str, value: Json, rows: Rows) -> None:
    """A Reference: its target, and its identifier as a token of `<param>:identifier`."""
    if type(value) is not dict:
        return
    text = value.get("reference")
    if type(text) is str:
        rows.append(reference_row(param, parse_reference(text), value.get("type")))
    identifier = value.get("identifier")
    if identifier is not None:
        token_identifier(f"{param}:identifier", identifier, rows)


def reference_row(param: str, target: ParsedReference, type_: Json = None) -> ReferenceRow:
    """The row of a parsed reference; `type_` is used where the text does not tell it."""
    if target.type and target.id:
        return ReferenceRow(param, target.type, target.id, target.text if target.base else None)
    return ReferenceRow(param, type_ if isinstance(type_, str) else None, None, target.text)


def reference_canonical(param: str, value: Json, rows: Rows) -> None:
    """A canonical or uri: as it stands, and without its version."""
    if type(value) is str:
        rows.append(ReferenceRow(param, None, None, value))
        url, bar, _ = value.partition("|")
        if bar:
            rows.append(ReferenceRow(param, None, None, url))


def reference_resource(param: str, value: Json, rows: Rows) -> None:
    """A resource in a Bundle: its own type and id."""
    if type(value) is dict and type(value.get("resourceType")) is str:
        id_ = value.get("id")
        rows.append(ReferenceRow(param, value["resourceType"], id_ if type(id_) is str else None, None))


def uri(param: str, value: Json, rows: Rows) -> None:
    """A uri, url or canonical."""
    if type(value) is str:
        rows.append(UriRow(param, value))


def date(param: str, value: Json, rows: Rows) -> None:
    """A date, dateTime or instant; one that cannot be read gives no row."""
    if type(value) is str:
        try:
            low, high = date_range(value)
        except Incorrect:
            return
        rows.append(DateRow(param, low, high))


def period(param: str, value: Json, rows: Rows) -> None:
    """A Period; a missing side is open, and one without either gives no row."""
    if type(value) is not dict:
        return
    start, end = value.get("start"), value.get("end")
    try:
        low, high = period_range(start if type(start) is str else None, end if type(end) is str else None)
    except Incorrect:
        return
    if low != OPEN_START or high != OPEN_END:
        rows.append(DateRow(param, low, high))


def timing(param: str, value: Json, rows: Rows) -> None:
    """A Timing: its outer limits, from events and bounds."""
    if type(value) is not dict:
        return
    inner: Rows = []
    events = value.get("event")
    for event in events if type(events) is list else ():
        date(param, event, inner)
    repeat = value.get("repeat")
    period(param, repeat.get("boundsPeriod") if type(repeat) is dict else None, inner)
    ranges = [row for row in inner if isinstance(row, DateRow)]
    if ranges:
        rows.append(DateRow(param, min(row.low for row in ranges), max(row.high for row in ranges)))


def string(param: str, value: Json, rows: Rows) -> None:
    """A string or markdown."""
    if type(value) is str and value:
        rows.append(StringRow(param, fold(value), value))


def string_members(*names: str) -> Converter:
    """A datatype of which several members are searched, such as HumanName."""

    def convert(param: str, value: Json, rows: Rows) -> None:
        if type(value) is dict:
            for name in names:
                member = value.get(name)
                for text in member if type(member) is list else (member,):
                    string(param, text, rows)

    return convert


def number(param: str, value: Json, rows: Rows) -> None:
    """A decimal or integer."""
    limits = _limits(value)
    if limits:
        rows.append(NumberRow(param, *limits))


def number_range(param: str, value: Json, rows: Rows) -> None:
    """A Range of plain numbers."""
    limits = _range_limits(value)
    if limits:
        rows.append(NumberRow(param, *limits))


def quantity(param: str, value: Json, rows: Rows) -> None:
    """A Quantity, Age or Duration; a comparator opens the side it names."""
    limits = _limits(value.get("value")) if type(value) is dict else None
    if limits:
        low, high = limits
        comparator = value.get("comparator")
        if comparator in ("<", "<="):
            low = -math.inf
        elif comparator in (">", ">="):
            high = math.inf
        rows.append(QuantityRow(param, *_unit(value), low, high))


def money(param: str, value: Json, rows: Rows) -> None:
    """Money: the currency is its unit."""
    limits = _limits(value.get("value")) if type(value) is dict else None
    if limits:
        currency = value.get("currency")
        code = currency if type(currency) is str else None
        rows.append(QuantityRow(param, "urn:iso:std:iso:4217", code, code, *limits))


def quantity_range(param: str, value: Json, rows: Rows) -> None:
    """A Range, with the unit of the side it has."""
    limits = _range_limits(value)
    if limits:
        side = value.get("low") or value.get("high")
        rows.append(QuantityRow(param, *_unit(side), *limits))


def position(param: str, value: Json, rows: Rows) -> None:
    """Location.position: latitude and longitude in degrees, as numbers of `near:latitude` and `near:longitude`."""
    if type(value) is dict:
        for name in ("latitude", "longitude"):
            number(f"{param}:{name}", value.get(name), rows)


def _limits(value: Json) -> tuple[float, float] | None:
    if type(value) is bool or not isinstance(value, (int, Decimal)):
        return None
    try:
        return decimal_range(value)
    except Incorrect:
        return None


def _range_limits(value: Json) -> tuple[float, float] | None:
    if type(value) is not dict:
        return None
    sides = [value.get(name) for name in ("low", "high")]
    low, high = (_limits(side.get("value")) if type(side) is dict else None for side in sides)
    if low is None and high is None:
        return None
    return (low[0] if low else -math.inf, high[1] if high else math.inf)


def _unit(value: Json) -> tuple[str | None, str | None, str | None]:
    found = [value.get(name) for name in ("system", "code", "unit")] if type(value) is dict else [None, None, None]
    system, code, unit = (item if type(item) is str else None for item in found)
    return system, code, unit


_NAME = string_members("family", "given", "prefix", "suffix", "text")
_ADDRESS = string_members("line", "city", "district", "state", "postalCode", "country", "text")

CONVERTERS: dict[tuple[str, str], Converter] = {
    **{("token", type_): token_text for type_ in ("code", "id", "uri", "string")},
    ("token", "boolean"): token_boolean,
    ("token", "Coding"): token_coding,
    ("token", "CodeableConcept"): token_concept,
    ("token", "Identifier"): token_identifier,
    ("token", "ContactPoint"): token_contact,
    ("reference", "Reference"): reference,
    ("reference", "canonical"): reference_canonical,
    ("reference", "uri"): reference_canonical,
    ("reference", "Resource"): reference_resource,
    **{("uri", type_): uri for type_ in ("uri", "url", "canonical")},
    **{("date", type_): date for type_ in ("date", "dateTime", "instant")},
    ("date", "Period"): period,
    ("date", "Timing"): timing,
    **{("string", type_): string for type_ in ("string", "markdown")},
    ("string", "HumanName"): _NAME,
    ("string", "Address"): _ADDRESS,
    **{("number", type_): number for type_ in ("decimal", "integer", "positiveInt", "unsignedInt")},
    ("number", "Range"): number_range,
    **{("quantity", type_): quantity for type_ in ("Quantity", "Age", "Duration", "Count", "Distance")},
    ("quantity", "Money"): money,
    ("quantity", "Range"): quantity_range,
    ("special", "Location.position"): position,
}
