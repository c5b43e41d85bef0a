"""How the answer to a search is wanted: its order, its size, and what comes with the matches.

https://hl7.org/fhir/R4/search.html#return
"""

from __future__ import annotations

from dataclasses import dataclass

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.query_filters import common_parameter, refuse_apart, shown

MOST_COUNT = 1000
MOST_SORTS = 5
SORTED_BY = ("date", "string", "number", "quantity", "token", "reference", "uri")
EVERY = "*"
_ITERATE = frozenset({"iterate", "recurse"})


@dataclass(frozen=True, kw_only=True)
class SortKey:
    """One sort criterion; `type` as in Filter, or `id` and `instant` for the columns."""

    param: str
    type: str
    descending: bool = False


@dataclass(frozen=True, kw_only=True)
class Include:
    """`_include=source:param[:target]`, or with `reverse` a `_revinclude`; with `iterate` also from what was included.

    `*` as `param` is every reference parameter, `*` as `source` every type.
    """

    source: str
    param: str
    target: str | None = None
    reverse: bool = False
    iterate: bool = False


def read_count(value: str) -> int:
    """A `_count`, cut at MOST_COUNT."""
    if not (value.isascii() and value.isdigit()) or len(value) > 9:
        raise Incorrect(f"_count is a number from 0 to {MOST_COUNT}.")
    return min(int(value), MOST_COUNT)


def read_total(value: str) -> str:
    """A `_total`."""
    if value not in {"none", "estimate", "accurate"}:
        raise Incorrect("_total is none, estimate or accurate.")
    return value


def read_sort(types: tuple[str, ...], value: str) -> tuple[SortKey, ...]:
    """The criteria of a `_sort`, first to last."""
    keys = [_sort_key(types, one.removeprefix("-"), one.startswith("-")) for one in value.split(",") if one]
    if len(keys) > MOST_SORTS:
        raise Incorrect(f"_sort takes up to {MOST_SORTS} parameters.")
    return tuple(keys)


def _sort_key(types: tuple[str, ...], code: str, descending: bool) -> SortKey:
    if code in {"_id", "_lastUpdated"}:
        return SortKey(param=code, type="id" if code == "_id" else "instant", descending=descending)
    parameter = common_parameter(types, code)
    if parameter is None or parameter.type not in SORTED_BY:
        kinds = ", ".join(SORTED_BY)
        raise Incorrect(
            f"_sort by {shown(code)} is not supported; _id, _lastUpdated and parameters of type {kinds} are."
        )
    return SortKey(param=code, type=parameter.type, descending=descending)


def read_include(types: tuple[str, ...], name: str, value: str) -> Include:
    """An `_include` or `_revinclude` of a search for `types`, with `:iterate` or without."""
    base, _, modifier = name.partition(":")
    if modifier and modifier not in _ITERATE:
        raise Incorrect(f"The modifier {shown(':' + modifier)} is not supported for {base}; supported: :iterate.")
    reverse, iterate = base == "_revinclude", modifier in _ITERATE
    if value == EVERY:
        return Include(source=EVERY, param=EVERY, reverse=reverse, iterate=iterate)
    source, _, rest = value.partition(":")
    param, _, target = rest.partition(":")
    if not _can_include(source, param, target):
        raise Incorrect(
            f"{base} is Type:parameter, Type:parameter:Target, Type:* or *, where the parameter is a reference of Type."
        )
    refuse_apart(source)
    refuse_apart(target)
    if not reverse and not iterate and source not in types:
        raise Incorrect(f"_include from {source} is not supported in a search for {types[0]} without :iterate.")
    return Include(source=source, param=param, target=target or None, reverse=reverse, iterate=iterate)


def _can_include(source: str, param: str, target: str) -> bool:
    if source not in resource_types() or (target and target not in resource_types()):
        return False
    if param == EVERY:
        return True
    found = common_parameter((source,), param)
    return found is not None and found.type == "reference"
