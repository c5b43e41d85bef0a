"""A second, slow way from selected values to search values: by the look of a value alone, written from the spec's tables.

https://hl7.org/fhir/R4/search.html#ptypes
"""

from __future__ import annotations

import math
import unicodedata
from decimal import Decimal
from fractions import Fraction
from typing import Any

from fhir_tracker.fhir.json_types import Json
from tests.fhir.slow_dates import FAR, slow_range

NAME = ("family", "given", "prefix", "suffix", "text")
ADDRESS = ("line", "city", "district", "state", "postalCode", "country", "text")


def tokens(value: Json) -> set[tuple[str | None, str]]:
    """(system, code) of anything a token parameter may select."""
    if isinstance(value, bool):
        return {(None, str(value).lower())}
    if isinstance(value, str):
        return {(None, value)}
    if "coding" in value or set(value) <= {"text", "id", "extension"}:
        return {(coding.get("system"), coding["code"]) for coding in value.get("coding", []) if "code" in coding}
    if "code" in value:
        return {(value.get("system"), value["code"])}
    if "value" not in value:
        return set()
    is_contact = value.get("system") in {"phone", "fax", "email", "pager", "url", "sms", "other"}
    return {(None if is_contact else value.get("system"), value["value"])}


def references(value: Json) -> set[str]:
    """The texts a reference parameter finds a value by, as `Type/id` where it has that form, else as it stands."""
    if isinstance(value, str):
        return {value, value.split("|")[0]}
    if "resourceType" in value:
        return {f"{value['resourceType']}/{value['id']}"}
    text = value.get("reference")
    return {_type_and_id(text)} if text else set()


def strings(value: Json) -> set[str]:
    """The folded texts a string parameter finds a value by."""
    if isinstance(value, str):
        return {folded(value)}
    found: set[str] = set()
    for name in NAME if "family" in value or "given" in value else (*NAME, *ADDRESS):
        member = value.get(name, [])
        found |= {folded(text) for text in (member if isinstance(member, list) else [member])}
    return found


def moments(value: Json) -> set[tuple[int, int]]:
    """The [low, high) in milliseconds that a date parameter finds a value by."""
    if isinstance(value, str):
        return {slow_range(value)}
    if "start" in value or "end" in value:
        low = slow_range(value["start"])[0] if "start" in value else -FAR
        return {(low, slow_range(value["end"])[1] if "end" in value else FAR)}
    bounds = value.get("repeat", {}).get("boundsPeriod", {})
    inner = [slow_range(one) for one in value.get("event", [])]
    inner += moments(bounds) if bounds else []
    return {(min(low for low, _ in inner), max(high for _, high in inner))} if inner else set()


def numbers(value: Json) -> set[tuple[float, float]]:
    """The [low, high) that a number or quantity parameter finds a value by."""
    if isinstance(value, (int, Decimal)):
        return {around(value)}
    if "low" in value or "high" in value:
        low = around(value["low"]["value"])[0] if "low" in value else -math.inf
        return {(low, around(value["high"]["value"])[1] if "high" in value else math.inf)}
    if "value" not in value:
        return set()
    low, high = around(value["value"])
    comparator = value.get("comparator", "")
    return {(-math.inf if "<" in comparator else low, math.inf if ">" in comparator else high)}


def around(value: Any) -> tuple[float, float]:
    """Half a unit of the last digit to both sides; a power of ten without a point has its digits in front."""
    text = str(value).lower()
    digits, _, power = text.partition("e")
    places = len(digits.partition(".")[2])
    exponent = int(power or 0) - places
    half = Fraction(1, 2) * Fraction(10) ** (exponent - 1 if exponent > 0 else exponent)
    exact = Fraction(text)
    return float(exact - half), float(exact + half)


def folded(text: str) -> str:
    """Without case, accents and double white space, one character at a time."""
    plain = (one for one in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(one))
    return " ".join("".join(plain).lower().split())


def _type_and_id(text: str) -> str:
    parts = text.split("/")
    if "_history" in parts:
        parts = parts[: parts.index("_history")]
    if len(parts) < 2 or not parts[-2][:1].isupper() or "?" in text:
        return text
    return "/".join(parts[-2:])
