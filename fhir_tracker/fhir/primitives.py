"""The JSON kind and format of each FHIR primitive type.

https://hl7.org/fhir/R4/datatypes.html#primitive
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import date_range
from fhir_tracker.fhir.json_types import Json, kind

Fault = Callable[[Json], str | None]
"""What is wrong with a value and what would be right, to follow the element's name; None when it is right."""

LONGEST_STRING = 1024 * 1024
LARGEST_INTEGER = 2**31 - 1

_YEAR = r"(?!0000)[0-9]{4}"
_DAY = r"(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_VISIBLE = r"[^\s\x00-\x1f]"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_BASE64 = re.compile(r"[0-9A-Za-z+/]*={0,2}")
_ACTIVE_MARKUP = re.compile(
    r"<[\s/]*(?:script|iframe|object|embed|form|input|base|link|meta|head|body|frame|frameset|style|svg|math|audio|video)\b"
    r"|<[^<>]*\son[a-z]+\s*=|javascript:|<!DOCTYPE|<!ENTITY|<\?",
    re.IGNORECASE,
)


def _text(value: Json) -> str | None:
    if type(value) is not str:
        return f"is {kind(value)}; it must be a string"
    if not value or value.isspace():
        return "is empty; leave it out or give it a value"
    if len(value) > LONGEST_STRING:
        return f"is longer than {LONGEST_STRING} characters"
    return "holds a control character" if not value.isprintable() and _CONTROL.search(value) else None


def _matching(pattern: str, right: str) -> Fault:
    matcher = re.compile(pattern).fullmatch

    def fault(value: Json) -> str | None:
        if type(value) is not str:
            return f"is {kind(value)}; it must be a string: {right}"
        return None if matcher(value) else f"is not {right}"

    return fault


def _on_calendar(pattern: str, right: str) -> Fault:
    form = _matching(pattern, right)

    def fault(value: Json) -> str | None:
        wrong = form(value)
        if wrong is None and not _exists(value):
            return "is not a date of the calendar"
        return wrong

    return fault


def _exists(text: str) -> bool:
    try:
        date_range(text.partition("T")[0])
    except Incorrect:
        return False
    return True


def _integer(least: int) -> Fault:
    def fault(value: Json) -> str | None:
        if type(value) is not int:
            return f"is {_number_kind(value)}; it must be a whole number"
        if not least <= value <= LARGEST_INTEGER:
            return f"is out of range; it must be {least} to {LARGEST_INTEGER}"
        return None

    return fault


def _boolean(value: Json) -> str | None:
    return None if type(value) is bool else f"is {kind(value)}; it must be true or false, without quotes"


def _decimal(value: Json) -> str | None:
    if type(value) is bool or not isinstance(value, (int, float, Decimal)):
        return f"is {kind(value)}; it must be a number, without quotes"
    return None


def _base64(value: Json) -> str | None:
    if type(value) is not str:
        return f"is {kind(value)}; it must be a base64 string"
    packed = "".join(value.split())
    return None if packed and len(packed) % 4 == 0 and _BASE64.fullmatch(packed) else "is not base64"


def _xhtml(value: Json) -> str | None:
    wrong = _text(value)
    if wrong is None:
        stripped = value.strip()
        if not stripped.startswith("<div") or not stripped.endswith(">"):
            return "is not one XHTML <div> element"
        if _ACTIVE_MARKUP.search(value):
            return "holds active or forbidden markup; only formatting, tables, lists, images and links may be used"
    return wrong


def _number_kind(value: Json) -> str:
    return "a fraction" if isinstance(value, (float, Decimal)) else kind(value)


_URI = _matching(rf"{_VISIBLE}+", "a uri: one or more characters without white space")

PRIMITIVES: dict[str, Fault] = {
    "boolean": _boolean,
    "integer": _integer(-LARGEST_INTEGER - 1),
    "unsignedInt": _integer(0),
    "positiveInt": _integer(1),
    "decimal": _decimal,
    "string": _text,
    "markdown": _text,
    "xhtml": _xhtml,
    "code": _matching(rf"{_VISIBLE}+(?:\s{_VISIBLE}+)*", "a code: no white space at the ends, single spaces inside"),
    "id": _matching(r"[A-Za-z0-9\-.]{1,64}", "an id: 1 to 64 of letters, digits, - and ."),
    "uri": _URI,
    "url": _URI,
    "canonical": _URI,
    "oid": _matching(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+", "an oid: urn:oid: and numbers with points"),
    "uuid": _matching(r"urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a uuid: urn:uuid: in lower case"),
    "base64Binary": _base64,
    "date": _on_calendar(rf"{_YEAR}(?:-(?:0[1-9]|1[0-2])|-{_DAY})?", "a date: YYYY, YYYY-MM or YYYY-MM-DD"),
    "dateTime": _on_calendar(
        rf"{_YEAR}(?:-(?:0[1-9]|1[0-2])|-{_DAY}(?:T{_TIME}{_ZONE})?)?",
        "a dateTime: YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with Z or an offset",
    ),
    "instant": _on_calendar(rf"{_YEAR}-{_DAY}T{_TIME}{_ZONE}", "an instant: YYYY-MM-DDThh:mm:ss with Z or an offset"),
    "time": _matching(_TIME, "a time: hh:mm:ss"),
}
"""FHIR primitive type -> its check."""
