"""Elements of a resource that somebody may not see: cut from what is shown, and kept where that comes back changed.

https://hl7.org/fhir/R4/security-labels.html#SUBSETTED
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fhir_tracker.errors import Forbidden, Issue
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.subsets import SUBSETTED, leaf_type, members

Paths = frozenset[str]
TAG: Final[Mapping[str, str]] = {**SUBSETTED, "display": "Without the elements that the reader may not see"}
"""What is cut says so by this; a body that comes back with it lacks nothing but what stays as it is."""
NARRATIVE: Final = "text"
"""Hidden wherever anything is: a narrative may tell of every element."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """`hidden` gives the paths of a type's elements that are not shown, `readable` whether a type may be read at all."""

    hidden: Callable[[str], Paths]
    readable: Callable[[str], bool]

    def shown(self, resource: Resource) -> Resource:
        """The resource as it is shown; the very same where nothing is hidden of its type, and of what it holds nothing was cut.

        All others are tagged, whether they have what is hidden or not: the tag does not tell which.
        """
        cut = self.cut(resource)
        is_whole = cut is resource and not self.hidden(str(resource.get("resourceType")))
        return cut if is_whole else _tagged(cut)

    def cut(self, resource: Resource) -> Resource:
        """The same without the tag. Resources within it are cut by the rules of their own types."""
        type_ = resource.get("resourceType")
        if not isinstance(type_, str):
            return resource
        paths = self.hidden(type_)
        kept = _without(resource, type_, _tree(paths | {NARRATIVE})) if paths else resource
        return self._within(kept)

    def _within(self, resource: Resource) -> Resource:
        found: Resource = {}
        for name, value in resource.items():
            if name == "contained" and isinstance(value, list):
                inner: Json = [self.cut(one) for one in value if not isinstance(one, dict) or self._is_shown(one)]
                inner = value if inner == value else inner
                if inner or inner is value:
                    found[name] = inner
            elif name in ("entry", "parameter", "part") and isinstance(value, list):
                found[name] = _same(value, [self._holding(one) for one in value])
            else:
                found[name] = value
        return resource if _is_same(found, resource) else found

    def _holding(self, value: Json) -> Json:
        """An entry of a Bundle or a parameter, with the resource that it holds cut."""
        if not isinstance(value, dict):
            return value
        inner = self._within(value)
        held = inner.get("resource")
        shown = self.shown(held) if isinstance(held, dict) else held
        return inner if shown is held else {**inner, "resource": shown}

    def _is_shown(self, contained: Resource) -> bool:
        return self.readable(str(contained.get("resourceType")))


def is_only_cut(resource: Resource) -> Resource | None:
    """The resource without the tag of what is hidden, None where it does not carry that."""
    meta = resource.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or not isinstance(tags, list) or TAG not in tags:
        return None
    rest = [one for one in tags if one != TAG]
    kept = {name: value for name, value in meta.items() if name != "tag"} | ({"tag": rest} if rest else {})
    bare = {name: value for name, value in resource.items() if name != "meta"}
    return bare | ({"meta": kept} if kept else {})


def elements_at(resource: Resource, paths: Iterable[str]) -> dict[str, list[Json]]:
    """What the resource has at each of these paths, for those where it has anything."""
    type_ = str(resource.get("resourceType"))
    found = {path: list(_at([resource], (type_,), path.split("."))) for path in sorted(paths)}
    return {path: values for path, values in found.items() if values}


def refuse(type_: str, names: Iterable[str], why: str) -> None:
    """Raise Forbidden that names each of these elements, unless there are none."""
    listed = list(names)
    if listed:
        issues = tuple(
            Issue(message=f"{type_}.{name} {why}", code="forbidden", expression=f"{type_}.{name}") for name in listed
        )
        raise Forbidden(" ".join(one.message for one in issues), issues=issues)


def restored(before: Resource, after: Resource, rules: Rules) -> Resource:
    """What is stored when somebody who saw `before` cut makes `after` of it: what was hidden stays as it was.

    Raises Forbidden for an `after` that has a hidden element, or that changes a part of `before` in which one is.
    """
    type_ = str(before.get("resourceType"))
    paths = rules.hidden(type_)
    merged = after
    if paths:
        hidden = paths | {NARRATIVE}
        refuse(type_, elements_at(after, hidden), "cannot be set by who may not see it.")
        merged = _merged(before, after, type_, _tree(hidden), type_)
    return _contained(before, merged, rules)


def _contained(before: Resource, after: Resource, rules: Rules) -> Resource:
    whole = before.get("contained")
    shown = rules._within({"contained": whole}).get("contained") if isinstance(whole, list) else None
    if not isinstance(whole, list) or shown is whole:
        return after
    if after.get("contained", []) != (shown or []):
        refuse(str(before.get("resourceType")), ["contained"], "holds what you may not see: it stays as it is.")
    return after | {"contained": whole}


