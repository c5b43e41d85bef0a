"""A search filter as a condition on the index: which resources, by their `k`, it lets through.

https://hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from sqlalchemy import Column, ColumnElement, Select, Table, and_, false, not_, or_, select, true, union

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.expressions import compile_expression
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.query import Filter
from fhir_tracker.fhir.query_values import (
    CompositeValue,
    DateValue,
    NearValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
)
from fhir_tracker.fhir.search_shortcuts import mostly_there
from fhir_tracker.fhir.search_unions import parts_of
from fhir_tracker.fhir.search_values import gives_one_row
from fhir_tracker.storage.arrays import among
from fhir_tracker.storage.database import Dialect
from fhir_tracker.storage.hashes import (
    COMBINED,
    absence_key,
    parameter_key,
    presence_key,
    reference_key,
    together,
    token_key,
    token_keys,
    uri_key,
)
from fhir_tracker.storage.indexing import joined
from fhir_tracker.storage.ranges import in_dates, in_number_pairs, in_numbers, in_strings, is_below, is_near, updated
from fhir_tracker.storage.tables import ix, ixd, ixn, ixs, resource

_TABLES = {"date": ixd, "string": ixs, "number": ixn, "quantity": ixn, "special": ixn}
_MOST_PROBED = 64
"""A probe for more keys than this looks them all up once."""
Types = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What lets a resource through: a `column` condition, or being found by the index or one of `ks`; `negative` turns it round.

    `keys` are those of which one must be there, where that is all of `found`; `span` is where `found` are all rows of dates
    under one key with such moments.
    """

    found: Select[tuple[int]] | None = None
    ks: tuple[int, ...] = ()
    keys: tuple[int, ...] | None = None
    span: tuple[int, ColumnElement[bool]] | None = None
    column: ColumnElement[bool] | None = None
    negative: bool = False

    @property
    def leads(self) -> bool:
        """Whether the resources it lets through can be listed."""
        return not self.negative and self.column is None

    @property
    def is_single(self) -> bool:
        """Whether it is that one key is there."""
        return self.leads and self.keys is not None and len(self.keys) == 1 and not self.ks

    def holds(self, k: Column[int], dialect: Dialect) -> ColumnElement[bool]:
        """Whether it lets the resource `k` through.

        The index of keys is probed for `k`, which is kept from becoming a join on PostgreSQL. The others, whose rows of one `k`
        lie apart, are passed over once: as a list, or for the contrary on PostgreSQL as a join against.
        """
        if self.column is not None:
            return self.column
        ways = [among(dialect, k, self.ks)] if self.ks else []
        if self.found is not None and self.keys is not None and len(self.keys) <= _MOST_PROBED:
            ways.append(_probe(self.found, k, dialect))
        elif self.found is not None and self.negative and dialect == "postgresql":
            ways.append(self.found.where(self.found.selected_columns.k == k).correlate(k.table).exists())
        elif self.found is not None:
            ways.append(k.in_(self.found.offset(0).correlate(None)))
        condition = or_(*ways) if ways else false()
        return not_(condition) if self.negative else condition


def by_keys(dialect: Dialect, keys: Sequence[int], ks: Sequence[int] = ()) -> Condition:
    """The condition that one of these keys is there, or that the resource is one of `ks`."""
    found = select(ix.c.k).where(ix.c.h == keys[0] if len(keys) == 1 else among(dialect, ix.c.h, keys))
    return Condition(found=found if keys else None, keys=tuple(keys), ks=tuple(ks))


def condition(dialect: Dialect, types: Types, one: Filter) -> Condition:
    """The condition of a filter that asks no other resource; not for `chain` and `has`."""
    if one.type == "id":
        return Condition(column=_id_holds(one))
    if one.type == "instant":
        return Condition(column=_instant_holds(one))
    if one.missing is not None:
        return _presence(dialect, types, one)
    if one.type == "special":
        return Condition(found=_near(types, one))
    keys = filter_keys(types, one)
    if keys is None and one.type == "date" and len(types) == 1 and parts_of(types[0], one.param) == (one.param,):
        return _in_span(parameter_key(types[0], one.param), [_moments(one, short=_is_short(types, one.param))])
    if keys is None:
        return Condition(found=_ranged(dialect, types, one))
    return replace(by_keys(dialect, keys), negative=one.modifier == "not")


def filter_keys(types: Types, one: Filter) -> list[int] | None:
    """The keys of which one must be there; None for filters by range or text."""
    if one.modifier == "below" or one.type in {"id", "instant", "special", "chain", "has"}:
        return None
    keys: list[int] = []
    param = f"{one.param}:{one.modifier}" if one.modifier in {"identifier", "of-type"} else one.param
    for type_ in types:
        for value in _with_above(one):
            found = _keys(type_, param, value)
            if found is None:
                return None
            keys.extend(found)
    return list(dict.fromkeys(keys)) if one.values else None


def is_positive(one: Filter) -> bool:
    """Whether the filter's own index rows lead to what it lets through."""
    return one.modifier != "not" and one.missing is not True and one.type not in {"id", "instant"}


