"""The values of a search, one kind for each search parameter type, read from their text.

https://hl7.org/fhir/R4/search.html#ptypes
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import asked_range
from fhir_tracker.fhir.definitions.registry import SearchParameter, resource_types, search_parameter
from fhir_tracker.fhir.folding import fold
from fhir_tracker.fhir.identity import is_legal_id
from fhir_tracker.fhir.quantities import decimal_range
from fhir_tracker.fhir.references import ReferenceKind, parse_reference

PREFIXES = ("eq", "ne", "gt", "ge", "lt", "le", "sa", "eb", "ap")
_KILOMETRES = {"km": 1.0, "m": 0.001, "[mi_i]": 1.609344, "mi_us": 1.609344, "[mi_us]": 1.609344}


@dataclass(frozen=True, kw_only=True)
class TokenValue:
    """`system` None: any, "": none; `code` None: any code of the system."""

    system: str | None
    code: str | None


@dataclass(frozen=True, kw_only=True)
class ReferenceValue:
    """Any of these targets: `Type/id`, or a URL as it stands."""

    targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DateValue:
    """The half-open range [low, high) in milliseconds that the text covers."""

    prefix: str
    low: int
    high: int


@dataclass(frozen=True, kw_only=True)
class NumberValue:
    """The number itself and the range [low, high) of what rounds to it by its digits."""

    prefix: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class QuantityValue:
    """A number with its unit: `system` None or `unit` None where any will do."""

    number: NumberValue
    system: str | None
    unit: str | None


@dataclass(frozen=True, kw_only=True)
class StringValue:
    """The text, folded and as it stands."""

    folded: str
    text: str


@dataclass(frozen=True, kw_only=True)
class UriValue:
    """A uri as it stands."""

    uri: str


@dataclass(frozen=True, kw_only=True)
class CompositeValue:
    """The parts of one combination, in order."""

    parts: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class NearValue:
    """A place in degrees, and how far from it in kilometres."""

    latitude: float
    longitude: float
    kilometres: float


Value = (
    TokenValue
    | ReferenceValue
    | DateValue
    | NumberValue
    | QuantityValue
    | StringValue
    | UriValue
    | CompositeValue
    | NearValue
)


def read_value(parameter: SearchParameter, text: str, modifier: str | None, own_base: str) -> Value:
    """One value (still escaped) of a parameter; raises Incorrect with what would be right, without naming the value."""
    if modifier == "identifier":
        return _token(text)
    if modifier == "of-type":
        return _identifier_of_type(text)
    if parameter.type == "reference":
        return _reference(parameter, unescape(text), modifier, own_base)
    if parameter.type == "composite":
        return _composite(parameter, text, own_base)
    reader = _READERS.get(parameter.type)
    if reader is None:
        raise Incorrect(f"it is of type {parameter.type}, which is not supported")
    return reader(text)


def split(text: str, separator: str) -> list[str]:
    """The parts of `text` between separators that no backslash escapes; the parts stay escaped."""
    parts = [""]
    for piece in re.findall(r"\\.|.", text, re.DOTALL):
        if piece == separator:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def escaped(text: str) -> str:
    """`text` as one value of a search parameter, in which no character separates."""
    return re.sub(r"([,$|\\])", r"\\\1", text)


def unescape(text: str) -> str:
    r"""`\,` `\$` `\|` and `\\` as the characters they stand for."""
    return re.sub(r"\\([,$|\\])", r"\1", text) if "\\" in text else text


def read_date(text: str) -> DateValue:
    """A date with an optional prefix."""
    prefix, rest = _prefixed(text)
    low, high = asked_range(rest)
    return DateValue(prefix=prefix, low=low, high=high)


def _token(text: str) -> TokenValue:
    parts = [unescape(part) for part in split(text, "|")]
    if len(parts) > 2 or parts in ([""], ["", ""]):
        raise Incorrect(r"use code, system|code, |code or system|, with \| for a bar inside")
    if len(parts) == 1:
        return TokenValue(system=None, code=parts[0])
    system, code = parts
    return TokenValue(system=system, code=code or None)


def _identifier_of_type(text: str) -> TokenValue:
    """An identifier by the coded type it has: what its `:of-type` rows are kept under."""
    parts = [unescape(part) for part in split(text, "|")]
    if len(parts) != 3 or not all(parts):
        raise Incorrect("use system|code|value, where system and code are those of the identifier's type")
    return TokenValue(system=f"{parts[0]}|{parts[1]}", code=parts[2])


def _reference(parameter: SearchParameter, text: str, modifier: str | None, own_base: str) -> ReferenceValue:
    if own_base and text.startswith(f"{own_base}/"):
        text = text.removeprefix(f"{own_base}/")
    parsed = parse_reference(text)
    if parsed.kind == ReferenceKind.RELATIVE:
        if modifier and parsed.type != modifier:
            raise Incorrect(f"the reference is not to a {modifier}")
        return ReferenceValue(targets=(f"{parsed.type}/{parsed.id}",))
    if is_legal_id(text):
        types = (modifier,) if modifier else (parameter.targets or tuple(sorted(resource_types())))
        return ReferenceValue(targets=tuple(f"{type_}/{text}" for type_ in types))
    if not text or modifier:
        raise Incorrect("use an id, Type/id or an absolute URL")
    return ReferenceValue(targets=(text,))


def _number(text: str) -> NumberValue:
    prefix, rest = _prefixed(text)
    low, high = decimal_range(rest)
    return NumberValue(prefix=prefix, value=float(rest), low=low, high=high)


def _quantity(text: str) -> QuantityValue:
    parts = [unescape(part) for part in split(text, "|")]
    if len(parts) == 1:
        return QuantityValue(number=_number(parts[0]), system=None, unit=None)
    if len(parts) != 3:
        raise Incorrect("use number or number|system|unit")
    return QuantityValue(number=_number(parts[0]), system=parts[1] or None, unit=parts[2] or None)


def _string(text: str) -> StringValue:
    plain = unescape(text)
    if not fold(plain):
        raise Incorrect("give at least one character to look for")
    return StringValue(folded=fold(plain), text=plain)


def _uri(text: str) -> UriValue:
    return UriValue(uri=unescape(text))


def _near(text: str) -> NearValue:
    """R4's only special parameter, Location `near`; the distance is 50 km where it is not given."""
    latitude, longitude, *rest = [unescape(part) for part in split(text, "|")] + [""]
    given = [part for part in rest if part]
    unit = _KILOMETRES.get(given[1] if len(given) == 2 else "km")
    if len(given) > 2 or unit is None:
        raise Incorrect("use latitude|longitude|distance|units, with units km, m, mi_us or [mi_i]")
    for one in (latitude, longitude, *given[:1]):
        decimal_range(one)
    places = [float(one) for one in (latitude, longitude, given[0] if given else "50")]
    if not (abs(places[0]) <= 90 and abs(places[1]) <= 180 and places[2] >= 0):
        raise Incorrect("a latitude is from -90 to 90, a longitude from -180 to 180, a distance from 0")
    return NearValue(latitude=places[0], longitude=places[1], kilometres=places[2] * unit)


def _composite(parameter: SearchParameter, text: str, own_base: str) -> CompositeValue:
    parts = split(text, "$")
    if len(parts) != len(parameter.components):
        raise Incorrect(f"it takes {len(parameter.components)} values with $ between them")
    kinds = [search_parameter(component.definition) for component in parameter.components]
    if any(kind is None or kind.type == "composite" for kind in kinds):
        raise Incorrect("a part of it cannot be searched by")
    return CompositeValue(
        parts=tuple(read_value(kind, part, None, own_base) for kind, part in zip(kinds, parts, strict=True) if kind)
    )


def _prefixed(text: str) -> tuple[str, str]:
    plain = unescape(text)
    return (plain[:2], plain[2:]) if plain[:2] in PREFIXES else ("eq", plain)


_READERS: Mapping[str, Callable[[str], Value]] = {
    "token": _token,
    "date": read_date,
    "number": _number,
    "quantity": _quantity,
    "string": _string,
    "uri": _uri,
    "special": _near,
}