_Tree = Mapping[str, "_Tree | None"]


@lru_cache(maxsize=512)
def _tree(paths: Paths) -> _Tree:
    """The paths as a tree; None ends one."""
    root: dict[str, _Tree | None] = {}
    for path in sorted(paths):
        here = root
        *around, last = path.split(".")
        for part in around:
            inner = here.setdefault(part, {})
            if inner is None:
                break
            here = inner  # type: ignore[assignment]
        else:
            here[last] = None
    return root


def _without(value: Resource, type_: str, tree: _Tree) -> Resource:
    kept: Resource = {}
    for member, held in value.items():
        rule, inner_type = _rule(member, type_, tree)
        if rule is None:
            kept[member] = held
        elif rule:
            inner = _inner(held, inner_type, rule)
            if inner not in ({}, []):
                kept[member] = inner
    return value if _is_same(kept, value) else kept


def _inner(held: Json, type_: str, tree: _Tree) -> Json:
    if isinstance(held, list):
        items = [_inner(one, type_, tree) for one in held]
        return _same(held, [one for one in items if one != {}])
    return _without(held, type_, tree) if isinstance(held, dict) else held


def _rule(member: str, type_: str, tree: _Tree) -> tuple[_Tree | None, str]:
    """None for an element that stays, an empty tree for one that goes, else the rules within it; and its type."""
    name = member.removeprefix("_")
    element = members(type_).get(name)
    key = element.name if element is not None else name
    if key not in tree:
        return None, ""
    inner = tree[key]
    if inner is None:
        return {}, ""
    if member.startswith("_"):
        return None, ""
    return inner, leaf_type(element, name) if element is not None else ""


def _at(values: Iterable[Json], types: tuple[str, ...], path: list[str]) -> Iterator[Json]:
    part, *rest = path
    for value in values:
        if isinstance(value, list):
            yield from _at(value, types, path)
        elif isinstance(value, dict):
            for member, held in value.items():
                name = member.removeprefix("_")
                element = members(types[0]).get(name)
                if (element.name if element else name) != part:
                    continue
                if not rest:
                    yield held
                elif element is not None and not member.startswith("_"):
                    yield from _at([held], (leaf_type(element, name),), rest)


def _merged(before: Resource, after: Resource, type_: str, tree: _Tree, place: str) -> Resource:
    """`after` with what `before` has at the tree's paths, in the order of `before` where both have a member."""
    kept: Resource = {}
    for member, held in before.items():
        rule, inner_type = _rule(member, type_, tree)
        if rule is None:
            if member in after:
                kept[member] = after[member]
        elif not rule:
            kept[member] = held
        elif (inner := _woven(held, after.get(member), inner_type, rule, f"{place}.{member}")) not in (None, {}, []):
            kept[member] = inner
    return kept | {member: held for member, held in after.items() if member not in kept}


def _woven(before: Json, after: Json, type_: str, tree: _Tree, place: str) -> Json:
    """As `_merged` for an element that holds hidden ones: an item that is still there is put back whole.

    Raises Forbidden where one that held something hidden is no more what it was.
    """
    if isinstance(before, dict) and (isinstance(after, dict) or after is None):
        return _merged(before, after or {}, type_, tree, place)
    whole = before if isinstance(before, list) else []
    given = list(after) if isinstance(after, list) else []
    seen = [_inner(one, type_, tree) for one in whole]
    result: list[Json] = []
    waiting = list(range(len(whole)))
    for item in given:
        match = next((at for at in waiting if seen[at] == item), None)
        if match is not None:
            waiting.remove(match)
        result.append(item if match is None else whole[match])
    lost = [at for at in waiting if seen[at] != whole[at]]
    unseen = [at for at in lost if seen[at] == {}]
    if len(unseen) < len(lost):
        root, _, path = place.partition(".")
        refuse(root, [path], "has a part that you may not see: its entries can be added to, and not changed.")
    return [*result, *(whole[at] for at in unseen)]


def _tagged(resource: Resource) -> Resource:
    meta = resource.get("meta")
    held = dict(meta) if isinstance(meta, dict) else {}
    tags = held.get("tag")
    present = list(tags) if isinstance(tags, list) else []
    first = {name: resource[name] for name in ("resourceType", "id") if name in resource}
    rest = {name: value for name, value in resource.items() if name not in {*first, "meta"}}
    return first | {"meta": held | {"tag": [*present, dict(TAG)]}} | rest


def _same(old: list[Json], new: list[Json]) -> list[Json]:
    same = len(old) == len(new) and all(one is other for one, other in zip(old, new, strict=True))
    return old if same else new


def _is_same(one: Resource, other: Resource) -> bool:
    return len(one) == len(other) and all(value is other[name] for name, value in one.items())
