"""The profiles of US Core and of vital signs as trees: what each adds to the R4 type it constrains, read on first use.

https://hl7.org/fhir/us/core/STU6.1/profiles-and-extensions.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from fhir_tracker.fhir.definitions.registry import Element, elements, value_set
from fhir_tracker.fhir.invariants.compiler import Test, compile_test
from fhir_tracker.fhir.invariants.syntax import parse
from fhir_tracker.fhir.json_types import Json

R4_PROFILES = "http://hl7.org/fhir/StructureDefinition/"
R4_VALUE_SETS = "http://hl7.org/fhir/ValueSet/"


@dataclass(frozen=True, kw_only=True)
class Invariant:
    """One rule of a profile, as a question about one value."""

    key: str
    human: str
    test: Test


@dataclass(frozen=True, kw_only=True)
class Node:
    """One element, or one slice of it, as a profile constrains it; `name` keeps the `[x]` of a choice.

    `pattern` and `fixed` are None where there is none; a slice holds the items with its `url`, or else its `pattern`.
    """

    name: str
    least: int = 0
    most: int | None = None
    types: tuple[str, ...] = ()
    targets: frozenset[str] = frozenset()
    codes: frozenset[tuple[str, str]] = frozenset()
    pattern: Json = None
    fixed: Json = None
    url: str = ""
    invariants: tuple[Invariant, ...] = ()
    children: tuple[Node, ...] = ()
    slices: tuple[Node, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One profile: its canonical URL, version and title, the type it constrains, and its root element."""

    url: str
    version: str
    title: str
    type: str
    root: Node


@dataclass(kw_only=True)
class _Draft:
    row: Mapping[str, Any] = field(default_factory=dict)
    children: dict[str, _Draft] = field(default_factory=dict)
    slices: dict[str, _Draft] = field(default_factory=dict)


@cache
def profiles() -> Mapping[str, Profile]:
    """Canonical URL -> profile of US Core of a resource type."""
    return MappingProxyType(
        {url: _profile(url) for url, row in _file("us_core.json")["profiles"].items() if row["type"] != "Extension"}
    )


@cache
def vital_signs() -> Mapping[str, Profile]:
    """Canonical URL -> R4's own profile of a vital sign."""
    return MappingProxyType({url: _profile(url) for url in _file("vital_signs.json")["profiles"]})


def find_profile(canonical: str) -> Profile | None:
    """The profile with this canonical URL, with or without its `|version`; None if it is not one of those here."""
    return _find(profiles(), canonical) or find_vital_sign(canonical)


def find_vital_sign(canonical: str) -> Profile | None:
    """The same among R4's own profiles of vital signs."""
    return _find(vital_signs(), canonical) if canonical.startswith(R4_PROFILES) else None


def _find(among: Mapping[str, Profile], canonical: str) -> Profile | None:
    url, _, version = canonical.partition("|")
    found = among.get(url)
    return found if found is not None and version in ("", found.version) else None


@cache
def _profile(url: str) -> Profile:
    row = _table()["profiles"][url]
    draft = _Draft()
    for name, element in row["elements"].items():
        _place(draft, name.split(".")[1:], element)
    root = _node(row["type"], row["type"], draft)
    return Profile(url=url, version=row["version"], title=row["title"], type=row["type"], root=root)


def _place(draft: _Draft, parts: list[str], row: Mapping[str, Any]) -> None:
    for part in parts:
        name, _, slice_name = part.partition(":")
        draft = draft.children.setdefault(name, _Draft())
        if slice_name:
            draft = draft.slices.setdefault(slice_name, _Draft())
    draft.row = row


def _node(name: str, type_: str, draft: _Draft) -> Node:
    row = draft.row
    extension = _profile(row["profiles"][0]) if "profiles" in row else None
    children = extension.root.children if extension else _children(type_, draft)
    return Node(
        name=name,
        least=row.get("min", 0),
        most=row.get("max"),
        types=tuple(row.get("types", ())),
        targets=frozenset(row.get("targets", ())),
        codes=_codes(row.get("codes", "")),
        pattern=row.get("pattern"),
        fixed=row.get("fixed"),
        url=extension.url if extension else next((one.fixed for one in children if one.name == "url"), ""),
        invariants=tuple(_invariant(one, type_) for one in row.get("constraints", ())),
        children=children,
        slices=tuple(_node(name, type_, one) for one in draft.slices.values()),
    )


def _children(type_: str, draft: _Draft) -> tuple[Node, ...]:
    known = elements(type_)
    return tuple(_node(name, _type_of(name, known), one) for name, one in draft.children.items())


def _type_of(name: str, known: Mapping[str, Element]) -> str:
    """The first type of an element; a choice may be named with one of its types, such as valueQuantity."""
    if name in known:
        return known[name].types[0]
    choices = [one for one in known.values() if one.is_choice and name.startswith(one.name.removesuffix("[x]"))]
    return next(type_ for one in choices for type_ in one.types if name.endswith(type_))


def _invariant(row: Mapping[str, str], type_: str) -> Invariant:
    test = compile_test(parse(row["expression"]), frozenset({type_}))
    return Invariant(key=row["key"], human=row["human"], test=test)


def _codes(url: str) -> frozenset[tuple[str, str]]:
    """The codes of a value set; none for one of R4's own, which every resource of the type is held to already."""
    systems = _table()["value_sets"].get(url) or value_set(url.removeprefix(R4_VALUE_SETS))
    return frozenset((system, code) for system, codes in systems.items() for code in codes)


@cache
def _table() -> Any:
    parts = (_file("us_core.json"), _file("vital_signs.json"))
    return {name: {**parts[0][name], **parts[1][name]} for name in ("profiles", "value_sets")}


@cache
def _file(name: str) -> Any:
    return json.loads(files(__package__).joinpath(name).read_bytes())
