"""The three-way merge of a resource that changed here and in an EHR; pure.

Each side's changes are told by its own text now and its own text when both last agreed, so that what one side leaves out or
writes differently never looks like a change.
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


@dataclass(frozen=True, kw_only=True)
class Merged:
    """By field, sorted: what is to be written there, what is to be taken over here, and what a person has to decide."""

    send: tuple[str, ...]
    take: tuple[str, ...]
    conflicts: tuple[str, ...]


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
            verdict = _verdict(name, owner(name), we=name in we, they=name in they, ours=ours.now)
            if verdict == "ask" and name in (decided or {}):
                verdict = _DECIDED[(decided or {})[name]]
            found[verdict].add(name)
    send, take, conflicts = (tuple(sorted(found[one])) for one in ("send", "take", "ask"))
    return Merged(send=send, take=take, conflicts=conflicts)


def over(under: Resource, upper: Resource, names: Sequence[str], before: Resource | None) -> Resource:
    """A copy of `under` in which `names` are as in `upper`; to lists that both add to, what it lacks is added.

    `before` is `under` when both agreed: what was in it then and is not now was taken out on purpose.
    """
    fresh = dict(under)
    for name in names:
        if name in ADDED_TO:
            fresh[name] = [*_items(under, name), *missing(upper, under, before, name)]
            continue
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


def _changed(side: Texts, *, present: bool = True) -> set[str]:
    """Without an agreement all that is `present` counts as changed, or nothing."""
    if side.before is None:
        return _names(side.now) if present else {name for name in ADDED_TO if name in side.now}
    names = _names(side.before) | _names(side.now)
    return {name for name in names if value(side.before, name) != value(side.now, name)}


def _verdict(name: str, owner: Owner, *, we: bool, they: bool, ours: Resource) -> Verdict:
    if owner == "ehr":
        return "take"
    if owner == "ours":
        return "send" if we or value(ours, name) != (None, None) else ""
    if we and they:
        return "ask"
    return "send" if we else "take"


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
