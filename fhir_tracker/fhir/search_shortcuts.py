"""What the search index need not hold, because other rows of it tell the same.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from fhir_tracker.fhir.definitions.registry import SearchParameter, elements, value_set
from fhir_tracker.fhir.expressions import NotCompilable, TypedPath, Where, compile_expression
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.search_converters import CONVERTERS, token_boolean, token_text
from fhir_tracker.fhir.search_unions import UNIONS

MOST_LISTED = 64
"""A system with more codes is not listed in a search for any of its codes."""
_KEYED = frozenset({"token", "reference", "uri"})
_PLAIN = frozenset({token_boolean, token_text})
_MOSTLY_THERE: Mapping[str, frozenset[str]] = {
    "Task": frozenset({"code", "performer", "priority", "subject"}),
    "Provenance": frozenset({"agent-type"}),
    "DiagnosticReport": frozenset({"subject"}),
    "DocumentReference": frozenset({"subject"}),
    "Encounter": frozenset({"subject"}),
    "Observation": frozenset({"subject"}),
}
"""Type -> parameters of optional elements that nearly every resource has, beside those that each must have."""


class Alias(NamedTuple):
    """A parameter with the values of `param` that refer to `type`."""

    param: str
    type: str


class OneSystem(NamedTuple):
    """All values of a parameter have this system (None: no system); `codes` are those it has, where they are listed."""

    system: str | None
    codes: tuple[str, ...]


@cache
def aliases(type_: str) -> Mapping[str, Alias]:
    """Parameter -> what it is an alias of, such as `patient` of `subject`."""
    by_hops: dict[tuple[object, ...], str] = {}
    found: dict[str, Alias] = {}
    narrowed: list[tuple[str, tuple[object, ...], str]] = []
    for code, paths in _single_paths(type_, "reference"):
        last = paths.hops[-1]
        if isinstance(last, Where) and not last.member:
            narrowed.append((code, paths.hops[:-1], last.value))
        else:
            by_hops.setdefault(paths.hops, code)
    for code, hops, target in narrowed:
        if hops in by_hops:
            found[code] = Alias(by_hops[hops], target)
    return found


@cache
def one_system(type_: str, param: str) -> OneSystem | None:
    """The one system of a token parameter, where no value can have another."""
    parameter = parameters_of(type_).get(param)
    if parameter is None or parameter.type != "token":
        return None
    systems: set[str | None] = set()
    codes: set[str] = set()
    for path in _paths(parameter, type_):
        listed = value_set(path.codes) if path.type == "code" and path.codes else {}
        if len(listed) == 1:
            systems |= set(listed)
            codes |= {code for some in listed.values() for code in some}
        elif path.presence or CONVERTERS.get(("token", path.type)) in _PLAIN:
            systems.add(None)
        elif ("token", path.type) in CONVERTERS:
            return None
    if len(systems) != 1 or len(codes) > MOST_LISTED:
        return None
    return OneSystem(systems.pop(), tuple(sorted(codes)))


@cache
def mostly_there(type_: str) -> frozenset[str]:
    """The parameters that nearly every resource of a type has a value for: the index tells which has none."""
    unions = UNIONS.get(type_, {})
    shared = {*unions, *(part for parts in unions.values() for part in parts)}
    found = {code for kind in _KEYED for code, path in _single_paths(type_, kind) if _is_required(type_, path)}
    found |= _MOSTLY_THERE.get(type_, frozenset())
    found |= {code for code, alias in aliases(type_).items() if alias.param == "subject" and "subject" in found}
    return frozenset(found - shared)


def _single_paths(type_: str, kind: str) -> Iterator[tuple[str, TypedPath]]:
    for code, parameter in parameters_of(type_).items():
        paths = _paths(parameter, type_) if parameter.type == kind else ()
        if len(paths) == 1 and paths[0].hops:
            yield code, paths[0]


def _paths(parameter: SearchParameter, type_: str) -> tuple[TypedPath, ...]:
    try:
        return compile_expression(parameter.expression, type_) if parameter.expression else ()
    except NotCompilable:
        return ()


def _is_required(type_: str, path: TypedPath) -> bool:
    here = type_
    for hop in path.hops:
        element = elements(here).get(hop) if isinstance(hop, str) else None
        if element is None or not element.required or len(element.types) != 1:
            return False
        (here,) = element.types
    return True
