"""The invariants asked most often, or outside the compiled subset, as plain functions.

https://hl7.org/fhir/R4/domainresource-definitions.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fhir_tracker.fhir.invariants.values import Scope, order
from fhir_tracker.fhir.json_types import Json, Resource


@dataclass(frozen=True, slots=True)
class ByHand:
    """A test in place of a compiled expression; `guard` as in a rule."""

    test: Callable[[Json, Scope], bool | None]
    guard: frozenset[str]


def _reference_is_contained(value: Json, scope: Scope) -> bool:
    """ref-1."""
    text = value.get("reference")
    if type(text) is not str or text[:1] != "#" or text == "#":
        return True
    held = scope.root.get("contained")
    return type(held) is list and any(type(one) is dict and one.get("id") == text[1:] for one in held)


def _period_is_forward(value: Json, scope: Scope) -> bool:
    """per-1."""
    if "start" not in value or "end" not in value:
        return True
    start, end = value["start"], value["end"]
    if start is None or end is None:
        return True
    return order(start, end, dates=True) in (-1, 0)


def _contained_are_referenced(value: Json, scope: Scope) -> bool:
    """dom-3: what is contained is referred to, or refers to what contains it."""
    held = value.get("contained")
    if type(held) is not list:
        return True
    local: set[str] = set()
    _collect_local(value, local)
    return all(type(one) is not dict or f"#{one.get('id')}" in local or _points_out(one) for one in held)


def _points_out(contained: Resource) -> bool:
    local: set[str] = set()
    _collect_local(contained, local)
    return "#" in local


def _collect_local(value: Resource, local: set[str]) -> None:
    """Every string that begins with # in a value."""
    for member in value.values():
        if type(member) is str:
            if member[:1] == "#":
                local.add(member)
        elif type(member) is dict:
            _collect_local(member, local)
        elif type(member) is list:
            for item in member:
                if type(item) is dict:
                    _collect_local(item, local)
                elif type(item) is str and item[:1] == "#":
                    local.add(item)


def _all_contained(allowed: Callable[[Json], bool]) -> Callable[[Json, Scope], bool]:
    def test(value: Json, scope: Scope) -> bool:
        held = value.get("contained")
        return type(held) is not list or all(type(one) is not dict or allowed(one) for one in held)

    return test


def _meta(value: Json) -> Json:
    meta = value.get("meta")
    return meta if type(meta) is dict else {}


_CONTAINED = frozenset({"contained"})
BY_HAND: dict[str, ByHand] = {
    "ref-1": ByHand(_reference_is_contained, frozenset({"reference"})),
    "per-1": ByHand(_period_is_forward, frozenset({"start"})),
    "dom-2": ByHand(_all_contained(lambda one: "contained" not in one), _CONTAINED),
    "dom-3": ByHand(_contained_are_referenced, _CONTAINED),
    "dom-4": ByHand(_all_contained(lambda one: {"versionId", "lastUpdated"}.isdisjoint(_meta(one))), _CONTAINED),
    "dom-5": ByHand(_all_contained(lambda one: "security" not in _meta(one)), _CONTAINED),
}
"""Key -> what answers it; the same as its expression, which a test compares."""
