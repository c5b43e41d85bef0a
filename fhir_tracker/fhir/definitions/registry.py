"""What the generated tables hold: resource types, elements, required codes and search parameters, read on first use.

https://hl7.org/fhir/R4/downloads.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Component:
    """One part of a composite parameter: the URL of the parameter it acts as, and its expression."""

    definition: str
    expression: str


@dataclass(frozen=True, kw_only=True)
class SearchParameter:
    """One FHIR SearchParameter; `type` is its search type, `targets` the resource types a reference may point to."""

    code: str
    type: str
    url: str
    base: tuple[str, ...]
    expression: str = ""
    targets: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    comparators: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Element:
    """One element: its FHIR types, cardinality (`many` when max is *), reference targets and required value set.

    `simple` marks a Quantity that has to be a SimpleQuantity, `language` what takes the tags of BCP 47.
    """

    name: str
    types: tuple[str, ...]
    required: bool = False
    many: bool = False
    targets: frozenset[str] = frozenset()
    codes: str | None = None
    simple: bool = False
    language: bool = False

    @property
    def is_choice(self) -> bool:
        """Whether this is a choice such as `value[x]`."""
        return self.name.endswith("[x]")


def resource_types() -> frozenset[str]:
    """The names of the 146 concrete resource types of R4."""
    return _resource_types()


def is_complex(type_: str) -> bool:
    """Whether `type_` is a resource, a datatype with elements or a part of one (`Task.restriction`)."""
    return type_ in _types()


def is_resource(type_: str) -> bool:
    """Whether `type_` is a resource type, abstract ones included."""
    return type_ in _types() and _types()[type_]["kind"] == "resource"


@cache
def ancestors(type_: str) -> tuple[str, ...]:
    """`type_` and its bases, nearest first, such as Task, DomainResource, Resource; empty if unknown."""
    found: list[str] = []
    while type_ in _types():
        found.append(type_)
        type_ = _types()[type_].get("base", "")
    return tuple(found)


@cache
def elements(type_: str) -> Mapping[str, Element]:
    """Name -> element of a complex type, inherited ones first; choices keep their `[x]`; empty if unknown."""
    rows: dict[str, Element] = {}
    for ancestor in reversed(ancestors(type_)):
        for name, row in _types()[ancestor]["elements"].items():
            rows[name] = _element(name, row)
    return MappingProxyType(rows)


@cache
def summary_elements(type_: str) -> frozenset[str]:
    """The names of the elements of a complex type that a summary keeps; choices keep their `[x]`."""
    return frozenset(_summaries().get(type_, ()))


@cache
def value_set(name: str) -> Mapping[str, frozenset[str]]:
    """System -> codes of a value set that some element requires; empty if its codes are not in the table."""
    return MappingProxyType({system: frozenset(codes) for system, codes in _codes().get(name, {}).items()})


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtensionDefinition:
    """One official extension, or a part of one: the types its value may have, none where it has extensions instead.

    `codes` names a required value set, `contexts` are the types and elements that may have it, `invariants` FHIRPath
    about what has it, `parts` its own extensions by url; it has no extensions at all if `is_closed`. As a part it is there `least` to
    `most` times, None: any number.
    """

    types: tuple[str, ...]
    is_modifier: bool = False
    needs_value: bool = False
    is_closed: bool = False
    codes: str | None = None
    contexts: frozenset[str] = frozenset()
    invariants: tuple[str, ...] = ()
    parts: Mapping[str, ExtensionDefinition] = field(default_factory=dict)
    least: int = 0
    most: int | None = None


def extension_definition(url: str) -> ExtensionDefinition | None:
    """The official extension with this URL."""
    return _extensions().get(url)


@dataclass(frozen=True, kw_only=True, slots=True)
class Constraint:
    """One invariant: `severity` is error or warning, `human` says what has to hold, `expression` is its FHIRPath."""

    key: str
    severity: str
    human: str
    expression: str


@cache
def constraints(path: str) -> tuple[Constraint, ...]:
    """The invariants that a type, a part or one element (`Organization.telecom`) adds to those of its bases."""
    rows = _constraints().get(path, ())
    return tuple(Constraint(key=key, severity=rank, human=human, expression=text) for key, rank, human, text in rows)


def constrained() -> tuple[str, ...]:
    """Every type, part or element that adds an invariant."""
    return tuple(_constraints())


@cache
def search_parameters(type_: str) -> Mapping[str, SearchParameter]:
    """Code -> official search parameter of a resource type, those of Resource and DomainResource included."""
    by_base = _parameters_by_base()
    found: dict[str, SearchParameter] = {}
    for ancestor in reversed(ancestors(type_)):
        found |= by_base.get(ancestor, {})
    return MappingProxyType(found)


def search_parameter(url: str) -> SearchParameter | None:
    """The official search parameter with this canonical URL."""
    return _parameters_by_url().get(url)


def all_search_parameters() -> Mapping[str, SearchParameter]:
    """Canonical URL -> every official search parameter."""
    return _parameters_by_url()


def _element(name: str, row: Mapping[str, Any]) -> Element:
    return Element(
        name=name,
        types=tuple(row["types"]),
        required=bool(row.get("min")),
        many=row.get("max") == "*",
        targets=frozenset(row.get("targets", ())),
        codes=row.get("codes"),
        simple=bool(row.get("simple")),
        language=bool(row.get("language")),
    )


def _table(name: str) -> Any:
    return json.loads(files(__package__).joinpath(name).read_bytes())


@cache
def _types() -> dict[str, Any]:
    table: dict[str, Any] = _table("elements.json")
    return table


@cache
def _summaries() -> dict[str, list[str]]:
    table: dict[str, list[str]] = _table("summaries.json")
    return table


@cache
def _extensions() -> Mapping[str, ExtensionDefinition]:
    return {url: _extension(row) for url, row in _table("extensions.json").items()}


def _extension(row: Mapping[str, Any]) -> ExtensionDefinition:
    return ExtensionDefinition(
        types=tuple(row["types"]),
        is_modifier=bool(row.get("modifier")),
        needs_value=bool(row.get("min")),
        is_closed=bool(row.get("closed")),
        codes=row.get("codes"),
        contexts=frozenset(row.get("contexts", ())),
        invariants=tuple(row.get("invariants", ())),
        parts={url: _extension(part) for url, part in row.get("parts", {}).items()},
        least=row.get("least", 0),
        most=row.get("most"),
    )


@cache
def _constraints() -> dict[str, Any]:
    table: dict[str, Any] = _table("constraints.json")
    return table


@cache
def _codes() -> dict[str, Any]:
    table: dict[str, Any] = _table("codes.json")
    return table


@cache
def _resource_types() -> frozenset[str]:
    return frozenset(name for name, row in _types().items() if row["kind"] == "resource" and "abstract" not in row)


@cache
def _parameters_by_url() -> Mapping[str, SearchParameter]:
    rows = _table("search_parameters.json")
    return MappingProxyType({row["url"]: _search_parameter(row) for row in rows})


@cache
def _parameters_by_base() -> dict[str, dict[str, SearchParameter]]:
    by_base: dict[str, dict[str, SearchParameter]] = {}
    for parameter in _parameters_by_url().values():
        for base in parameter.base:
            by_base.setdefault(base, {})[parameter.code] = parameter
    return by_base


def _search_parameter(row: Mapping[str, Any]) -> SearchParameter:
    return SearchParameter(
        code=row["code"],
        type=row["type"],
        url=row["url"],
        base=tuple(row["base"]),
        expression=row.get("expression", ""),
        targets=tuple(row.get("target", ())),
        components=tuple(Component(definition=url, expression=text) for url, text in row.get("components", ())),
        comparators=tuple(row.get("comparator", ())),
        modifiers=tuple(row.get("modifier", ())),
    )
