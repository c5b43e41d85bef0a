"""Resources with one thing changed in each, made from good ones by a seeded generator; most are wrong, some stay right."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.definitions.registry import resource_types, value_set
from fhir_tracker.fhir.json_types import Json, Resource
from tests.agreement.places import Holder, Place, at, holders, members, places
from tests.agreement.rough import ROUGH
from tests.agreement.values import EDGES, NARRATIVES, REFERENCES
from tests.fhir.made import RIGHT, full


@dataclass(frozen=True, kw_only=True)
class Case:
    """One body to judge: its JSON text on one line, what was done to which base, and where."""

    text: str
    type: str
    kind: str
    base: str
    where: str


Change = tuple[str, str]
"""The JSON text after a change, and where the change was made."""
Mutation = Callable[[Resource, random.Random], Change | None]


def mutants(base: str, resource: Resource, count: int, rng: random.Random, *, rough: bool = False) -> Iterator[Case]:
    """`count` changed copies of a resource, each by a mutation drawn at random, those of people's mistakes if `rough`."""
    made = 0
    for _ in range(20 * count):
        if made == count:
            return
        kind = rng.choice(_DRAWN_ROUGH if rough else _DRAWN)
        change = (MUTATIONS.get(kind) or _ROUGH[kind])(resource, rng)
        if change is not None:
            made += 1
            yield Case(text=change[0], type=str(resource["resourceType"]), kind=kind, base=base, where=change[1])


def _shown(place: Place) -> str:
    return ".".join(str(step) for step in (*place.path, place.name))


def _edited(resource: Resource, place: Place, edit: Callable[[Any], None]) -> Change:
    changed = copy.deepcopy(resource)
    edit(at(changed, place.path))
    return write_json(changed), _shown(place)


def _put(resource: Resource, place: Place, value: Json) -> Change:
    def edit(holder: Any) -> None:
        holder[place.name] = value

    return _edited(resource, place, edit)


def _one(place: Place, resource: Resource, value: Json, rng: random.Random) -> Change:
    """The value as the element holds it: instead of one of its items if it repeats."""
    if not place.element.many:
        return _put(resource, place, value)
    now = list(at(resource, (*place.path, place.name)))
    now[rng.randrange(len(now))] = value
    return _put(resource, place, now)


def _pick(resource: Resource, rng: random.Random, wanted: Callable[[Place], bool] = lambda _: True) -> Place | None:
    found = [place for place in places(resource) if wanted(place)]
    return rng.choice(found) if found else None


def drop_required(resource: Resource, rng: random.Random) -> Change | None:
    place = _pick(resource, rng, lambda one: one.element.required)
    return _edited(resource, place, lambda holder: holder.pop(place.name)) if place else None


def drop_any(resource: Resource, rng: random.Random) -> Change | None:
    place = _pick(resource, rng)
    return _edited(resource, place, lambda holder: holder.pop(place.name)) if place else None


def wrong_kind(resource: Resource, rng: random.Random) -> Change | None:
    """Another JSON kind: an array for one value, one value for an array, a string for an object ..."""
    place = _pick(resource, rng)
    if place is None:
        return None
    now = at(resource, (*place.path, place.name))
    wrong: list[Json] = ["words", 5, True, {"nonsense": 1}, {}, [], None, [None], [[]], [{}], "", [now]]
    if isinstance(now, list):
        wrong += [now[0], now[0]]
    elif isinstance(now, (bool, int)):
        wrong += [str(now).lower()] * 3
    return _put(resource, place, rng.choice([one for one in wrong if one != now]))


def wrong_code(resource: Resource, rng: random.Random) -> Change | None:
    """Another code where a value set is required."""
    place = _pick(resource, rng, lambda one: bool(one.element.codes))
    if place is None or place.element.codes is None:
        return None
    pairs = [(system, code) for system, codes in value_set(place.element.codes).items() for code in sorted(codes)]
    system, code = rng.choice(pairs) if pairs else ("", "x")
    code = rng.choice([code, "nonsense", code.upper(), f" {code}", f"{code} ", ""])
    system = rng.choice([system, system, "http://example.org/other", ""])
    coding: Resource = {"code": code} | ({"system": system} if system else {})
    if place.leaf == "CodeableConcept":
        words: Resource = {"text": "words"}
        return _one(place, resource, rng.choice([{"coding": [coding]}, words, {"coding": [coding], **words}]), rng)
    return _one(place, resource, coding if place.leaf == "Coding" else code, rng)


