"""Which elements a search parameter reads, so that nobody searches by what they may not see.

https://hl7.org/fhir/R4/searchparameter.html#SearchParameter
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from types import MappingProxyType

from fhir_tracker.fhir.definitions.registry import SearchParameter
from fhir_tracker.fhir.expressions import Hop, NotCompilable, TypedPath, compile_expression
from fhir_tracker.fhir.own_parameters import parameters_of

_CHOICE = "[x]"
Steps = tuple[str, ...]


@lru_cache(maxsize=1024)
def parameters_reading(type_: str, paths: frozenset[str]) -> frozenset[str]:
    """The parameters of a type that read any of these elements (such as `note` or `input.value[x]`), a part or a whole of one.

    Those of which it is not known what they read are among them.
    """
    wanted = [tuple(path.split(".")) for path in paths]
    return frozenset(
        code
        for code, read in _reads(type_).items()
        if wanted and (not read or any(_meet(one, other) for one in read for other in wanted))
    )


@cache
def _reads(type_: str) -> Mapping[str, frozenset[Steps]]:
    return MappingProxyType({code: frozenset(_paths(type_, one)) for code, one in parameters_of(type_).items()})


def _paths(type_: str, parameter: SearchParameter) -> Iterable[Steps]:
    """Member names from the root on."""
    for path in _compiled(parameter.expression, type_):
        begun = _names(path.hops)
        if not parameter.components:
            yield begun
        for part in parameter.components:
            for inner in _compiled(part.expression, path.type):
                yield (*begun, *_names(inner.hops))


def _compiled(expression: str, type_: str) -> tuple[TypedPath, ...]:
    try:
        return compile_expression(expression, type_)
    except NotCompilable:
        return ()


def _names(hops: Iterable[Hop]) -> Steps:
    return tuple(hop for hop in hops if isinstance(hop, str))


def _meet(read: Steps, hidden: Steps) -> bool:
    """Whether one leads to the other, or to what is around it."""
    return all(_is(one, other) for one, other in zip(read, hidden, strict=False))


def _is(name: str, element: str) -> bool:
    if not element.endswith(_CHOICE):
        return name == element
    stem = element.removesuffix(_CHOICE)
    rest = name.removeprefix(stem)
    return name.startswith(stem) and (not rest or rest[0].isupper())
