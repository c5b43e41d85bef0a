"""A search as it was asked for: the parameters of a URL made into a checked query, knowing nothing of how it is answered.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TypeVar

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.definitions.registry import SearchParameter, resource_types
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.query_values import TokenValue, Value, read_date, read_value, split, unescape
from fhir_tracker.fhir.search_values import unindexed_reason

V = TypeVar("V")
DEFAULT_COUNT = 50
MOST_COUNT = 1000
MOST_PARAMETERS = 50
MOST_ALTERNATIVES = 200
LONGEST_VALUE = 2000
NOT_FILTERS = frozenset({"_format", "_pretty"})
"""Parameters that are about the answer's form; whoever answers reads them."""
MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "token": ("not", "missing"),
    "reference": ("identifier", "missing"),
    "string": ("exact", "contains", "missing"),
    "date": ("missing",),
    "number": ("missing",),
    "quantity": ("missing",),
    "uri": ("missing",),
    "composite": ("missing",),
}
SORTED_BY = ("date", "string", "number", "quantity")


@dataclass(frozen=True, kw_only=True)
class Filter:
    """One condition: any of `values` (none when `missing` is set). `type` is the search type; `_id` and `_lastUpdated` are params too."""

    param: str
    type: str
    values: tuple[Value, ...] = ()
    modifier: str | None = None
    missing: bool | None = None


@dataclass(frozen=True, kw_only=True)
class SortKey:
    """One sort criterion; `type` as in Filter, or `id` and `instant` for the columns."""

    param: str
    type: str
    descending: bool = False


@dataclass(frozen=True, kw_only=True)
class Include:
    """`_include=source:param[:target]`, or with `reverse` a `_revinclude`."""

    source: str
    param: str
    target: str | None = None
    reverse: bool = False


