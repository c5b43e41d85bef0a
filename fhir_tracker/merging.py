"""The three-way merge of a resource that changed here and in an EHR; pure.

Each side's changes are told by its own text now and its own text when both last agreed, so that what one side leaves out or
writes differently never looks like a change. What an EHR only adds to a field of ours is left as it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.ownership import ADDED_TO, NEVER, Owner

Side = Literal["ours", "theirs"]
Verdict = Literal["send", "take", "ask", ""]
_DECIDED: Mapping[Side, Verdict] = {"ours": "send", "theirs": "take"}
KEYED: Mapping[str, str] = {"extension": "url", "modifierExtension": "url", "contained": "id"}
"""Lists in which each side has items of its own, told apart by this member."""


@dataclass(frozen=True, kw_only=True)
class Merged:
    """By field, sorted: what is to be written there, what is to be taken over here, and what a person has to decide.

    `insisted` are those of `send` that only they changed, and that are ours.
    """

    send: tuple[str, ...]
    take: tuple[str, ...]
    conflicts: tuple[str, ...]
    insisted: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Texts:
    """One side's resource `now`, and as it was when both agreed (`before`); None when they never did."""

    before: Resource | None
    now: Resource


def merge(
    ours: Texts,
    theirs: Texts,
    *,
    as_theirs: Resource,
    owner: Callable[[str], Owner],
    decided: Mapping[str, Side] | None = None,
) -> Merged:
    """What is to become of each field. `as_theirs` is ours in the EHR's words; `decided` is what a person has chosen."""
    found: dict[str, set[str]] = {"send": set(), "take": set(), "ask": set(), "": set()}
    we, they = _changed(ours), _changed(theirs, present=False)
    for name in sorted(we | they):
        if name in ADDED_TO:
            if missing(as_theirs, theirs.now, theirs.before, name):
                found["send"].add(name)
            if missing(theirs.now, ours.now, ours.before, name):
                found["take"].add(name)
        elif value(as_theirs, name) != value(theirs.now, name):
            sides = {"we": name in we, "they": name in they}
            verdict = _verdict(name, owner(name), **sides, ours=ours, as_theirs=as_theirs, theirs=theirs.now)
            if verdict == "ask" and name in (decided or {}):
                verdict = _DECIDED[(decided or {})[name]]
            found[verdict].add(name)
    send, take, conflicts = (tuple(sorted(found[one])) for one in ("send", "take", "ask"))
    insisted = tuple(name for name in send if name not in we and name not in ADDED_TO)
    return Merged(send=send, take=take, conflicts=conflicts, insisted=insisted)


def over(
    under: Resource,
    upper: Resource,
    names: Sequence[str],
    before: Resource | None,
    upper_before: Resource | None = None,
) -> Resource:
    """A copy of `under` in which `names` are as in `upper`; to lists that both add to, what it lacks is added.

    `before` is `under` when both agreed: what was in it then and is not now was taken out on purpose. `upper_before` is
    `upper` then: of the lists in KEYED only what is in either is replaced, the rest is the other side's own.
    """
    fresh = dict(under)
    for name in names:
        if name in ADDED_TO:
            fresh[name] = [*_items(under, name), *missing(upper, under, before, name)]
        elif name in KEYED and upper_before is not None:
            laid = _laid(under, upper, upper_before, name)
            fresh = {one: held for one, held in fresh.items() if one != name} | ({name: laid} if laid else {})
        else:
            for part in (name, f"_{name}"):
                if part in upper:
                    fresh[part] = upper[part]
                else:
                    fresh.pop(part, None)
    return fresh


def changed(before: Resource | None, now: Resource) -> frozenset[str]:
    """The fields in which two texts of one side differ."""
    return frozenset(_changed(Texts(before=before or {}, now=now)))


def value(resource: Resource, name: str) -> tuple[Json, Json]:
    """A field with the extensions of its primitives."""
    return resource.get(name), resource.get(f"_{name}")


def missing(there: Resource, here: Resource, before: Resource | None, name: str) -> list[Json]:
    """The items of a list of `there` that `here` has not, and had not when both agreed."""
    known = {_known_as(item, name) for side in (here, before or {}) for item in _items(side, name)}
    return [item for item in _items(there, name) if _known_as(item, name) not in known]


def covers(theirs: Json, ours: Json) -> bool:
    """Whether all that ours says is said there: members may be added, and items stand in another order."""
    if isinstance(ours, dict):
        return isinstance(theirs, dict) and all(
            name in theirs and covers(theirs[name], one) for name, one in ours.items()
        )
    if isinstance(ours, list):
        if not isinstance(theirs, list) or len(theirs) != len(ours):
            return False
        left = list(theirs)
        for item in ours:
            match = next((index for index, one in enumerate(left) if covers(one, item)), None)
            if match is None:
                return False
            del left[match]
        return True
    if isinstance(ours, str) and isinstance(theirs, str):
        return ours.split() == theirs.split()
    return bool(ours == theirs)


def _changed(side: Texts, *, present: bool = True) -> set[str]:
    """Without an agreement all that is `present` counts as changed, or nothing."""
    if side.before is None:
        return _names(side.now) if present else {name for name in ADDED_TO if name in side.now}
    names = _names(side.before) | _names(side.now)
    return {name for name in names if value(side.before, name) != value(side.now, name)}


def _verdict(
    name: str, owner: Owner, *, we: bool, they: bool, ours: Texts, as_theirs: Resource, theirs: Resource
) -> Verdict:
    if owner == "ehr":
        return "take"
    if owner == "ours":
        return "" if _is_said(name, ours, as_theirs, theirs, we=we) else "send"
    if we and they:
        return "ask"
    return "send" if we else "take"


def _is_said(name: str, ours: Texts, as_theirs: Resource, theirs: Resource, *, we: bool) -> bool:
    """Whether a field of ours needs no writing: it is said there, or one that we never said anything in."""
    if name in KEYED:
        laid = _laid(theirs, as_theirs, ours.before or {}, name)
        return _items(theirs, name) == laid or (not we and covers(_items(theirs, name), laid))
    if we:
        return False
    held, extended = value(as_theirs, name)
    there, extended_there = value(theirs, name)
    if held is None and extended is None:
        return value(ours.now, name) == (None, None)
    return (held is None or covers(there, held)) and (extended is None or covers(extended_there, extended))


def _laid(under: Resource, upper: Resource, upper_before: Resource, name: str) -> list[Json]:
    """The items of `under` with those of `upper` in place of the ones that are or were its own."""
    held, fresh = _by_key(under, name), _by_key(upper, name)
    own = fresh.keys() | _by_key(upper_before, name).keys()
    kept = {key: items for key, items in held.items() if key not in own}
    said = {key: held[key] if covers(held.get(key), items) else items for key, items in fresh.items()}
    return [item for items in (kept | said).values() for item in items]


def _by_key(resource: Resource, name: str) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for item in _items(resource, name):
        key = str(item.get(KEYED[name])) if isinstance(item, dict) else repr(item)
        found.setdefault(key, []).append(item)
    return found


def _names(resource: Resource) -> set[str]:
    return {name.removeprefix("_") for name in resource} - NEVER


def _items(resource: Resource, name: str) -> list[Json]:
    found = resource.get(name)
    return found if isinstance(found, list) else []


def _known_as(item: Json, name: str) -> str:
    parts = ("system", "value") if name == "identifier" else ("text",)
    if not isinstance(item, dict) or not any(part in item for part in parts):
        return repr(item)
    return repr([item.get(part) for part in parts])
