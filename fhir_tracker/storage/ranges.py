"""Comparisons of search values with the ranges and texts that the index holds.

https://hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

import math

from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, not_, or_, select, type_coerce

from fhir_tracker.fhir.dates import OPEN_END, OPEN_START
from fhir_tracker.fhir.query_values import DateValue, NearValue, NumberValue, StringValue, UriValue
from fhir_tracker.storage.indexing import LONGEST_TEXT
from fhir_tracker.storage.tables import ixd, ixn, ixs, resource

KILOMETRES_A_DEGREE = 111.195
YEAR = 366 * 86_400_000
"""The longest time that a date without an end of its own covers, in milliseconds."""
_LAST = "\U0010ffff"


def in_dates(value: DateValue, *, short: bool = False) -> ColumnElement[bool]:
    """Whether a row of dates compares with `value` as its prefix says.

    With `short` no row is longer than a year, which keeps the search in a part of the index.
    """
    low, high = ixd.c.lo, ixd.c.hi
    equal = and_(low >= value.low, low < value.high, high <= value.high)
    by_prefix = {
        "eq": equal,
        "ne": not_(equal),
        "gt": high > value.high,
        "lt": low < value.low,
        "ge": or_(high > value.high, equal),
        "le": and_(low < value.high, or_(low < value.low, equal)),
        "sa": low >= value.high,
        "eb": and_(low < value.low, high <= value.low),
        "ap": and_(low < value.high, high > value.low),
    }
    reaching = {"gt": value.high, "ge": min(value.low + YEAR, value.high), "ap": value.low}
    if short and value.prefix in reaching:
        return and_(low > max(reaching[value.prefix] - YEAR, OPEN_START) - 1, by_prefix[value.prefix])
    return by_prefix[value.prefix]


def in_numbers(value: NumberValue) -> ColumnElement[bool]:
    """A stored number is the range its digits stand for; it is compared by its middle, a Range by the side that counts."""
    return _compared(value, ixn.c.lo, ixn.c.hi)


def in_number_pairs(first: NumberValue, second: NumberValue) -> ColumnElement[bool]:
    """Whether a row of two whole numbers, one a column, compares with both values."""
    return and_(*(_compared(value, at - 0.5, at + 0.5) for value, at in ((first, ixn.c.lo), (second, ixn.c.hi))))


def _compared(value: NumberValue, low: ColumnElement[float], high: ColumnElement[float]) -> ColumnElement[bool]:
    equal = and_(low < value.high, high > value.low, (low + high) / 2 >= value.low, (low + high) / 2 < value.high)
    by_prefix = {
        "eq": equal,
        "ne": not_(equal),
        "gt": (low + high) / 2 > value.value,
        "lt": (low + high) / 2 < value.value,
        "ge": (low + high) / 2 >= value.value,
        "le": (low + high) / 2 <= value.value,
        "sa": low >= value.high,
        "eb": high <= value.low,
        "ap": and_(low <= value.value + abs(value.value) / 10, high >= value.value - abs(value.value) / 10),
    }
    return by_prefix[value.prefix]


def in_strings(value: StringValue, modifier: str | None) -> ColumnElement[bool]:
    """Whether a row of texts starts with, is or contains `value`."""
    folded = value.folded[:LONGEST_TEXT]
    if modifier == "exact":
        return and_(ixs.c.v == folded, ixs.c.exact == value.text[:LONGEST_TEXT])
    if modifier == "contains":
        return ixs.c.v.contains(folded, autoescape=True)
    return and_(ixs.c.v >= folded, ixs.c.v < folded + _LAST)


def is_below(value: UriValue) -> ColumnElement[bool]:
    """Whether a row's uri is `value` or a path under it."""
    uri = value.uri[:LONGEST_TEXT]
    under = uri if uri.endswith("/") else f"{uri}/"
    return or_(ixs.c.v == uri, and_(ixs.c.v >= under, ixs.c.v < under + _LAST))


def is_near(value: NearValue, latitude_key: int, longitude_key: int) -> Select[tuple[int]]:
    """The `k` of places within the distance, taken flat: right to a few per cent up to some hundred kilometres."""
    east, north = ixn.alias("east"), ixn.alias("north")
    up = (north.c.lo + north.c.hi) / 2 - value.latitude
    plain = (east.c.lo + east.c.hi) / 2 - value.longitude
    shorter = case((plain > 180, plain - 360), (plain < -180, plain + 360), else_=plain)
    across = shorter * math.cos(math.radians(value.latitude))
    degrees = value.kilometres / KILOMETRES_A_DEGREE
    found = select(north.c.k).join_from(north, east, and_(east.c.k == north.c.k, east.c.h == longitude_key))
    box = north.c.lo.between(value.latitude - degrees - 1, value.latitude + degrees + 1)
    return found.where(north.c.h == latitude_key, box, up * up + across * across <= degrees * degrees)


def updated(value: DateValue) -> ColumnElement[bool]:
    """`lastUpdated` is served in milliseconds and kept in microseconds: both ends are those of whole milliseconds."""
    moment = type_coerce(resource.c.updated_at, BigInteger)
    low, high = max(value.low * 1000, OPEN_START), min(value.high * 1000, OPEN_END)
    inside = and_(moment >= low, moment < high)
    by_prefix = {
        "eq": inside,
        "ap": inside,
        "ne": not_(inside),
        "gt": moment >= high,
        "sa": moment >= high,
        "lt": moment < low,
        "eb": moment < low,
        "ge": moment >= low,
        "le": moment < high,
    }
    return by_prefix[value.prefix]
