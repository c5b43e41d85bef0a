"""Concepts and codings that were found right before: the same few come in most resources, and need no second check.

https://hl7.org/fhir/R4/datatypes.html#codeableconcept
"""

from __future__ import annotations

from typing import Any

from fhir_tracker.fhir.checks_shapes import Slot
from fhir_tracker.fhir.json_types import Json, Resource

MOST_KEPT = 4096
MOST_CODINGS = 4
LONGEST = 600
"""Characters of a concept that is kept."""
_PLAIN = frozenset({"system", "version", "code", "display"})
Key = tuple[Any, ...]
"""An element, the strictness it was checked with, and every member of the concept."""
_right: set[Key] = set()


def key_of(slot: Slot, value: Resource, *, strict: bool) -> Key | None:
    """What tells a plain concept or coding of one element from every other; None for any that has more to it."""
    if slot.type == "Coding":
        return (id(slot), strict, *value.items())
    codings = value.get("coding")
    if type(codings) is not list or len(value) > 2 or len(codings) > MOST_CODINGS:
        return None
    if len(value) == 2 and "text" not in value:
        return None
    parts = [tuple(coding.items()) for coding in codings if type(coding) is dict]
    return (id(slot), strict, value.get("text"), *parts) if len(parts) == len(codings) else None


def is_known(key: Key) -> bool:
    """Whether it was kept as right."""
    try:
        return key in _right
    except TypeError:
        return False


def keep(key: Key, slot: Slot, value: Resource) -> None:
    """Keep it as right, if it is plain: of texts only, and short."""
    codings: list[Json] = [value] if slot.type == "Coding" else value["coding"]
    texts = [text for coding in codings for text in coding.values()]
    texts += [value["text"]] if slot.type != "Coding" and "text" in value else []
    is_plain = all(coding.keys() <= _PLAIN for coding in codings) and all(type(text) is str for text in texts)
    if is_plain and sum(map(len, texts)) <= LONGEST:
        if len(_right) >= MOST_KEPT:
            _right.clear()
        _right.add(key)
