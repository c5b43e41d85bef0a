"""Where a FHIRPath points in a resource: places that can be written, not only values.

https://hl7.org/fhir/R4/fhirpatch.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.definitions.registry import Element, ancestors, elements, is_complex, resource_types
from fhir_tracker.fhir.fhirpath import evaluate
from fhir_tracker.fhir.json_types import Json, Resource

LONGEST_PATH = 2000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|`[A-Za-z_][A-Za-z0-9_]*`")
_INDEX = re.compile(r"\[\s*([0-9]{1,6})\s*\]")
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'")
_AS = re.compile(r"(?s)(?P<path>.*\S)\s+as\s+(?P<type>[A-Za-z.]+)\s*")
_STARTS = frozenset({"%resource", "%context", "$this", "Resource", "DomainResource"})


@dataclass(frozen=True, kw_only=True)
class Place:
    """One element: the JSON steps to it, its FHIR type, its concrete FHIRPath, and the element that defines it.

    `steps` ends with the position where the element repeats. A primitive's own object (id, extension) is at the
    same steps with `_` before the name.
    """

    steps: tuple[str | int, ...]
    type: str
    text: str
    element: Element | None = None

    @property
    def is_primitive(self) -> bool:
        """Whether the element holds a plain JSON value."""
        return not is_complex(self.type)


@dataclass(frozen=True, kw_only=True)
class Collection:
    """One element by its name, whether it repeats or is there: the place of its owner, and what defines it."""

    owner: Place
    name: str
    element: Element


@dataclass(frozen=True, kw_only=True)
class _Step:
    kind: str
    name: str = ""
    index: int = 0


def find_places(resource: Resource, path: str) -> tuple[Place, ...]:
    """The elements `path` points to, in order; raises Incorrect for what is no path of element names and filters."""
    places: tuple[Place, ...] = (_root(resource),)
    for step in _steps(resource, path):
        places = _follow(resource, places, step)
    return places


def find_collection(resource: Resource, path: str) -> Collection | None:
    """The element that `path` names as a whole, such as `Patient.name`; None when its owner is not there once.

    Raises Incorrect for what is no path, and for one that does not end with the name of an element.
    """
    steps = _steps(resource, path)
    if not steps or steps[-1].kind != "child":
        raise Incorrect("The path of a list ends with the name of an element.")
    places: tuple[Place, ...] = (_root(resource),)
    for step in steps[:-1]:
        places = _follow(resource, places, step)
    if len(places) != 1:
        return None
    element = _element(places[0].type, steps[-1].name)
    return Collection(owner=places[0], name=steps[-1].name, element=element)


def value_at(resource: Resource, steps: Sequence[str | int]) -> Json:
    """The value at steps that are there."""
    value: Json = resource
    for step in steps:
        value = value[step]
    return value


def member_of(element: Element, type_: str) -> str:
    """The JSON name of an element of this type: `value[x]` as Quantity is `valueQuantity`."""
    return element.name.removesuffix("[x]") + type_[:1].upper() + type_[1:] if element.is_choice else element.name


def _root(resource: Resource) -> Place:
    return Place(steps=(), type=resource["resourceType"], text=resource["resourceType"])


def _element(type_: str, name: str) -> Element:
    known = elements(type_) if is_complex(type_) else elements("Element")
    found = known.get(name) or known.get(f"{name}[x]")
    if found is None:
        raise Incorrect("The path names an element that its type does not have.")
    return found


def _follow(resource: Resource, places: tuple[Place, ...], step: _Step) -> tuple[Place, ...]:
    if step.kind == "index":
        return places[step.index : step.index + 1]
    if step.kind == "last":
        return places[-1:]
    if step.kind == "single":
        if len(places) > 1:
            raise Incorrect("The path says single() where there are several.")
        return places
    if step.kind == "type":
        return tuple(one for one in places if step.name in (one.type, *ancestors(one.type)))
    if step.kind == "where":
        return _where(resource, places, step.name)
    return tuple(found for one in places for found in _children(resource, one, step.name))


def _where(resource: Resource, places: tuple[Place, ...], criteria: str) -> tuple[Place, ...]:
    """The places where `criteria` holds; the items of one list are asked together."""
    held: dict[str, list[Json]] = {}
    found = []
    for place in places:
        position = place.steps[-1] if place.steps and isinstance(place.steps[-1], int) else None
        if any(str(step).startswith("_") for step in place.steps):
            answers, position = evaluate(f"where({criteria}).exists()", value_at(resource, place.steps)), 0
        else:
            whole = place.text if position is None else place.text.rpartition("[")[0]
            if whole not in held:
                held[whole] = evaluate(f"{whole}.select(where({criteria}).exists())", resource)
            answers, position = held[whole], position or 0
        if position < len(answers) and answers[position] is True:
            found.append(place)
    return tuple(found)


def _children(resource: Resource, place: Place, name: str) -> list[Place]:
    element = _element(place.type, name)
    steps = place.steps if is_complex(place.type) else _beside(place.steps)
    try:
        owner = value_at(resource, steps)
    except (LookupError, TypeError):
        return []
    if not isinstance(owner, dict):
        return []
    found: list[Place] = []
    for type_ in element.types:
        member = member_of(element, type_)
        if member in owner or f"_{member}" in owner:
            value = owner.get(member)
            siblings = owner.get(f"_{member}")
            shown = f"{place.text}.{name}"
            if not element.many:
                found.append(_place((*steps, member), type_, value, shown, element))
                continue
            count = max(len(one) if isinstance(one, list) else 0 for one in (value, siblings))
            for index in range(count):
                item = value[index] if isinstance(value, list) and index < len(value) else None
                found.append(_place((*steps, member, index), type_, item, f"{shown}[{index}]", element))
    return found


def _place(steps: tuple[str | int, ...], type_: str, value: Json, text: str, element: Element) -> Place:
    name = value.get("resourceType") if type_ == "Resource" and isinstance(value, dict) else None
    return Place(steps=steps, type=name if name in resource_types() else type_, text=text, element=element)


def _beside(steps: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Where the id and extensions of a primitive are."""
    if steps and isinstance(steps[-1], int):
        return (*steps[:-2], f"_{steps[-2]}", steps[-1])
    return (*steps[:-1], f"_{steps[-1]}") if steps else steps


