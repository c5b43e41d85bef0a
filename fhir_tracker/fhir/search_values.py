"""All search values of one resource, by one walk over a merged tree of its type's search parameters.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from itertools import islice, product
from typing import Any

from fhir_tracker.fhir.definitions.registry import Element, SearchParameter, elements, search_parameter, value_set
from fhir_tracker.fhir.expressions import Hop, Index, NotCompilable, TypedPath, Where, compile_expression, matches
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.search_converters import CONVERTERS, Converter, Rows, token_boolean, token_of_system
from fhir_tracker.fhir.search_rows import (
    CompositeRow,
    DateRow,
    NumberRow,
    Part,
    QuantityRow,
    ReferenceRow,
    SearchValues,
    StringRow,
    TokenRow,
    UriRow,
)
from fhir_tracker.fhir.search_unions import is_union

COLUMNS = frozenset({"_id", "_lastUpdated"})
"""Parameters that are columns of every resource and give no rows."""
MOST_COMBINATIONS = 1000

_Emit = Callable[[Json, "_Sink"], None]


@dataclass(slots=True)
class _Sink:
    root: Resource
    rows: Rows = field(default_factory=list)
    composites: list[CompositeRow] = field(default_factory=list)
    parts: dict[tuple[int, int], Rows] = field(default_factory=dict)


@dataclass(slots=True)
class _Node:
    members: dict[str, _Node] = field(default_factory=dict)
    filters: dict[Where | Index, _Node] = field(default_factory=dict)
    emits: list[_Emit] = field(default_factory=list)
    plain: list[tuple[str, Converter]] = field(default_factory=list)

    def at(self, hops: tuple[Hop, ...]) -> _Node:
        node = self
        for hop in hops:
            node = (
                node.members.setdefault(hop, _Node()) if isinstance(hop, str) else node.filters.setdefault(hop, _Node())
            )
        return node


def extract(resource: Resource, *, unions: bool = True) -> SearchValues:
    """The search values of `resource` (known resourceType); values of a wrong kind or format give no row.

    Without `unions` those are left out that the index has under other parameters.
    """
    sink = _Sink(resource)
    _walk_one(_plan(resource["resourceType"], None, unions), resource, sink, 0)
    return _values(sink)


def extract_some(resource: Resource, params: frozenset[str]) -> list[Part]:
    """The values of these parameters only (no composites), in the order found and with repetitions."""
    sink = _Sink(resource)
    _walk_one(_plan(resource["resourceType"], params), resource, sink, 0)
    return sink.rows


def indexed_parameters(type_: str) -> frozenset[str]:
    """The codes of the parameters of `type_` that `extract` gives rows for."""
    return frozenset(code for code in parameters_of(type_) if unindexed_reason(type_, code) is None)


@cache
def unindexed_reason(type_: str, code: str) -> str | None:
    """Why a parameter gives no rows; None when it does."""
    parameter = parameters_of(type_)[code]
    if code in COLUMNS:
        return "a column of every resource"
    if not parameter.expression:
        return "has no expression: text search and named queries are not values of the resource"
    try:
        paths = compile_expression(parameter.expression, type_)
        if not paths:
            return "no path applies to this type"
        if parameter.type == "composite":
            return None if all(_component_paths(parameter, paths[0].type)) else "a part has no convertible path"
    except NotCompilable as error:
        return str(error)
    return None if any(_converter(parameter.type, path) for path in paths) else "no path has a convertible type"


@cache
def gives_one_row(type_: str, code: str) -> bool:
    """Whether no resource of `type_` has more than one value of a plain parameter."""
    heads: set[str] = set()
    paths = compile_expression(parameters_of(type_)[code].expression, type_)
    for path in paths:
        here = type_
        for hop in path.hops:
            found = _element(here, hop) if isinstance(hop, str) else None
            if found is None or found.many:
                return False
            heads.add(found.name)
            here = found.types[0]
    return len(paths) == 1 or (len(heads) == 1 and all(len(path.hops) == 1 for path in paths))


def _element(type_: str, member: str) -> Element | None:
    """The element that a JSON member belongs to, a choice by any of its names."""
    known = elements(type_)
    choices = (one for one in known.values() if one.is_choice and member.startswith(one.name.removesuffix("[x]")))
    return known.get(member) or next(choices, None)


def _values(sink: _Sink) -> SearchValues:
    groups: dict[type[Part], dict[Any, None]] = {}
    for row in sink.rows:
        groups.setdefault(type(row), {})[row] = None
    return SearchValues(
        tokens=tuple(groups.get(TokenRow, ())),
        references=tuple(groups.get(ReferenceRow, ())),
        uris=tuple(groups.get(UriRow, ())),
        dates=tuple(groups.get(DateRow, ())),
        strings=tuple(groups.get(StringRow, ())),
        numbers=tuple(groups.get(NumberRow, ())),
        quantities=tuple(groups.get(QuantityRow, ())),
        composites=tuple(dict.fromkeys(sink.composites)),
    )


def _walk(node: _Node, value: Json, sink: _Sink) -> None:
    if type(value) is list:
        for position, item in enumerate(value):
            _walk_one(node, item, sink, position)
    else:
        _walk_one(node, value, sink, 0)


def _walk_one(node: _Node, value: Json, sink: _Sink, position: int) -> None:
    for param, convert in node.plain:
        convert(param, value, sink.rows)
    for emit in node.emits:
        emit(value, sink)
    if node.filters:
        for condition, child in node.filters.items():
            if condition.position == position if isinstance(condition, Index) else matches(value, condition):
                _walk_one(child, value, sink, position)
    members = node.members
    if members and type(value) is dict:
        for name in value if len(value) < len(members) else members:
            if name in members and name in value:
                member = value[name]
                if type(member) is list:
                    _walk(members[name], member, sink)
                else:
                    _walk_one(members[name], member, sink, 0)


@lru_cache(maxsize=1024)
def _plan(type_: str, only: frozenset[str] | None = None, unions: bool = True) -> _Node:
    root = _Node()
    for code, parameter in parameters_of(type_).items():
        if unindexed_reason(type_, code) is not None or (only is not None and code not in only):
            continue
        if not unions and is_union(type_, code):
            continue
        for path in compile_expression(parameter.expression, type_):
            if path.presence:
                continue
            if parameter.type == "composite":
                root.at(path.hops).emits.append(_composite(parameter, path.type))
            elif convert := _converter(parameter.type, path):
                root.at(path.hops).plain.append((code, convert))
        _add_presence(root, code, compile_expression(parameter.expression, type_))
    return root


def _add_presence(root: _Node, code: str, paths: tuple[TypedPath, ...]) -> None:
    """Compile `x.exists() and x != false` on a choice of the resource itself."""
    names = [path.hops[0] for path in paths if path.presence and len(path.hops) == 1]
    if names:
        root.emits.append(partial(_emit_presence, code, tuple(name for name in names if isinstance(name, str))))


def _emit_presence(code: str, names: tuple[str, ...], value: Json, sink: _Sink) -> None:
    found = any(name in value and value[name] is not False for name in names)
    token_boolean(code, found, sink.rows)


def _converter(search_type: str, path: TypedPath) -> Converter | None:
    if path.presence:
        return token_boolean if search_type == "token" else None
    if search_type == "token" and path.type == "code" and path.codes:
        systems = list(value_set(path.codes))
        if len(systems) == 1:
            return token_of_system(systems[0])
    return CONVERTERS.get((search_type, path.type))


def _composite(parameter: SearchParameter, base: str) -> _Emit:
    """The last part is looked for first: it is the one that is most often missing."""
    found = _component_paths(parameter, base)
    nodes = [(_part(tuple(pairs)), pairs[0][0].from_root) for pairs in reversed(found)]

    def emit(value: Json, sink: _Sink) -> None:
        parts: list[Rows] = []
        for node, from_root in nodes:
            rows = _part_rows(node, sink.root if from_root else value, sink)
            if not rows:
                return
            parts.append(rows)
        parts.reverse()
        for combination in islice(product(*parts), MOST_COMBINATIONS):
            sink.composites.append(CompositeRow(parameter.code, combination))

    return emit


@cache
def _part(pairs: tuple[tuple[TypedPath, Converter], ...]) -> _Node:
    """The walk of one part, which several composites can share."""
    node = _Node()
    for path, convert in pairs:
        node.at(path.hops).plain.append(("", convert))
    return node


def _part_rows(node: _Node, value: Json, sink: _Sink) -> Rows:
    """The rows of a part in one place, found once however many composites ask for them."""
    place = (id(node), id(value))
    rows = sink.parts.get(place)
    if rows is None:
        inner = _Sink(sink.root)
        _walk(node, value, inner)
        rows = sink.parts[place] = inner.rows
    return rows


def _component_paths(parameter: SearchParameter, base: str) -> list[list[tuple[TypedPath, Converter]]]:
    """The convertible paths of each part, in the order of the parameter's components.

    DocumentReference-relationship is published with its two expressions exchanged: where no part can be converted as
    it stands, and each can be with the other's expression, they are changed back.
    """
    kinds = [_type_of(component.definition) for component in parameter.components]
    texts = [component.expression for component in parameter.components]
    found = [_convertible(kind, text, base) for kind, text in zip(kinds, texts, strict=True)]
    if len(found) == 2 and not any(found):
        found = [_convertible(kind, text, base) for kind, text in zip(kinds, reversed(texts), strict=True)]
    return found


def _type_of(url: str) -> str:
    parameter = search_parameter(url)
    if parameter is None:
        raise NotCompilable(f"no parameter {url}")
    return parameter.type


def _convertible(search_type: str, expression: str, base: str) -> list[tuple[TypedPath, Converter]]:
    pairs = [(path, _converter(search_type, path)) for path in compile_expression(expression, base)]
    return [(path, convert) for path, convert in pairs if convert is not None]