def combined(types: Types, filters: Sequence[Filter]) -> tuple[int | None, tuple[Filter, ...]]:
    """The one key of two filters that are indexed together, and the filters that remain; None when there is none."""
    if len(types) != 1 or types[0] not in COMBINED:
        return None, tuple(filters)
    common, partners, _ = COMBINED[types[0]]
    first = next((one for one in filters if one.param == common and _is_code(one)), None)
    second = next((one for one in filters if one.param in partners and _is_single(one)), None)
    if first is None or second is None:
        return None, tuple(filters)
    ones, others = filter_keys(types, first), filter_keys(types, second)
    partner = second.values[0]
    names_system = isinstance(partner, TokenValue) and partner.code is None
    if not ones or not others or len(others) != 1 or names_system:
        return None, tuple(filters)
    return together(ones[0], others[0]), tuple(one for one in filters if one is not first and one is not second)


def dated(types: Types, filters: Sequence[Filter]) -> tuple[list[Condition], tuple[Filter, ...]]:
    """The conditions of date filters that are indexed together with the usual parameter, and the filters that remain."""
    if len(types) != 1 or types[0] not in COMBINED:
        return [], tuple(filters)
    common, _, date = COMBINED[types[0]]
    first = next((one for one in filters if one.param == common and _is_code(one)), None)
    dates = [one for one in filters if one.param == date and one.values]
    if first is None or not dates:
        return [], tuple(filters)
    (code_key,) = filter_keys(types, first) or [0]
    key = together(code_key, parameter_key(types[0], date))
    return [_in_span(key, [_moments(one, short=True) for one in dates])], tuple(
        one for one in filters if one is not first and one not in dates
    )


def usual_key(types: Types, filters: Sequence[Filter]) -> int | None:
    """The key of the code that is usually given for a type, where it is given and dates are indexed together with it."""
    if len(types) != 1 or types[0] not in COMBINED:
        return None
    common, _, _ = COMBINED[types[0]]
    first = next((one for one in filters if one.param == common and _is_code(one)), None)
    return next(iter(filter_keys(types, first) or ()), None) if first is not None else None


def windows(types: Types, filters: Sequence[Filter]) -> tuple[list[Condition], tuple[Filter, ...]]:
    """The conditions of filters that give one date two limits, each as one range, and the filters that remain."""
    found: list[Condition] = []
    rest = tuple(filters)
    for param in dict.fromkeys(one.param for one in filters if one.type == "date" and one.values):
        limits = [one for one in rest if one.param == param and one.values]
        if len(types) == 1 and len(limits) > 1 and gives_one_row(types[0], param):
            inside = [_moments(one, short=_is_short(types, param)) for one in limits]
            found.append(_in_span(parameter_key(types[0], param), inside))
            rest = tuple(one for one in rest if one not in limits)
    return found, rest


def _in_span(key: int, inside: Sequence[ColumnElement[bool]]) -> Condition:
    return Condition(found=select(ixd.c.k).where(ixd.c.h == key, *inside), span=(key, and_(*inside)))


def _moments(one: Filter, *, short: bool) -> ColumnElement[bool]:
    return or_(*(in_dates(value, short=short) for value in one.values if isinstance(value, DateValue)))


@cache
def _is_short(types: Types, param: str) -> bool:
    """Whether every value is a date or moment, not a time with two ends."""
    return all(
        path.type in {"date", "dateTime", "instant"}
        for type_ in types
        for path in compile_expression(parameters_of(type_)[param].expression, type_)
    )


def _is_single(one: Filter) -> bool:
    return len(one.values) == 1 and one.modifier is None and one.missing is None and not one.links


def _is_code(one: Filter) -> bool:
    return _is_single(one) and isinstance(one.values[0], TokenValue) and one.values[0].system is None


def _probe(found: Select[tuple[int]], k: Column[int], dialect: Dialect) -> ColumnElement[bool]:
    matching = found.where(found.selected_columns.k == k).correlate(k.table)
    return (matching.offset(0) if dialect == "postgresql" else matching).exists()


def _id_holds(one: Filter) -> ColumnElement[bool]:
    if one.missing is not None:
        return false() if one.missing else true()
    named = resource.c.id.in_([value.code for value in one.values if isinstance(value, TokenValue)])
    return not_(named) if one.modifier == "not" else named


def _instant_holds(one: Filter) -> ColumnElement[bool]:
    if one.missing is not None:
        return false() if one.missing else true()
    return or_(*(updated(value) for value in one.values if isinstance(value, DateValue)))


def _presence(dialect: Dialect, types: Types, one: Filter) -> Condition:
    table = _TABLES.get(one.type, ix)
    if table is ix:
        return _keyed_presence(dialect, types, one)
    param = f"{one.param}:latitude" if one.type == "special" else one.param
    keys = [parameter_key(type_, part) for type_ in types for part in parts_of(type_, param)]
    return Condition(found=select(table.c.k).where(_one_of(dialect, table, keys)), negative=bool(one.missing))