def beside(place: Place) -> tuple[str | int, ...]:
    """Where the id and extensions of a primitive element are."""
    return _beside(place.steps)


def _steps(resource: Resource, path: str) -> list[_Step]:
    if len(path) > LONGEST_PATH:
        raise Incorrect(f"A path is longer than {LONGEST_PATH} characters.")
    steps = _Reader(path).steps()
    if steps and steps[0].kind == "child" and steps[0].name in (resource["resourceType"], *_STARTS):
        return steps[1:]
    return steps


class _Reader:
    """Reads a path into steps: names, [n], where(), ofType(), as(), extension(), first(), last(), single(), (x as T)."""

    def __init__(self, text: str) -> None:
        self._text = text.strip()
        self._at = 0

    def steps(self) -> list[_Step]:
        """All steps; raises Incorrect."""
        steps = self._start()
        while self._at < len(self._text):
            if index := _INDEX.match(self._text, self._at):
                steps.append(_Step(kind="index", index=int(index[1])))
                self._at = index.end()
            elif self._text[self._at] == ".":
                self._at += 1
                steps += self._step()
            else:
                raise self._unreadable()
        return steps

    def _start(self) -> list[_Step]:
        if self._text.startswith("("):
            inner = _AS.fullmatch(self._bracket())
            if inner is None:
                raise self._unreadable()
            return [*_Reader(inner["path"]).steps(), _Step(kind="type", name=_bare(inner["type"]))]
        if self._text.startswith(("%", "$")):
            word = next((one for one in _STARTS if self._text.startswith(one)), None)
            if word is None:
                raise self._unreadable()
            self._at = len(word)
            return [_Step(kind="child", name=word)]
        return self._step()

    def _step(self) -> list[_Step]:
        match = _NAME.match(self._text, self._at)
        if match is None:
            raise self._unreadable()
        self._at = match.end()
        name = match[0].strip("`")
        if self._at < len(self._text) and self._text[self._at] == "(":
            return self._function(name, self._bracket().strip())
        return [_Step(kind="child", name=name)]

    def _function(self, name: str, inside: str) -> list[_Step]:
        if name == "where" and inside:
            return [_Step(kind="where", name=inside)]
        if name in ("ofType", "as") and _NAME.fullmatch(_bare(inside)):
            return [_Step(kind="type", name=_bare(inside))]
        if name == "extension" and _QUOTED.fullmatch(inside):
            return [_Step(kind="child", name="extension"), _Step(kind="where", name=f"url = {inside}")]
        if name == "first" and not inside:
            return [_Step(kind="index", index=0)]
        if name in ("last", "single") and not inside:
            return [_Step(kind=name)]
        raise Incorrect(
            "A path in a patch uses element names, [n], where(), ofType(), as(), extension(), first(), last() and single()."
        )

    def _bracket(self) -> str:
        """What is inside the bracket that opens here; moves behind it."""
        begin, depth = self._at, 0
        while self._at < len(self._text):
            letter = self._text[self._at]
            if letter == "'":
                quoted = _QUOTED.match(self._text, self._at)
                if quoted is None:
                    break
                self._at = quoted.end()
                continue
            depth += {"(": 1, ")": -1}.get(letter, 0)
            self._at += 1
            if depth == 0:
                return self._text[begin + 1 : self._at - 1]
        raise self._unreadable()

    def _unreadable(self) -> Incorrect:
        return Incorrect(f"The path cannot be read at character {self._at + 1}.")


def _bare(type_: str) -> str:
    return type_.removeprefix("FHIR.").removeprefix("System.").strip("`")
