"""Equality, order and truth of FHIRPath values held as parsed JSON.

https://hl7.org/fhirpath/N1/#equality
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.fhir.json_types import Json, Resource

Values = list[Json]
_TO_SECONDS = len("2024-03-01T10:00:00")
_SECONDS = re.compile(r"T\d\d:\d\d:(\d\d(?:\.\d+)?)")


class _NoValue:
    """In place of a primitive that has only an `id` or extensions."""

    def __repr__(self) -> str:
        return "NO_VALUE"


NO_VALUE: Final = _NoValue()


@dataclass(slots=True)
class Scope:
    """What variables mean: the resource a value is in, the one that contains it if any, and the element of the rule."""

    resource: Resource
    root: Resource
    context: Json = None


def truth(values: Values) -> bool | None:
    """A collection as a boolean: None when empty; one value that is no boolean counts as true."""
    if not values:
        return None
    first = values[0]
    return first if len(values) == 1 and type(first) is bool else True


def equal(one: Json, other: Json) -> bool:
    """Whether two values are the same; a primitive without a value equals nothing, and true is not 1."""
    if one is NO_VALUE or other is NO_VALUE:
        return False
    return bool(one == other) and (type(one) is bool) == (type(other) is bool)


def all_equal(left: Values, right: Values) -> bool | None:
    """`=` of two collections: None when one is empty."""
    if not left or not right:
        return None
    return len(left) == len(right) and all(equal(one, other) for one, other in zip(left, right, strict=True))


def has(values: Values, wanted: Json) -> bool:
    """Whether a value is in a collection."""
    return any(equal(one, wanted) for one in values)


def distinct(values: Values) -> Values:
    """The values, each once."""
    found: Values = []
    for value in values:
        if not has(found, value):
            found.append(value)
    return found


def order(one: Json, other: Json, *, dates: bool) -> int | None:
    """-1, 0 or 1 for less, same or more; None when the two cannot be compared, such as 2024 with 2024-03."""
    if dates and type(one) is str and type(other) is str:
        return _order_of_dates(one, other)
    if type(one) is dict and type(other) is dict:
        return _order_of_quantities(one, other)
    if (_is_number(one) and _is_number(other)) or type(one) is type(other) is str:
        return -1 if one < other else int(one > other)
    return None


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float, Decimal)) and type(value) is not bool


def _order_of_dates(one: str, other: str) -> int | None:
    if len(one) == len(other) and one[_TO_SECONDS:] == other[_TO_SECONDS:]:
        return (one > other) - (one < other)
    try:
        left, right = parse_datetime(one), parse_datetime(other)
    except Incorrect:
        return None
    if "T" in one and "T" in other:
        minutes = (left.replace(second=0, microsecond=0), right.replace(second=0, microsecond=0))
        if minutes[0] != minutes[1]:
            return -1 if minutes[0] < minutes[1] else 1
        seconds = [Decimal(found[1]) for text in (one, other) if (found := _SECONDS.search(text))]
        return (seconds[0] > seconds[1]) - (seconds[0] < seconds[1]) if len(seconds) == 2 else None
    shorter = min(len(one.partition("T")[0]), len(other.partition("T")[0]))
    heads = (one[:shorter], other[:shorter])
    if heads[0] != heads[1]:
        return -1 if heads[0] < heads[1] else 1
    return 0 if len(one) == len(other) else None


def _order_of_quantities(one: Resource, other: Resource) -> int | None:
    """The order of two amounts in one unit; None where the units differ or an amount is missing."""
    by_code = all("code" in amount for amount in (one, other))
    names = ("system", "code") if by_code else ("unit",)
    if any(one.get(name) != other.get(name) for name in names):
        return None
    return order(one.get("value"), other.get("value"), dates=False)