def _keyed_presence(dialect: Dialect, types: Types, one: Filter) -> Condition:
    mostly = tuple(type_ for type_ in types if one.param in mostly_there(type_))
    seldom = tuple(type_ for type_ in types if type_ not in mostly)
    absent = replace(by_keys(dialect, [absence_key(type_, one.param) for type_ in mostly]), negative=not one.missing)
    keys = [presence_key(type_, part) for type_ in seldom for part in parts_of(type_, one.param)]
    present = replace(by_keys(dialect, keys), negative=bool(one.missing))
    if not mostly or not seldom:
        return absent if mostly else present
    each = ((mostly, absent), (seldom, present))
    ways = (and_(resource.c.type.in_(some), it.holds(resource.c.k, dialect)) for some, it in each)
    return Condition(column=or_(*ways))


def _near(types: Types, one: Filter) -> Select[tuple[int]]:
    latitudes, longitudes = (
        [parameter_key(type_, f"{one.param}:{name}") for type_ in types] for name in ("latitude", "longitude")
    )
    places = [value for value in one.values if isinstance(value, NearValue)]
    ways = [is_near(value, latitudes[0], longitudes[0]) for value in places]
    every = union(*ways).subquery()
    return select(every.c.k)


def _one_of(dialect: Dialect, table: Table, keys: Sequence[int]) -> ColumnElement[bool]:
    return table.c.h == keys[0] if len(keys) == 1 else among(dialect, table.c.h, keys)


def _with_above(one: Filter) -> Sequence[Value]:
    """With `:above` a uri also stands for each path that it lies under."""
    if one.modifier != "above":
        return one.values
    uris = [value.uri for value in one.values if isinstance(value, UriValue)]
    paths = [uri[:end] for uri in uris for end in range(1, len(uri)) if "/" in (uri[end], uri[end - 1])]
    return [UriValue(uri=one) for one in dict.fromkeys((*uris, *paths))]


def _keys(type_: str, param: str, value: Value) -> list[int] | None:
    found = [_own_keys(type_, part, value) for part in parts_of(type_, param)]
    known = [keys for keys in found if keys is not None]
    return [key for keys in known for key in keys] if len(known) == len(found) else None


def _own_keys(type_: str, param: str, value: Value) -> list[int] | None:
    match value:
        case TokenValue():
            return list(token_keys(type_, param, value.system, value.code))
        case ReferenceValue():
            return [reference_key(type_, param, target) for target in value.targets]
        case UriValue():
            return [uri_key(type_, param, value.uri)]
        case CompositeValue():
            parts = [_own_keys(type_, param, part) for part in value.parts]
            chosen = [part for part in parts if part is not None]
            return [joined(type_, param, keys) for keys in product(*chosen)] if len(chosen) == len(parts) else None
    return None


def _ranged(dialect: Dialect, types: Types, one: Filter) -> Select[tuple[int]]:
    found = [_range(dialect, types, one.param, value, one.modifier) for value in one.values]
    table = found[0][0]
    return select(table.c.k).where(or_(*(condition for _, condition in found)))


def _range(
    dialect: Dialect, types: Types, param: str, value: Value, modifier: str | None
) -> tuple[Table, ColumnElement[bool]]:
    if isinstance(value, CompositeValue):
        keys = [key for type_ in types for own in parts_of(type_, param) for key in _composite_keys(type_, own, value)]
        table, condition = _within_all([part for part in value.parts if _keys(types[0], param, part) is None])
        return table, and_(_one_of(dialect, table, keys), condition)
    keys = [_range_key(type_, part, value) for type_ in types for part in parts_of(type_, param)]
    if isinstance(value, DateValue):
        return ixd, and_(_one_of(dialect, ixd, keys), in_dates(value, short=_is_short(types, param)))
    table, condition = _within(value, modifier)
    return table, and_(_one_of(dialect, table, keys), condition)


def _range_key(type_: str, param: str, value: Value) -> int:
    if isinstance(value, QuantityValue) and value.unit:
        return token_key(type_, param, value.system, value.unit)
    return parameter_key(type_, param)


def _composite_keys(type_: str, param: str, value: CompositeValue) -> list[int]:
    keyed = [keys for part in value.parts if (keys := _own_keys(type_, param, part)) is not None]
    keys = [joined(type_, param, chosen) for chosen in product(*keyed)]
    amount = next((part for part in value.parts if isinstance(part, QuantityValue)), None)
    return keys if amount is None else [together(key, _range_key(type_, param, amount)) for key in keys]


def _within_all(values: Sequence[Value]) -> tuple[Table, ColumnElement[bool]]:
    """The parts of a composite that have no keys."""
    match values:
        case [NumberValue() as first, NumberValue() as second]:
            return ixn, in_number_pairs(first, second)
        case [value]:
            return _within(value, None)
    raise Incorrect("This combination of values cannot be searched by.")


def _within(value: Value, modifier: str | None) -> tuple[Table, ColumnElement[bool]]:
    match value:
        case DateValue():
            return ixd, in_dates(value)
        case NumberValue():
            return ixn, in_numbers(value)
        case QuantityValue():
            return ixn, in_numbers(value.number)
        case StringValue():
            return ixs, in_strings(value, modifier)
        case UriValue():
            return ixs, is_below(value)
    raise Incorrect("This combination of values cannot be searched by.")