def unknown_element(resource: Resource, rng: random.Random) -> Change:
    holder = rng.choice(holders(resource))
    name = rng.choice(["nonsense", "_nonsense", "Status", "xmlns", "fhir_comments", "value", "@type", "resourceType"])
    return _with(resource, holder, name, rng.choice(["x", 5, {"x": 1}, ["x"]]))


def edge_value(resource: Resource, rng: random.Random) -> Change | None:
    """A value at the edge of its type's format."""
    place = _pick(resource, rng, lambda one: one.leaf in EDGES and (one.within, one.name) != ("Reference", "reference"))
    return _one(place, resource, rng.choice(EDGES[place.leaf]), rng) if place else None


def empty_or_null(resource: Resource, rng: random.Random) -> Change | None:
    place = _pick(resource, rng)
    return _one(place, resource, rng.choice([None, "", {}, []]), rng) if place else None


def another_reference(resource: Resource, rng: random.Random) -> Change | None:
    place = _pick(resource, rng, lambda one: one.leaf == "Reference")
    if place is None:
        return None
    any_type: Resource = {"reference": f"{rng.choice(sorted(resource_types()))}/1"}
    return _one(place, resource, rng.choice([any_type] * 20 + REFERENCES), rng)


def second_choice(resource: Resource, rng: random.Random) -> Change | None:
    """Another type of a choice, beside or instead of the one that is there."""
    place = _pick(resource, rng, lambda one: one.element.is_choice)
    if place is None:
        return None
    leaf = rng.choice([one for one in place.element.types if one in RIGHT] or ["string"])
    name = place.element.name.removesuffix("[x]") + leaf[0].upper() + leaf[1:]
    beside = rng.random() < 0.6

    def edit(holder: Any) -> None:
        if not beside:
            holder.pop(place.name)
        holder[name] = RIGHT[leaf]

    return _edited(resource, place, edit)


def added_element(resource: Resource, rng: random.Random) -> Change | None:
    """An element that was not there, filled by the tables."""
    holder = rng.choice(holders(resource))
    now = at(resource, holder.path)
    absent = [name for name, (element, _) in members(holder.type).items() if name not in now and element.types]
    absent = [name for name in absent if name not in ("contained", "extension", "modifierExtension")]
    if not absent:
        return None
    name = rng.choice(absent)
    element, leaf = members(holder.type)[name]
    made = _filled(holder.type, name)
    if made is None:
        made = RIGHT.get(leaf)
    if made is None:
        return None
    return _with(resource, holder, name, [made] if element.many and not isinstance(made, list) else made)


def beside_primitive(resource: Resource, rng: random.Random) -> Change | None:
    """`_x` beside an element, of the right and of wrong shapes."""
    place = _pick(resource, rng)
    if place is None:
        return None
    why: Resource = {"extension": [{"url": "http://example.org/why", "valueString": "x"}]}
    shapes: list[Json] = [
        why,
        [why],
        [None],
        [why, why, why],
        {},
        [],
        None,
        "x",
        {"id": "x"},
        {"value": 1},
        [{"id": "a b"}],
    ]
    shape = [why] if place.element.many and rng.random() < 0.3 else rng.choice(shapes)
    alone = rng.random() < 0.3

    def edit(holder: Any) -> None:
        if alone:
            holder.pop(place.name)
        holder[f"_{place.name}"] = shape

    return _edited(resource, place, edit)


def narrative(resource: Resource, rng: random.Random) -> Change:
    status = rng.choice(["generated", "generated", "empty", "additional", "nonsense"])
    return _with(resource, Holder(path=(), type=""), "text", {"status": status, "div": rng.choice(NARRATIVES)})


def repeated(resource: Resource, rng: random.Random) -> Change | None:
    """An item twice, or the same member twice in the text."""
    place = _pick(resource, rng)
    if place is None:
        return None
    now = at(resource, (*place.path, place.name))
    if isinstance(now, list):
        return _put(resource, place, [*now, now[-1]])
    if place.path:
        return None
    member = write_json({place.name: now})[1:-1]
    return f"{write_json(resource)[:-1]},{member}}}", _shown(place)


