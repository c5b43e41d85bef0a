"""A search filter as a condition on the index: which resources, by their `k`, it lets through.

https://hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from sqlalchemy import BigInteger, ColumnElement, Select, Table, and_, not_, or_, select, type_coerce

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import OPEN_END, OPEN_START
from fhir_tracker.fhir.query import Filter
from fhir_tracker.fhir.query_values import (
    CompositeValue,
    DateValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
)
from fhir_tracker.storage.hashes import (
    COMBINED,
    parameter_key,
    presence_key,
    reference_key,
    together,
    token_key,
    uri_key,
)
from fhir_tracker.storage.indexing import LONGEST_TEXT, joined
from fhir_tracker.storage.tables import ix, ixd, ixn, ixs, resource

_TABLES = {"date": ixd, "string": ixs, "number": ixn, "quantity": ixn}
_LAST = "\U0010ffff"


def found_by(type_: str, one: Filter) -> Select[tuple[int]]:
    """The `k` of the resources a filter's values are in, without regard to `:not` and `:missing=true`."""
    if one.missing is not None:
        return _present(type_, one)
    keys = filter_keys(type_, one)
    if keys is not None:
        return select(ix.c.k).where(ix.c.h.in_(keys) if len(keys) != 1 else ix.c.h == keys[0])
    table, conditions = _ranges(type_, one)
    return select(table.c.k).where(or_(*conditions))


def holds(type_: str, one: Filter, k: ColumnElement[int], *, fenced: bool) -> ColumnElement[bool]:
    """Whether the filter lets the resource `k` through; `fenced` keeps PostgreSQL from turning the probe into a join."""
    if one.param == "_id":
        return resource.c.id.in_([value.code for value in one.values if isinstance(value, TokenValue)])
    if one.param == "_lastUpdated":
        return or_(*(_updated(value) for value in one.values if isinstance(value, DateValue)))
    probe = _probe(found_by(type_, one), k, fenced=fenced)
    return not_(probe) if one.modifier == "not" or one.missing is True else probe


def filter_keys(type_: str, one: Filter) -> list[int] | None:
    """The keys of which one must be there; None for filters by range or text."""
    keys: list[int] = []
    param = f"{one.param}:identifier" if one.modifier == "identifier" else one.param
    for value in one.values:
        found = _keys(type_, param, value)
        if found is None:
            return None
        keys.extend(found)
    return keys if one.values else None


def is_positive(one: Filter) -> bool:
    """Whether the filter's own index rows lead to what it lets through."""
    return one.modifier != "not" and one.missing is not True and one.param not in {"_id", "_lastUpdated"}


def combined(type_: str, filters: Sequence[Filter]) -> tuple[int | None, tuple[Filter, ...]]:
    """The one key of two filters that are indexed together, and the filters that remain; None when there is none."""
    if type_ not in COMBINED:
        return None, tuple(filters)
    common, partners, _ = COMBINED[type_]
    first = next((one for one in filters if one.param == common and _is_single(one)), None)
    second = next((one for one in filters if one.param in partners and _is_single(one)), None)
    if first is None or second is None:
        return None, tuple(filters)
    ones, others = filter_keys(type_, first), filter_keys(type_, second)
    value, partner = first.values[0], second.values[0]
    by_code = isinstance(value, TokenValue) and value.system is None
    names_system = isinstance(partner, TokenValue) and partner.code is None
    if not ones or not others or len(others) != 1 or not by_code or names_system:
        return None, tuple(filters)
    return together(ones[0], others[0]), tuple(one for one in filters if one is not first and one is not second)


def _is_single(one: Filter) -> bool:
    return len(one.values) == 1 and one.modifier is None and one.missing is None


def _probe(found: Select[tuple[int]], k: ColumnElement[int], *, fenced: bool) -> ColumnElement[bool]:
    matching = found.where(found.selected_columns.k == k).correlate(resource)
    return (matching.offset(0) if fenced else matching).exists()


