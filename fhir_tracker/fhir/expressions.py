"""The part of FHIRPath that search parameters use, compiled against the element tables into walks over parsed JSON.

https://hl7.org/fhir/R4/searchparameter-registry.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from fhir_tracker.fhir.definitions.registry import Element, ancestors, elements
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.references import parse_reference

_TOKEN = re.compile(r"\s*(?:(%?[A-Za-z_]\w*)|'([^']*)'|(\d+)|(!=|[().|=\[\]]))")
_PRESENT = re.compile(r"(?P<path>[\w.]+)\.exists\(\) and (?P=path) != false")


class NotCompilable(ValueError):
    """An expression outside the subset, or a path that the element tables do not know."""


@dataclass(frozen=True, slots=True)
class Child:
    """Step to an element by name; for a choice, the name without `[x]`."""

    name: str


@dataclass(frozen=True, slots=True)
class OfType:
    """Keep values of one FHIR type: `as(T)`, `as T`, `ofType(T)`."""

    type: str


@dataclass(frozen=True, slots=True)
class Where:
    """Keep values whose member equals a string, or, with member "", References to one resource type."""

    member: str
    value: str


@dataclass(frozen=True, slots=True)
class Index:
    """Keep the n-th value of a list."""

    position: int


Step = Child | OfType | Where | Index
Hop = str | Where | Index


@dataclass(frozen=True, kw_only=True)
class TypedPath:
    """One compiled path: the JSON member names and filters to go through, and the FHIR type at its end.

    `codes` names the required value set there, `from_root` is set for `%resource`, `presence` for
    `x.exists() and x != false`, whose value is a boolean even where nothing is found.
    """

    hops: tuple[Hop, ...]
    type: str
    codes: str | None = None
    from_root: bool = False
    presence: bool = False


@cache
def compile_expression(expression: str, type_: str) -> tuple[TypedPath, ...]:
    """The paths of `expression` that apply to `type_` (a resource, datatype or part); raises NotCompilable.

    Alternatives that name another type are left out; a choice element gives one path a type it can take.
    """
    present = _PRESENT.fullmatch(expression)
    if present:
        paths = compile_expression(present["path"], type_)
        return tuple(TypedPath(hops=path.hops, type=path.type, presence=True) for path in paths)
    found: dict[TypedPath, None] = {}
    for steps in _Parser(expression).alternatives():
        for path in _applied(steps, type_):
            found[path] = None
    return tuple(found)


def select(resource: Resource, expression: str) -> list[Json]:
    """The values that `expression` finds in `resource`, in order of its alternatives; raises NotCompilable."""
    found: list[Json] = []
    paths = compile_expression(expression, str(resource["resourceType"]))
    for path in paths:
        _collect(path.hops, resource, found)
    if any(path.presence for path in paths):
        return [any(value is not False for value in found)]
    return found


def matches(value: Json, where: Where) -> bool:
    """Whether one value passes a `where(...)`; `resolve() is T` is decided on the reference itself."""
    if not isinstance(value, dict):
        return False
    if where.member:
        return bool(value.get(where.member) == where.value)
    text = value.get("reference")
    target = parse_reference(text).type if isinstance(text, str) else ""
    return (target or value.get("type")) == where.value


def _collect(hops: tuple[Hop, ...], value: Json, found: list[Json]) -> None:
    if not hops:
        found.extend(value) if isinstance(value, list) else found.append(value)
        return
    hop, rest = hops[0], hops[1:]
    values = value if isinstance(value, list) else [value]
    if isinstance(hop, Index):
        values = values[hop.position : hop.position + 1]
    for item in values:
        if isinstance(hop, str):
            if isinstance(item, dict) and hop in item:
                _collect(rest, item[hop], found)
        elif isinstance(hop, Index) or matches(item, hop):
            _collect(rest, item, found)


def _applied(steps: tuple[Step, ...], type_: str) -> Iterator[TypedPath]:
    first = steps[0]
    from_root = False
    if isinstance(first, Child):
        if first.name == "%resource":
            from_root, steps = True, steps[1:]
        elif first.name[0].isupper():
            if first.name not in ancestors(type_):
                return
            steps = steps[1:]
    root = type_.partition(".")[0] if from_root else type_
    for hops, leaf, codes in _typed(steps, root, None, ()):
        yield TypedPath(hops=hops, type=leaf, codes=codes, from_root=from_root)


def _typed(
    steps: tuple[Step, ...], type_: str, codes: str | None, hops: tuple[Hop, ...]
) -> Iterator[tuple[tuple[Hop, ...], str, str | None]]:
    if not steps:
        yield hops, type_, codes
        return
    step, rest = steps[0], steps[1:]
    if isinstance(step, OfType):
        if step.type.lower() == type_.lower():
            yield from _typed(rest, type_, codes, hops)
    elif isinstance(step, Child):
        for name, element, leaf in _children(type_, step.name):
            yield from _typed(rest, leaf, element.codes, (*hops, name))
    else:
        yield from _typed(rest, type_, codes, (*hops, step))


def _children(type_: str, name: str) -> Iterator[tuple[str, Element, str]]:
    members = elements(type_)
    if name in members:
        for leaf in members[name].types:
            yield name, members[name], leaf
    elif f"{name}[x]" in members:
        choice = members[f"{name}[x]"]
        for leaf in choice.types:
            yield name + leaf[0].upper() + leaf[1:], choice, leaf
    else:
        raise NotCompilable(f"{type_} has no element {name}")


class _Parser:
    """Recursive descent over one expression."""

    def __init__(self, expression: str) -> None:
        self.tokens = _tokens(expression)
        self.position = 0

    def alternatives(self) -> list[tuple[Step, ...]]:
        found = self._union()
        if self.position != len(self.tokens):
            raise NotCompilable(f"unexpected {self.tokens[self.position]!r}")
        return found

    def _union(self) -> list[tuple[Step, ...]]:
        found = self._cast()
        while self._take("|"):
            found += self._cast()
        return found

    def _cast(self) -> list[tuple[Step, ...]]:
        paths = self._path()
        if self._take("as"):
            type_ = self._next()
            paths = [(*path, OfType(type_)) for path in paths]
        return paths

    def _path(self) -> list[tuple[Step, ...]]:
        paths: list[tuple[Step, ...]] = [()]
        if self._take("("):
            paths = self._union()
            self._expect(")")
        else:
            paths = [(Child(self._next()),)]
        while self._peek() in (".", "["):
            step = self._step()
            paths = [(*path, step) for path in paths]
        return paths

    def _step(self) -> Step:
        if self._take("["):
            index = Index(int(self._next()))
            self._expect("]")
            return index
        self._expect(".")
        name = self._next()
        if not self._take("("):
            return Child(name)
        if name in ("as", "ofType"):
            step: Step = OfType(self._next())
        elif name == "where":
            step = self._condition()
        else:
            raise NotCompilable(f"function {name}")
        self._expect(")")
        return step

    def _condition(self) -> Where:
        member = self._next()
        if member == "resolve":
            for text in ("(", ")", "is"):
                self._expect(text)
            return Where("", self._next())
        self._expect("=")
        return Where(member, self._next())

    def _peek(self) -> str | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def _next(self) -> str:
        token = self._peek()
        if token is None:
            raise NotCompilable("the expression ends too early")
        self.position += 1
        return token

    def _take(self, text: str) -> bool:
        if self._peek() != text:
            return False
        self.position += 1
        return True

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise NotCompilable(f"{text!r} expected, not {self._peek()!r}")


def _tokens(expression: str) -> list[str]:
    found: list[str] = []
    position = 0
    while position < len(expression.rstrip()):
        match = _TOKEN.match(expression, position)
        if match is None:
            raise NotCompilable(f"character {position} of {expression!r}")
        found.append(next(group for group in match.groups() if group is not None))
        position = match.end()
    return found
