"""Resources made from the official tables: every element of a type filled once, to a given depth.

https://hl7.org/fhir/R4/resourcelist.html
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from fhir_tracker.fhir.definitions.registry import Element, elements, value_set
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.primitives import PRIMITIVES

RIGHT: dict[str, Any] = {
    "base64Binary": "AAAA",
    "boolean": True,
    "canonical": "http://example.org/canonical|1",
    "code": "x",
    "date": "2026-01-31",
    "dateTime": "2026-01-31T10:00:00-05:00",
    "decimal": 1,
    "id": "x-1.A",
    "instant": "2026-01-31T10:00:00.000Z",
    "integer": -1,
    "markdown": "*words*",
    "oid": "urn:oid:1.2.3",
    "positiveInt": 1,
    "string": "words",
    "time": "10:00:00",
    "unsignedInt": 0,
    "uri": "urn:example:x",
    "url": "http://example.org/x",
    "uuid": "urn:uuid:00000000-0000-4000-8000-000000000000",
    "xhtml": '<div xmlns="http://www.w3.org/1999/xhtml">words</div>',
}
WRONG: dict[str, Any] = {
    **dict.fromkeys(("base64Binary", "canonical", "code", "id", "oid", "uri", "url", "uuid"), " not it "),
    **dict.fromkeys(("date", "dateTime", "instant", "time"), "2026-02-30"),
    **dict.fromkeys(("string", "markdown", "xhtml"), ""),
    "boolean": "true",
    "decimal": "1.0",
    "integer": 2**31,
    "positiveInt": 0,
    "unsignedInt": -1,
}
SMALL: dict[str, Json] = {
    "CodeableConcept": {"text": "words"},
    "Coding": {"system": "http://example.org/codes", "code": "x"},
    "Extension": {"url": "http://example.org/extension", "valueString": "x"},
    "Identifier": {"system": "http://example.org/ids", "value": "x"},
    "Meta": {"tag": [{"code": "synthetic"}]},
    "Narrative": {"status": "generated", "div": RIGHT["xhtml"]},
    "Period": {"start": "2026-01-01"},
    "Quantity": {"value": 1},
    "Resource": {"resourceType": "Basic", "id": "x1", "code": {"text": "words"}},
}


@dataclass(frozen=True, kw_only=True)
class Spot:
    """One filled element: `path` leads to it in the JSON, `shown` is its expression, `leaf` its FHIR type, `within` the
    type it is an element of.
    """

    path: tuple[str | int, ...]
    shown: str
    element: Element
    leaf: str
    within: str

    @property
    def codes(self) -> frozenset[str]:
        """The codes a required value set allows here; empty where any will do."""
        systems = value_set(self.element.codes) if self.element.codes else {}
        return frozenset(code for codes in systems.values() for code in codes)


def full(type_: str, depth: int = 2) -> Resource:
    """A resource with every element of its own and, to `depth`, of its parts; a choice has its first type."""
    return _with_own_ids({"resourceType": type_, **_members(type_, depth, everything=True)})


def least(type_: str) -> Resource:
    """A resource with its required elements and nothing else."""
    return _with_own_ids({"resourceType": type_, **_members(type_, 0, everything=False)})


def _with_own_ids(resource: Resource) -> Resource:
    """A copy in which each element has another id."""
    made: Resource = deepcopy(resource)
    waiting: list[Json] = list(made.values())
    count = 0
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            waiting.extend(one.values())
            if "id" in one and "resourceType" not in one:
                count += 1
                one["id"] = f"x-{count}"
    return made


def spots(type_: str, resource: Resource) -> Iterator[Spot]:
    """Every filled element of a made resource, the parts of parts included; contained resources are left out."""
    yield from _spots(type_, resource, (), type_)


def _spots(type_: str, value: Resource, path: tuple[str | int, ...], shown: str) -> Iterator[Spot]:
    for element in elements(type_).values():
        for leaf in element.types:
            name = member_name(element, leaf)
            if name not in value:
                continue
            at = f"{shown}.{element.name.removesuffix('[x]')}"
            yield Spot(path=(*path, name), shown=at, element=element, leaf=leaf, within=type_)
            inner, place = value[name], (*path, name)
            if element.many:
                inner, place, at = inner[0], (*place, 0), f"{at}[0]"
            if leaf not in PRIMITIVES and leaf != "Resource":
                yield from _spots(leaf, inner, place, at)


def member_name(element: Element, leaf: str) -> str:
    """The JSON name of an element that holds a value of type `leaf`."""
    return element.name.removesuffix("[x]") + leaf[0].upper() + leaf[1:] if element.is_choice else element.name


def _members(type_: str, depth: int, *, everything: bool) -> Resource:
    found: Resource = {}
    for element in elements(type_).values():
        if everything or element.required:
            leaf = element.types[0]
            value = _value(element, leaf, depth, everything=everything)
            found[member_name(element, leaf)] = [value] if element.many else value
    return found


def _value(element: Element, leaf: str, depth: int, *, everything: bool) -> Json:
    systems = value_set(element.codes) if element.codes else {}
    system, code = next(((one, min(codes)) for one, codes in sorted(systems.items()) if codes), ("", ""))
    if leaf in PRIMITIVES:
        if element.language:
            return "en"
        return code if leaf == "code" and code else RIGHT[leaf]
    if leaf == "Reference":
        return {"reference": f"{min(element.targets, default='Basic')}/x1"}
    if leaf in ("Coding", "CodeableConcept") and code:
        coding = {"system": system, "code": code}
        return {"coding": [coding]} if leaf == "CodeableConcept" else coding
    if leaf in SMALL and (leaf in ("Resource", "Extension", "Narrative") or depth <= 0):
        return SMALL[leaf]
    made = _members(leaf, depth - 1, everything=everything and depth > 0)
    return made or {"id": "x1"}
