"""Where the elements of a resource are: what a mutation can change, with what the official tables say of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fhir_tracker.fhir.definitions.registry import Element, elements, is_resource
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.primitives import PRIMITIVES

Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Place:
    """One member of an object: `path` to its holder, its JSON `name`, its element and FHIR type, and the holder's type."""

    path: Path
    name: str
    element: Element
    leaf: str
    within: str

    @property
    def is_primitive(self) -> bool:
        return self.leaf in PRIMITIVES


@dataclass(frozen=True, kw_only=True)
class Holder:
    """One object of a resource and its FHIR type."""

    path: Path
    type: str


def places(resource: Resource) -> list[Place]:
    """Every member of every object of a resource, contained resources included."""
    return list(_places(resource, str(resource["resourceType"]), ()))


def holders(resource: Resource) -> list[Holder]:
    """Every object of a resource."""
    found: dict[Path, str] = {(): str(resource["resourceType"])}
    for place in places(resource):
        if place.is_primitive:
            continue
        value = at(resource, (*place.path, place.name))
        for path, item in _items((*place.path, place.name), value):
            if isinstance(item, dict):
                found[path] = _type_of(place.leaf, item)
    return [Holder(path=path, type=type_) for path, type_ in found.items()]


def at(resource: Json, path: Path) -> Any:
    """The value at a path."""
    for step in path:
        resource = resource[step]
    return resource


def members(type_: str) -> dict[str, tuple[Element, str]]:
    """JSON name -> element and FHIR type, for every name an object of this type may have."""
    found: dict[str, tuple[Element, str]] = {}
    for name, element in elements(type_).items():
        base = name.removesuffix("[x]")
        for leaf in element.types:
            found[base + leaf[0].upper() + leaf[1:] if element.is_choice else name] = (element, leaf)
    return found


def _places(value: Resource, type_: str, path: Path) -> Iterator[Place]:
    known = members(type_)
    for name, member in value.items():
        if name not in known:
            continue
        element, leaf = known[name]
        yield Place(path=path, name=name, element=element, leaf=leaf, within=type_)
        if leaf not in PRIMITIVES:
            for inner, item in _items((*path, name), member):
                if isinstance(item, dict):
                    yield from _places(item, _type_of(leaf, item), inner)


def _items(path: Path, member: Json) -> Iterator[tuple[Path, Json]]:
    if isinstance(member, list):
        yield from (((*path, index), item) for index, item in enumerate(member))
    else:
        yield path, member


def _type_of(leaf: str, item: Resource) -> str:
    name = item.get("resourceType")
    return str(name) if leaf == "Resource" and isinstance(name, str) and is_resource(name) else leaf
