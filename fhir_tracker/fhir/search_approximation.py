"""Approximate dates (`ap`) widened by a tenth of the gap between them and now, as R4 recommends.

https://hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

from dataclasses import replace

from fhir_tracker.fhir.dates import OPEN_END, OPEN_START
from fhir_tracker.fhir.query import Query
from fhir_tracker.fhir.query_filters import Filter
from fhir_tracker.fhir.query_values import CompositeValue, DateValue, Value


def is_approximate(query: Query) -> bool:
    """Whether some date is asked for with `ap`, which means something else at each moment."""
    return any(map(_is_open, query.filters))


def settled(query: Query, now: int) -> Query:
    """`query` with every approximate date widened as at `now`, in milliseconds since 1970; what it is called stays the same."""
    if not is_approximate(query):
        return query
    return replace(query, filters=tuple(_settled(one, now) for one in query.filters))


def _is_open(one: Filter) -> bool:
    return any(map(_is_open_value, one.values)) or any(_is_open(link.filter) for link in one.links)


def _is_open_value(value: Value) -> bool:
    if isinstance(value, CompositeValue):
        return any(map(_is_open_value, value.parts))
    return isinstance(value, DateValue) and value.prefix == "ap"


def _settled(one: Filter, now: int) -> Filter:
    values = tuple(_widened(value, now) for value in one.values)
    links = tuple(replace(link, filter=_settled(link.filter, now)) for link in one.links)
    return replace(one, values=values, links=links)


def _widened(value: Value, now: int) -> Value:
    if isinstance(value, CompositeValue):
        return replace(value, parts=tuple(_widened(part, now) for part in value.parts))
    if not isinstance(value, DateValue) or value.prefix != "ap":
        return value
    gap = max(value.low - now, now - value.high, 0)
    low, high = max(value.low - gap // 10, OPEN_START), min(value.high + gap // 10, OPEN_END)
    return replace(value, low=low, high=high)
