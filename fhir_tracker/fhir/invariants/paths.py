"""Steps from values to their elements, with the FHIR types that the element tables give them.

https://hl7.org/fhir/R4/fhirpath.html#types
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fhir_tracker.fhir.definitions.registry import elements, is_complex
from fhir_tracker.fhir.invariants.syntax import NotCompilable
from fhir_tracker.fhir.invariants.values import NO_VALUE, Scope, Values
from fhir_tracker.fhir.json_types import Json

Run = Callable[[Values, Scope], Values]
ANY = frozenset({"*"})
"""The types of values that only the data tell."""
SYSTEM = frozenset({"string", "boolean", "integer", "decimal"})


@dataclass(frozen=True, slots=True)
class Typed:
    """A compiled expression and the FHIR types of what it finds; `this` when that is the focus itself."""

    run: Run
    types: frozenset[str]
    this: bool = False


@dataclass(frozen=True, slots=True)
class Slots:
    """The JSON members that hold one element, a choice having several, with their FHIR types."""

    members: tuple[tuple[str, str], ...]
    many: bool

    @property
    def types(self) -> frozenset[str]:
        return frozenset(leaf for _, leaf in self.members)

    @property
    def names(self) -> frozenset[str]:
        """The members and the `_x` beside those that are primitives."""
        plain = frozenset(name for name, _ in self.members)
        return plain | {f"_{name}" for name, leaf in self.members if not is_complex(leaf)}


def slots(types: frozenset[str], name: str) -> Slots | None:
    """Where values of these types hold the element `name`; None if only the data tell; raises NotCompilable."""
    if ANY & types or "Resource" in types:
        return None
    members: dict[tuple[str, str], None] = {}
    many = False
    for type_ in sorted(types):
        table = elements(type_)
        element = table.get(name) or table.get(f"{name}[x]")
        if element is None:
            continue
        many = many or element.many
        for leaf in element.types:
            suffix = leaf[0].upper() + leaf[1:] if element.is_choice else ""
            members[name + suffix, leaf] = None
    if not members:
        raise NotCompilable(f"{', '.join(sorted(types))} has no element {name}")
    return Slots(members=tuple(members), many=many)


def step(types: frozenset[str], name: str) -> Typed:
    """The step from values of these types to their element `name`."""
    found = slots(types, name)
    if found is None:
        return Typed(_walk(((name, f"_{name}"),)), ANY)
    pairs = tuple((member, "" if is_complex(leaf) else f"_{member}") for member, leaf in found.members)
    return Typed(_walk(pairs), found.types)


def of_type(value: Typed, member: str, types: frozenset[str], name: str) -> Typed:
    """The step to a choice `name` of values of `types`, kept to the one type `member` ends with."""
    found = slots(types, name)
    if found is None:
        raise NotCompilable(f"the type of {name} is known from the data only")
    kept = tuple((slot, leaf) for slot, leaf in found.members if leaf.lower() == member.lower())
    pairs = tuple((slot, "" if is_complex(leaf) else f"_{slot}") for slot, leaf in kept)
    inner, walk = value.run, _walk(pairs)
    return Typed(lambda values, scope: walk(inner(values, scope), scope), frozenset(leaf for _, leaf in kept))


def _walk(pairs: tuple[tuple[str, str], ...]) -> Run:
    if len(pairs) == 1 and not pairs[0][1]:
        return _walk_one(pairs[0][0])

    def run(values: Values, scope: Scope) -> Values:
        found: Values = []
        for value in values:
            if type(value) is dict:
                for name, sibling in pairs:
                    if name in value:
                        _extend(found, value[name])
                    elif sibling and sibling in value:
                        _extend(found, [None] * len(held) if type(held := value[sibling]) is list else None)
        return found

    return run


def _walk_one(name: str) -> Run:
    def run(values: Values, scope: Scope) -> Values:
        found: Values = []
        for value in values:
            if type(value) is dict and name in value:
                _extend(found, value[name])
        return found

    return run


def _extend(found: Values, held: Json) -> None:
    if type(held) is list:
        found.extend(NO_VALUE if item is None else item for item in held)
    else:
        found.append(NO_VALUE if held is None else held)


def children(value: Json) -> Values:
    """The values of every element of `value`, `id` and extensions included."""
    found: Values = []
    if type(value) is dict:
        for name, held in value.items():
            if name == "resourceType":
                continue
            if name[0] != "_":
                _extend(found, held)
            elif name[1:] not in value:
                _extend(found, [None] * len(held) if type(held) is list else None)
    return found


def descendants(value: Json) -> Values:
    """The values of every element below `value`, at any depth."""
    found: Values = []
    waiting = children(value)
    while waiting:
        found.extend(waiting)
        waiting = [below for one in waiting for below in children(one)]
    return found
