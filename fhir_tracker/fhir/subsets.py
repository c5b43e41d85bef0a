"""Parts of a resource that a caller asked for instead of the whole: `_summary` and `_elements`.

https://hl7.org/fhir/R4/search.html#summary
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.body import read_stored, write_json
from fhir_tracker.fhir.definitions.registry import (
    Element,
    elements,
    is_complex,
    is_resource,
    resource_types,
    summary_elements,
)
from fhir_tracker.fhir.json_types import Json, Resource

SUMMARIES = ("true", "text", "data", "count", "false")
MOST_ELEMENTS = 100
SUBSETTED: Mapping[str, str] = MappingProxyType(
    {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(\[x\])?(\.[A-Za-z][A-Za-z0-9]*(\[x\])?)*")
_ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules", "modifierExtension"})


@dataclass(frozen=True, kw_only=True)
class Subset:
    """`summary` is one of SUMMARIES; `elements` are top-level names, `Type.name` for one type only; () means all."""

    summary: str = "false"
    elements: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out of a resource."""
        return self.summary in ("false", "count") and not self.elements


WHOLE = Subset()


def read_subset(summaries: Sequence[str], names: Sequence[str]) -> Subset:
    """The subset that values of `_summary` and `_elements` ask for; raises Incorrect for what is none."""
    summary = summaries[-1] if summaries else "false"
    if summary not in SUMMARIES:
        raise Incorrect(f"_summary is one of {', '.join(SUMMARIES)}.", expression="_summary")
    chosen = tuple(dict.fromkeys(name for text in names for name in map(str.strip, text.split(",")) if name))
    fit = len(chosen) <= MOST_ELEMENTS and all(len(one) <= 100 and _NAME.fullmatch(one) for one in chosen)
    if (names and not chosen) or not fit:
        message = "_elements is a list of element names with commas between them, such as status,code."
        raise Incorrect(message, expression="_elements")
    if chosen and summary not in ("false", "count"):
        raise Incorrect("Use _summary or _elements, not both.", expression="_elements")
    return Subset(summary=summary, elements=chosen)


def subset_text(text: str, subset: Subset, *, is_match: bool = True) -> str:
    """The stored text of a resource cut down, numbers as they were written; the very text when all of it is wanted."""
    if subset.is_whole:
        return text
    resource = read_stored(text)
    chosen = subset_of(resource, subset, is_match=is_match)
    return text if chosen is resource else write_json(chosen)


def subset_of(resource: Resource, subset: Subset, *, is_match: bool = True) -> Resource:
    """The part of `resource` that `subset` names, tagged SUBSETTED; `resource` itself when that is all of it.

    Mandatory elements stay. What a search included (`is_match` False) is cut by `_elements` only where its type is named.
    """
    type_ = resource["resourceType"]
    if subset.elements:
        names = _named(type_, subset.elements, is_match=is_match)
        return resource if names is None else _cut_from(resource, _top(resource, type_, names.__contains__))
    match subset.summary:
        case "true":
            return _cut_from(resource, _summary(resource, type_))
        case "text":
            return _cut_from(resource, _top(resource, type_, lambda name: name == "text"))
        case "data":
            return _tagged({name: value for name, value in resource.items() if name not in ("text", "_text")})
    return resource


def is_subset(resource: Resource) -> bool:
    """Whether a resource says of itself that parts of it were left out."""
    meta = resource.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    return isinstance(tags, list) and any(_says_so(tag) for tag in tags)


def _says_so(tag: Json) -> bool:
    return isinstance(tag, dict) and all(tag.get(name) == value for name, value in SUBSETTED.items())


def _named(type_: str, chosen: Sequence[str], *, is_match: bool) -> frozenset[str] | None:
    """None where no name is for this type: then all of it is wanted."""
    names: set[str] = set()
    for text in chosen:
        prefix, dot, name = text.partition(".")
        if not dot:
            names.update({text} if is_match else ())
        elif prefix == type_:
            names.add(name)
        elif prefix not in resource_types() and is_match:
            names.add(prefix)
    return frozenset(name.removesuffix("[x]") for name in names) if names else None


def _top(resource: Resource, type_: str, wanted: Callable[[str], bool]) -> Resource:
    kept: Resource = {}
    for member, value in resource.items():
        name = member.removeprefix("_")
        element = _element(type_, name)
        named = name in _ALWAYS or wanted(name)
        if named or (element and (element.required or wanted(element.name.removesuffix("[x]")))):
            kept[member] = value
    return kept


def _summary(value: Resource, type_: str) -> Resource:
    kept: Resource = {}
    for member, held in value.items():
        name = member.removeprefix("_")
        element = _element(type_, name)
        if name == "resourceType":
            kept[member] = held
        elif element is not None and (element.required or element.name in summary_elements(type_)):
            cut = held if member.startswith("_") else _cut(held, leaf_type(element, name))
            if cut not in ({}, []) or element.required:
                kept[member] = cut if cut not in ({}, []) else held
    return kept


def _cut(value: Json, type_: str) -> Json:
    if isinstance(value, list):
        return [one for one in (_cut(item, type_) for item in value) if one != {}]
    if not isinstance(value, dict) or type_ in ("Extension", "Meta"):
        return value
    if is_resource(type_):
        return _summary(value, str(value.get("resourceType")))
    return _summary(value, type_) if is_complex(type_) else value


def _cut_from(resource: Resource, kept: Resource) -> Resource:
    """`kept` with those contained resources that it still refers to."""
    text = write_json(kept)
    waiting = [one for one in resource.get("contained", ()) if isinstance(one, dict) and "contained" not in kept]
    chosen: list[Json] = []
    while found := [one for one in waiting if f'"#{one.get("id")}"' in text]:
        chosen += found
        waiting = [one for one in waiting if one not in found]
        text = write_json(found)
    return _tagged(kept | {"contained": chosen} if chosen else kept)


def _tagged(resource: Resource) -> Resource:
    meta = resource.get("meta")
    held = dict(meta) if isinstance(meta, dict) else {}
    tags = held.get("tag")
    present = list(tags) if isinstance(tags, list) else []
    if not any(_says_so(tag) for tag in present):
        present.append(dict(SUBSETTED))
    first = {name: resource[name] for name in ("resourceType", "id") if name in resource}
    return first | {"meta": held | {"tag": present}} | {k: v for k, v in resource.items() if k not in {*first, "meta"}}


def _element(type_: str, name: str) -> Element | None:
    return members(type_).get(name)


def leaf_type(element: Element, name: str) -> str:
    """The type of an element under one of its JSON names."""
    if not element.is_choice:
        return element.types[0]
    end = name.removeprefix(element.name.removesuffix("[x]"))
    return next(one for one in element.types if one[0].upper() + one[1:] == end)


@cache
def members(type_: str) -> Mapping[str, Element]:
    """JSON member name -> element, each form of a choice by its own name."""
    found: dict[str, Element] = {}
    for element in elements(type_).values():
        stem = element.name.removesuffix("[x]")
        names = [stem + one[0].upper() + one[1:] for one in element.types] if element.is_choice else [element.name]
        found |= dict.fromkeys(names, element)
    return MappingProxyType(found)