@dataclass(frozen=True, kw_only=True)
class Query:
    """All conditions must hold. `applied` are the pairs that count, for the self link; `ignored` the names passed over."""

    type: str
    filters: tuple[Filter, ...] = ()
    sort: tuple[SortKey, ...] = ()
    count: int = DEFAULT_COUNT
    only_count: bool = False
    total: str | None = None
    includes: tuple[Include, ...] = ()
    applied: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Equal for queries whose pages belong to one walk: all but `_count` and `_total`."""
        walked = [f"{key}={value}" for key, value in self.applied if key not in {"_count", "_total"}]
        return blake2b("\x1f".join([self.type, *walked]).encode(), digest_size=9).hexdigest()


@dataclass(kw_only=True)
class _Reading:
    type: str
    own_base: str
    strict: bool
    filters: list[Filter] = field(default_factory=list)
    sort: tuple[SortKey, ...] = ()
    count: int = DEFAULT_COUNT
    only_count: bool = False
    total: str | None = None
    includes: list[Include] = field(default_factory=list)
    applied: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def parse_query(type_: str, pairs: Sequence[tuple[str, str]], *, strict: bool, own_base: str = "") -> Query:
    """The query of a search on `type_` by decoded `pairs` of name and value; `own_base` is our FHIR address without closing slash.

    A name that is not known or not supported is put into `ignored`, or with `strict` raises Incorrect. A wrong value or
    modifier always raises Incorrect, naming the parameter and what is supported. Empty values are passed over.
    """
    if len(pairs) > MOST_PARAMETERS:
        raise Incorrect(f"A search takes up to {MOST_PARAMETERS} parameters; this one has {len(pairs)}.")
    reading = _Reading(type=type_, own_base=own_base.rstrip("/"), strict=strict)
    for name, value in pairs:
        _check_text(name, value)
        if name in NOT_FILTERS or not value:
            continue
        if _read(reading, name, value):
            reading.applied.append((name, value))
        elif strict:
            raise Incorrect(f"The parameter {_shown(name)} is not supported for {type_}.")
        else:
            reading.ignored.append(name)
    return Query(
        type=type_,
        filters=tuple(reading.filters),
        sort=reading.sort,
        count=reading.count,
        only_count=reading.only_count or reading.count == 0,
        total=reading.total,
        includes=tuple(reading.includes),
        applied=tuple(reading.applied),
        ignored=tuple(dict.fromkeys(reading.ignored)),
    )


def _check_text(name: str, value: str) -> None:
    if len(name) > 200 or len(value) > LONGEST_VALUE:
        raise Incorrect(f"A search parameter is longer than {LONGEST_VALUE} characters.")
    for text in (name, value):
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise Incorrect("A search parameter holds a character that no text can hold.")


def _read(reading: _Reading, name: str, value: str) -> bool:
    """True when the pair counts; False when it is not known or not supported."""
    match name:
        case "_count":
            reading.count = _count(value)
        case "_sort":
            reading.sort = _sort(reading.type, value)
        case "_summary":
            if value not in {"count", "false"}:
                return False
            reading.only_count = value == "count"
        case "_total":
            if value not in {"none", "estimate", "accurate"}:
                raise Incorrect("_total is none, estimate or accurate.")
            reading.total = value
        case "_include" | "_revinclude":
            reading.includes.append(_include(reading.type, name, value))
        case _:
            return _filter(reading, name, value)
    return True


def _filter(reading: _Reading, name: str, value: str) -> bool:
    code, colon, modifier = name.partition(":")
    if "." in name or code == "_has":
        raise Incorrect(f"{_shown(name)}: chained and reverse chained parameters are not supported.")
    if code == "_id":
        _refuse_modifier(code, modifier, ())
        ids = tuple(TokenValue(system=None, code=unescape(one)) for one in _alternatives(code, value))
        reading.filters.append(Filter(param=code, type="id", values=ids))
        return True
    if code == "_lastUpdated":
        _refuse_modifier(code, modifier, ())
        moments = tuple(_said(code, one, read_date) for one in _alternatives(code, value))
        reading.filters.append(Filter(param=code, type="instant", values=moments))
        return True
    parameter = parameters_of(reading.type).get(code)
    if parameter is None or unindexed_reason(reading.type, code) is not None or parameter.type not in MODIFIERS:
        return False
    reading.filters.append(_condition(reading, parameter, modifier if colon else None, value))
    return True


def _condition(reading: _Reading, parameter: SearchParameter, modifier: str | None, value: str) -> Filter:
    code = parameter.code
    if modifier is not None:
        types = resource_types() if parameter.type == "reference" else frozenset[str]()
        if modifier not in types:
            _refuse_modifier(code, modifier, MODIFIERS[parameter.type], may_name_type=bool(types))
    if modifier == "missing":
        if value not in {"true", "false"}:
            raise Incorrect(f"{code}:missing is true or false.")
        return Filter(param=code, type=parameter.type, modifier=modifier, missing=value == "true")

    def read(text: str) -> Value:
        return read_value(parameter, text, modifier, reading.own_base)

    values = tuple(_said(code, one, read) for one in _alternatives(code, value))
    return Filter(param=code, type=parameter.type, values=values, modifier=modifier)


def _said(code: str, text: str, read: Callable[[str], V]) -> V:
    try:
        return read(text)
    except Incorrect as error:
        raise Incorrect(f"The value of the parameter {code} cannot be read: {error.message}") from None


def _alternatives(code: str, value: str) -> list[str]:
    parts = [part for part in split(value, ",") if part]
    if not parts or len(parts) > MOST_ALTERNATIVES:
        raise Incorrect(f"{code} takes 1 to {MOST_ALTERNATIVES} values with commas between them.")
    return parts


def _refuse_modifier(code: str, modifier: str, supported: tuple[str, ...], *, may_name_type: bool = False) -> None:
    if not modifier or modifier in supported:
        return
    known = ", ".join(f":{one}" for one in supported) or "none"
    also = " and a resource type" if may_name_type else ""
    raise Incorrect(f"The modifier {_shown(':' + modifier)} is not supported for {code}; supported: {known}{also}.")


def _count(value: str) -> int:
    if not (value.isascii() and value.isdigit()) or len(value) > 9:
        raise Incorrect(f"_count is a number from 0 to {MOST_COUNT}.")
    return min(int(value), MOST_COUNT)


def _sort(type_: str, value: str) -> tuple[SortKey, ...]:
    keys = [_sort_key(type_, one.removeprefix("-"), one.startswith("-")) for one in value.split(",") if one]
    if len(keys) > 5:
        raise Incorrect("_sort takes up to 5 parameters.")
    return tuple(keys)


def _sort_key(type_: str, code: str, descending: bool) -> SortKey:
    if code in {"_id", "_lastUpdated"}:
        return SortKey(param=code, type="id" if code == "_id" else "instant", descending=descending)
    parameter = parameters_of(type_).get(code)
    if parameter is None or parameter.type not in SORTED_BY or unindexed_reason(type_, code) is not None:
        kinds = ", ".join(SORTED_BY)
        raise Incorrect(
            f"_sort by {_shown(code)} is not supported; _id, _lastUpdated and parameters of type {kinds} are."
        )
    return SortKey(param=code, type=parameter.type, descending=descending)


def _include(type_: str, name: str, value: str) -> Include:
    source, _, rest = value.partition(":")
    param, _, target = rest.partition(":")
    reverse = name == "_revinclude"
    found = parameters_of(source).get(param) if source in resource_types() else None
    if found is None or found.type != "reference" or (target and target not in resource_types()):
        raise Incorrect(
            f"{name} is Type:parameter or Type:parameter:Target, where the parameter is a reference of Type."
        )
    if not reverse and source != type_:
        raise Incorrect(f"_include from {source} is not supported in a search for {type_}.")
    return Include(source=source, param=param, target=target or None, reverse=reverse)


def _shown(name: str) -> str:
    return repr(name if len(name) <= 40 else f"{name[:40]}...")