def _present(type_: str, one: Filter) -> Select[tuple[int]]:
    table = _TABLES.get(one.type, ix)
    key = presence_key(type_, one.param) if table is ix else parameter_key(type_, one.param)
    return select(table.c.k).where(table.c.h == key)


def _keys(type_: str, param: str, value: Value) -> list[int] | None:
    match value:
        case TokenValue():
            return [token_key(type_, param, value.system, value.code)]
        case ReferenceValue():
            return [reference_key(type_, param, target) for target in value.targets]
        case UriValue():
            return [uri_key(type_, param, value.uri)]
        case CompositeValue():
            parts = [_keys(type_, param, part) for part in value.parts]
            chosen = [part for part in parts if part is not None]
            return [joined(type_, param, keys) for keys in product(*chosen)] if len(chosen) == len(parts) else None
    return None


def _ranges(type_: str, one: Filter) -> tuple[Table, list[ColumnElement[bool]]]:
    found = [_range(type_, one.param, value, one.modifier) for value in one.values]
    return found[0][0], [condition for _, condition in found]


def _range(type_: str, param: str, value: Value, modifier: str | None) -> tuple[Table, ColumnElement[bool]]:
    if isinstance(value, CompositeValue):
        return _composite_range(type_, param, value)
    key = parameter_key(type_, param)
    if isinstance(value, QuantityValue) and value.unit:
        key = token_key(type_, param, value.system, value.unit)
    table, condition = _within(value, modifier)
    return table, and_(table.c.h == key, condition)


def _composite_range(type_: str, param: str, value: CompositeValue) -> tuple[Table, ColumnElement[bool]]:
    keyed = [keys for part in value.parts if (keys := _keys(type_, param, part)) is not None]
    ranged = [part for part in value.parts if _keys(type_, param, part) is None]
    if len(ranged) != 1:
        raise Incorrect(f"The parameter {param} cannot be searched by two ranges at once.")
    table, condition = _within(ranged[0], None)
    keys = [joined(type_, param, chosen) for chosen in product(*keyed)]
    if isinstance(ranged[0], QuantityValue):
        amount = ranged[0]
        unit = token_key(type_, param, amount.system, amount.unit) if amount.unit else parameter_key(type_, param)
        keys = [together(key, unit) for key in keys]
    return table, and_(table.c.h.in_(keys), condition)


def _within(value: Value, modifier: str | None) -> tuple[Table, ColumnElement[bool]]:
    match value:
        case DateValue():
            return ixd, _in_dates(value)
        case NumberValue():
            return ixn, _in_numbers(value)
        case QuantityValue():
            return ixn, _in_numbers(value.number)
        case StringValue():
            return ixs, _in_strings(value, modifier)
    raise Incorrect("This combination of values cannot be searched by.")


def _in_dates(value: DateValue) -> ColumnElement[bool]:
    low, high = ixd.c.lo, ixd.c.hi
    equal = and_(low >= value.low, low < value.high, high <= value.high)
    by_prefix = {
        "eq": equal,
        "ne": not_(equal),
        "gt": high > value.high,
        "lt": low < value.low,
        "ge": or_(high > value.high, equal),
        "le": or_(low < value.low, equal),
        "sa": low >= value.high,
        "eb": high <= value.low,
        "ap": and_(low < value.high, high > value.low),
    }
    return by_prefix[value.prefix]


def _in_numbers(value: NumberValue) -> ColumnElement[bool]:
    """A stored number is the range its digits stand for; it is compared by its middle, a Range by the side that counts."""
    low, high = ixn.c.lo, ixn.c.hi
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


def _in_strings(value: StringValue, modifier: str | None) -> ColumnElement[bool]:
    folded = value.folded[:LONGEST_TEXT]
    if modifier == "exact":
        return and_(ixs.c.v == folded, ixs.c.exact == value.text[:LONGEST_TEXT])
    if modifier == "contains":
        return ixs.c.v.contains(folded, autoescape=True)
    return and_(ixs.c.v >= folded, ixs.c.v < folded + _LAST)


def _updated(value: DateValue) -> ColumnElement[bool]:
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