def broken_rule(resource: Resource, rng: random.Random) -> Change | None:
    """An object replaced by one that breaks, or just keeps, a rule of its type."""
    rules = rule_breakers()
    found = [place for place in places(resource) if place.leaf in rules]
    absent = [
        (holder, name)
        for holder in holders(resource)
        for name, (_, leaf) in members(holder.type).items()
        if leaf in rules and name not in at(resource, holder.path)
    ]
    if found and (not absent or rng.random() < 0.5):
        place = rng.choice(found)
        return _one(place, resource, rng.choice(rules[place.leaf]), rng)
    if not absent:
        return None
    holder, name = rng.choice(absent)
    element, leaf = members(holder.type)[name]
    value = rng.choice(rules[leaf])
    return _with(resource, holder, name, [value] if element.many else value)


@cache
def rule_breakers() -> dict[str, list[Resource]]:
    """Type -> objects around the invariants of that data type; some keep them, some break them."""
    found: dict[str, list[Resource]] = json.loads(Path(__file__).with_name("rule_breakers.json").read_text())
    return found


def contained(resource: Resource, rng: random.Random) -> Change:
    """Contained resources: referred to or not, with what they must not have."""
    inner: Resource = {"resourceType": "Basic", "id": "inner", "code": {"text": "words"}}
    variants: list[Json] = [
        [inner],
        [{**inner, "contained": [inner]}],
        [{**inner, "meta": {"versionId": "1"}}],
        [{**inner, "meta": {"security": [{"code": "x"}]}}],
        [{**inner, "text": {"status": "generated", "div": NARRATIVES[0]}}],
        [{key: value for key, value in inner.items() if key != "id"}],
        [inner, inner],
        [{**inner, "resourceType": "Nonsense"}],
        [{**inner, "id": "#inner"}],
        [{**inner, "code": "x"}],
        [{"resourceType": "Patient", "id": "inner", "managingOrganization": {"reference": "#"}}],
    ]
    changed = copy.deepcopy(resource) | {"contained": rng.choice(variants)}
    if rng.random() < 0.6:
        seen = {"url": "http://example.org/uses", "valueReference": {"reference": rng.choice(["#inner", "#other"])}}
        changed["extension"] = [*changed.get("extension", []), seen]
    return write_json(changed), "contained"


def resource_type(resource: Resource, rng: random.Random) -> Change:
    name = rng.choice(
        [
            "",
            "task",
            "Nonsense",
            "DomainResource",
            "Resource",
            "Element",
            5,
            None,
            ["Task"],
            *sorted(resource_types())[:3],
        ]
    )
    changed = {key: value for key, value in resource.items() if key != "resourceType"}
    return write_json(changed if rng.random() < 0.2 else {"resourceType": name, **changed}), "resourceType"


def _with(resource: Resource, holder: Holder, name: str, value: Json) -> Change:
    changed = copy.deepcopy(resource)
    at(changed, holder.path)[name] = value
    return write_json(changed), ".".join(map(str, (*holder.path, name)))


def _filled(type_: str, name: str) -> Json:
    return full(type_, 1).get(name)


MUTATIONS: dict[str, Mutation] = {
    one.__name__.replace("_", " "): one
    for one in (
        drop_required, drop_any, wrong_kind, wrong_code, unknown_element, edge_value, empty_or_null, another_reference,
        second_choice, added_element, beside_primitive, narrative, repeated, broken_rule, contained, resource_type,
    )
}  # fmt: skip
_WEIGHTS = {
    "edge value": 4,
    "broken rule": 4,
    "drop any": 2,
    "added element": 2,
    "another reference": 2,
    "wrong code": 2,
}
_DRAWN = [kind for kind in MUTATIONS for _ in range(_WEIGHTS.get(kind, 1))]
_ROUGH: dict[str, Mutation] = {one.__name__.replace("_", " "): one for one in ROUGH}
_DRAWN_ROUGH = [*_DRAWN, *_ROUGH]
