"""The conditions of a search, read from parameter names with modifiers, chains and reverse chains.

https://hl7.org/fhir/R4/search.html#chaining
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TypeVar

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.definitions.registry import SearchParameter, resource_types
from fhir_tracker.fhir.expressions import compile_expression
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.query_values import TokenValue, Value, read_date, read_value, split, unescape
from fhir_tracker.fhir.search_values import unindexed_reason

V = TypeVar("V")
MOST_ALTERNATIVES = 200
MOST_LINKS = 3
"""How many references one parameter may go along, forward and backward together."""
MOST_BRANCHES = 60
MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "token": ("not", "missing"),
    "reference": ("identifier", "missing"),
    "string": ("exact", "contains", "missing"),
    "date": ("missing",),
    "number": ("missing",),
    "quantity": ("missing",),
    "uri": ("above", "below", "missing"),
    "composite": ("missing",),
    "special": ("missing",),
}
APART = frozenset({"AuditEvent"})
"""Types that are searched by themselves alone: nothing leads to them from another search, and nothing from them."""
COLUMNS: Mapping[str, tuple[str, ...]] = {"_id": ("not", "missing"), "_lastUpdated": ("missing",)}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """One condition: any of `values` (none when `missing` is set).

    `type` is the search type, `id` and `instant` for the columns `_id` and `_lastUpdated`. With `chain` the reference
    `param` leads to a resource that meets one of `links`; with `has` a resource that meets one of them refers here by `param`.
    """

    param: str
    type: str
    values: tuple[Value, ...] = ()
    modifier: str | None = None
    missing: bool | None = None
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Link:
    """A condition on resources of these types, at the other end of a reference."""

    types: tuple[str, ...]
    filter: Filter


def read_filter(types: tuple[str, ...], name: str, value: str, own_base: str) -> Filter | None:
    """The condition that the pair sets on resources of `types`; None for a name that is not a parameter of all of them.

    Raises Incorrect for a wrong value, modifier or chain, naming what is supported.
    """
    return _Reader(value=value, own_base=own_base).read(types, name, 0)


def refuse_apart(type_: str | None) -> None:
    """Raise Incorrect where a search would go along a reference to or from a type that is searched by itself."""
    if type_ in APART:
        raise Incorrect(f"{type_}s are searched by themselves: not by _has, _include, _revinclude or a chain.")


@cache
def common_parameter(types: tuple[str, ...], code: str) -> SearchParameter | None:
    """The parameter `code` where each of `types` has it and it is searched in the same way; `targets` are of all."""
    found: list[SearchParameter] = []
    for type_ in types:
        parameter = parameters_of(type_).get(code)
        if parameter is None or parameter.type not in MODIFIERS or unindexed_reason(type_, code) is not None:
            return None
        found.append(parameter)
    first = found[0]
    if any((one.type, one.components) != (first.type, first.components) for one in found):
        return None
    if len(found) == 1:
        return first
    anything = any(not one.targets for one in found)
    targets = () if anything else tuple(sorted({target for one in found for target in one.targets}))
    return replace(first, targets=targets)


@dataclass(kw_only=True)
class _Reader:
    """Reads one value for many types; what was read for a type is kept, since chains come to it by several ways."""

    value: str
    own_base: str
    branches: int = 0
    known: dict[tuple[tuple[str, ...], str, int], Filter | Incorrect | None] = field(default_factory=dict)

    def read(self, types: tuple[str, ...], name: str, depth: int) -> Filter | None:
        if name == "_has" or name.startswith("_has:"):
            return self._reversed(types, name, depth)
        head, dot, rest = name.partition(".")
        if dot:
            return self._chained(types, head, rest, depth)
        code, colon, modifier = name.partition(":")
        if code in COLUMNS:
            return self._column(code, modifier)
        parameter = common_parameter(types, code)
        return None if parameter is None else self._condition(types, parameter, modifier if colon else None)

    def _column(self, code: str, modifier: str) -> Filter:
        _refuse_modifier(code, modifier, COLUMNS[code])
        type_ = "id" if code == "_id" else "instant"
        if modifier == "missing":
            return Filter(param=code, type=type_, modifier=modifier, missing=self._truth(code))
        if code == "_id":
            ids = tuple(TokenValue(system=None, code=unescape(one)) for one in self._alternatives(code))
            return Filter(param=code, type=type_, values=ids, modifier=modifier or None)
        moments = tuple(_said(code, one, read_date) for one in self._alternatives(code))
        return Filter(param=code, type=type_, values=moments)

    def _condition(self, types: tuple[str, ...], parameter: SearchParameter, modifier: str | None) -> Filter:
        code = parameter.code
        if modifier is not None:
            names = resource_types() if parameter.type == "reference" else frozenset[str]()
            if modifier not in names:
                _refuse_modifier(code, modifier, modifiers_of(types, parameter), may_name_type=bool(names))
        if modifier == "missing":
            return Filter(param=code, type=parameter.type, modifier=modifier, missing=self._truth(code))

        def read(text: str) -> Value:
            return read_value(parameter, text, modifier, self.own_base)

        values = tuple(_said(code, one, read) for one in self._alternatives(code))
        return Filter(param=code, type=parameter.type, values=values, modifier=modifier or None)

    def _truth(self, code: str) -> bool:
        if self.value not in {"true", "false"}:
            raise Incorrect(f"{code}:missing is true or false.")
        return self.value == "true"

    def _alternatives(self, code: str) -> list[str]:
        parts = [part for part in split(self.value, ",") if part]
        if not parts or len(parts) > MOST_ALTERNATIVES:
            raise Incorrect(f"{code} takes 1 to {MOST_ALTERNATIVES} values with commas between them.")
        return parts

    def _chained(self, types: tuple[str, ...], head: str, rest: str, depth: int) -> Filter | None:
        code, colon, target = head.partition(":")
        parameter = common_parameter(types, code)
        if parameter is None:
            return None
        if parameter.type != "reference":
            raise Incorrect(f"{shown(code)} is no reference, so nothing can be chained to it.")
        targets = parameter.targets or tuple(sorted(resource_types()))
        if colon:
            if target not in targets:
                raise Incorrect(f"{shown(head)}: {code} does not refer to that type.")
            refuse_apart(target)
            targets = (target,)
        targets = tuple(one for one in targets if one not in APART)
        return Filter(param=code, type="chain", links=self._links(code, targets, rest, depth))

    def _links(self, code: str, targets: Sequence[str], rest: str, depth: int) -> tuple[Link, ...]:
        if depth >= MOST_LINKS:
            raise Incorrect(f"A search parameter goes along up to {MOST_LINKS} references.")
        found: dict[Filter, list[str]] = {}
        wrong: list[Incorrect] = []
        for target in targets:
            one = self._remembered((target,), rest, depth + 1)
            if isinstance(one, Incorrect):
                wrong.append(one)
            elif one is not None:
                found.setdefault(one, []).append(target)
        if not found:
            raise wrong[0] if wrong else Incorrect(f"Nothing that {code} refers to has the parameter {shown(rest)}.")
        self.branches += len(found)
        if self.branches > MOST_BRANCHES:
            raise Incorrect(f"{code}.{rest[:40]} can mean too many types; name one, such as {code}:Patient.")
        return tuple(Link(types=tuple(names), filter=one) for one, names in found.items())

    def _remembered(self, types: tuple[str, ...], name: str, depth: int) -> Filter | Incorrect | None:
        key = (types, name, depth)
        if key not in self.known:
            try:
                self.known[key] = self.read(types, name, depth)
            except Incorrect as error:
                self.known[key] = error
        return self.known[key]

    def _reversed(self, types: tuple[str, ...], name: str, depth: int) -> Filter:
        parts = name.split(":", 3)
        if len(parts) != 4 or not all(parts):
            raise Incorrect("_has is _has:Type:reference:parameter, such as _has:Task:based-on:status.")
        _, source, param, rest = parts
        refuse_apart(source)
        found = common_parameter((source,), param) if source in resource_types() else None
        if found is None or found.type != "reference":
            raise Incorrect(f"{shown(name)}: {shown(param)} is no reference parameter of {shown(source)}.")
        if found.targets and not set(types) <= set(found.targets):
            raise Incorrect(f"{shown(name)}: {param} of {source} does not refer to {', '.join(types[:5])}.")
        return Filter(param=param, type="has", links=self._links(f"_has:{source}:{param}", (source,), rest, depth))


def modifiers_of(types: tuple[str, ...], parameter: SearchParameter) -> tuple[str, ...]:
    """The modifiers that can be used with a parameter, but for resource types on references."""
    usual = MODIFIERS[parameter.type]
    return (*usual, "of-type") if parameter.type == "token" and _finds_identifiers(types, parameter.code) else usual


@cache
def _finds_identifiers(types: tuple[str, ...], code: str) -> bool:
    return all(
        any(path.type == "Identifier" for path in compile_expression(parameters_of(type_)[code].expression, type_))
        for type_ in types
    )


def _said(code: str, text: str, read: Callable[[str], V]) -> V:
    try:
        return read(text)
    except Incorrect as error:
        raise Incorrect(f"The value of the parameter {code} cannot be read: {error.message}") from None


def _refuse_modifier(code: str, modifier: str, supported: tuple[str, ...], *, may_name_type: bool = False) -> None:
    if not modifier or modifier in supported:
        return
    known = ", ".join(f":{one}" for one in supported) or "none"
    also = " and a resource type" if may_name_type else ""
    raise Incorrect(f"The modifier {shown(':' + modifier)} is not supported for {code}; supported: {known}{also}.")


def shown(name: str) -> str:
    """A name from outside, quoted and cut, for a message."""
    return repr(name if len(name) <= 40 else f"{name[:40]}...")
