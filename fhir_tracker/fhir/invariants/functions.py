"""The FHIRPath functions that the official invariants use, over parsed JSON.

https://hl7.org/fhirpath/N1/#functions
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from fhir_tracker.fhir.invariants.paths import children, descendants
from fhir_tracker.fhir.invariants.values import NO_VALUE, Scope, Values, distinct, has, truth
from fhir_tracker.fhir.json_types import Json

Function = Callable[[Values, list[Values], Scope], Values]
_LONGEST_SUBJECT = 4096


def _exists(values: Values, arguments: list[Values], scope: Scope) -> Values:
    return [bool(values)]


def _empty(values: Values, arguments: list[Values], scope: Scope) -> Values:
    return [not values]


def _not(values: Values, arguments: list[Values], scope: Scope) -> Values:
    answer = truth(values)
    return [] if answer is None else [not answer]


def _has_value(values: Values, arguments: list[Values], scope: Scope) -> Values:
    return [len(values) == 1 and values[0] is not NO_VALUE and type(values[0]) is not dict]


def _count(values: Values, arguments: list[Values], scope: Scope) -> Values:
    return [len(values)]


def _first(values: Values, arguments: list[Values], scope: Scope) -> Values:
    return values[:1]


def _tail(values: Values, arguments: list[Values], scope: Scope) -> Values:
    return values[1:]


def _is_distinct(values: Values, arguments: list[Values], scope: Scope) -> Values:
    if all(type(one) is str for one in values):
        return [len(set(values)) == len(values)]
    return [len(distinct(values)) == len(values)]


def _combine(values: Values, arguments: list[Values], scope: Scope) -> Values:
    return values + arguments[0]


def _intersect(values: Values, arguments: list[Values], scope: Scope) -> Values:
    return distinct([one for one in values if has(arguments[0], one)])


def _children(values: Values, arguments: list[Values], scope: Scope) -> Values:
    return [below for one in values for below in children(one)]


def _descendants(values: Values, arguments: list[Values], scope: Scope) -> Values:
    return [below for one in values for below in descendants(one)]


def _of_text(work: Callable[[str, str], Json]) -> Function:
    """A function of one string with one string argument; nothing when either is not there."""

    def run(values: Values, arguments: list[Values], scope: Scope) -> Values:
        texts = [*values, *arguments[0]]
        return [work(*texts)] if len(texts) == 2 and len(values) == 1 and all(type(one) is str for one in texts) else []

    return run


@lru_cache(maxsize=64)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _matches(text: str, pattern: str) -> bool:
    return len(text) <= _LONGEST_SUBJECT and bool(_pattern(pattern).search(text))


def _substring(values: Values, arguments: list[Values], scope: Scope) -> Values:
    return [values[0][arguments[0][0] :]] if len(values) == 1 and type(values[0]) is str else []


def _replace_matches(values: Values, arguments: list[Values], scope: Scope) -> Values:
    if len(values) != 1 or type(values[0]) is not str or len(values[0]) > _LONGEST_SUBJECT:
        return []
    return [_pattern(arguments[0][0]).sub(arguments[1][0], values[0])]


def _to_integer(values: Values, arguments: list[Values], scope: Scope) -> Values:
    if len(values) != 1:
        return []
    found = re.fullmatch(r"[+-]?[0-9]{1,18}", str(values[0]), re.ASCII)
    return [int(found[0])] if found else []


def _to_string(values: Values, arguments: list[Values], scope: Scope) -> Values:
    return [str(one) for one in values if one is not NO_VALUE and type(one) is not dict][:1]


def _resolve(values: Values, arguments: list[Values], scope: Scope) -> Values:
    """Only what is contained: other references point outside of what is checked."""
    held = scope.root.get("contained")
    inside = {one.get("id"): one for one in held if type(one) is dict} if type(held) is list else {}
    texts = [one.get("reference") for one in values if type(one) is dict]
    return [inside[text[1:]] for text in texts if type(text) is str and text[:1] == "#" and text[1:] in inside]


FUNCTIONS: dict[str, Function] = {
    "exists": _exists,
    "empty": _empty,
    "not": _not,
    "hasValue": _has_value,
    "count": _count,
    "first": _first,
    "tail": _tail,
    "isDistinct": _is_distinct,
    "combine": _combine,
    "intersect": _intersect,
    "children": _children,
    "descendants": _descendants,
    "startsWith": _of_text(str.startswith),
    "contains": _of_text(str.__contains__),
    "matches": _of_text(_matches),
    "substring": _substring,
    "replaceMatches": _replace_matches,
    "toInteger": _to_integer,
    "toString": _to_string,
    "resolve": _resolve,
}
