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
from fhir_tracker.fhir.xhtml import xhtml_fault

Fault = Callable[[Json], str | None]
"""What is wrong with a value and what would be right, to follow the element's name; None when it is right."""

LONGEST_STRING = 1024 * 1024
LARGEST_INTEGER = 2**31 - 1

_YEAR = r"(?!0000)[0-9]{4}"
_DAY = r"(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_VISIBLE = r"[^\s\x00-\x1f]"
_BASE64 = re.compile(r"\s*+(?:[0-9A-Za-z+/]{4}\s*+)*+(?:[0-9A-Za-z+/]{2}==|[0-9A-Za-z+/]{3}=)?\s*+")
"""Nothing is tried twice: white space could be split between its parts in as many ways as it is long."""
_MARK = "\ufeff"
"""A byte order mark, which is no text."""
_URN = re.compile(
    r"urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+|(?!urn:uuid:|urn:oid:).*",
    re.DOTALL,
)
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")


def _text(value: Json) -> str | None:
    if type(value) is not str:
        return f"is {kind(value)}; it must be a string"
    if not value or value == _MARK:
        return "is empty; leave it out or give it a value"
    return f"is longer than {LONGEST_STRING} characters" if len(value) > LONGEST_STRING else None


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
    if value and not value.isspace() and _BASE64.fullmatch(value):
        return None
    return "is not base64: groups of 4 of A-Z a-z 0-9 + /, white space between groups only"


def _uri(value: Json) -> str | None:
    wrong = _visible(value)
    if wrong is None and value.startswith(("urn:", "oid:", "uuid:")):
        if value.startswith(("oid:", "uuid:")):
            return "is not a uri: oid and uuid are written urn:oid: and urn:uuid:"
        if not _URN.fullmatch(value):
            return "is not a right urn: urn:uuid: has a UUID in lower case after it, urn:oid: numbers with points"
    return wrong


def _canonical(value: Json) -> str | None:
    wrong = _uri(value)
    if wrong is None and value[0] != "#" and not SCHEME.match(value):
        return "is not a canonical URL: an absolute URL, or # and the id of a contained resource"
    return wrong


def _xhtml(value: Json) -> str | None:
    wrong = _text(value)
    return xhtml_fault(value) if wrong is None else wrong


def _number_kind(value: Json) -> str:
    return "a fraction" if isinstance(value, (float, Decimal)) else kind(value)


_visible = _matching(rf"{_VISIBLE}+", "a uri: one or more characters without white space")
_CODE = _matching(rf"{_VISIBLE}+(?: {_VISIBLE}+)*", "a code: no white space at the ends, single spaces inside")

PRIMITIVES: dict[str, Fault] = {
    "boolean": _boolean,
    "integer": _integer(-LARGEST_INTEGER - 1),
    "unsignedInt": _integer(0),
    "positiveInt": _integer(1),
    "decimal": _decimal,
    "string": _text,
    "markdown": _text,
    "xhtml": _xhtml,
    "code": _CODE,
    "id": _matching(r"[A-Za-z0-9\-.]{1,64}", "an id: 1 to 64 of letters, digits, - and ."),
    "uri": _uri,
    "url": _uri,
    "canonical": _canonical,
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
