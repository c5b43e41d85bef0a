"""The elements of a Task by path, such as `location` or `restriction.period.end`: what they are, and whether they are filled.

https://hl7.org/fhir/R4/task.html#resource
"""

from __future__ import annotations

from typing import Final

from fhir_tracker.fhir.definitions.registry import Element, elements, is_complex
from fhir_tracker.fhir.json_types import Json, Resource

TEXTS: Final = frozenset({"string", "markdown", "code", "uri", "canonical", "dateTime", "date", "instant", "id"})
TYPED: Final = frozenset({"Reference", "CodeableConcept", *TEXTS})
"""The types whose value can be given as one text: a reference, the words of a concept, or the text itself."""


def type_of(path: str, within: str = "Task") -> str | None:
    """The FHIR type of the element at a path; None when there is no such element."""
    name, _, rest = path.partition(".")
    found = _element(name, within)
    if found is None:
        return None
    type_, _ = found
    return type_of(rest, type_) if rest else type_


def names(within: str = "Task") -> tuple[str, ...]:
    """The first steps of every path."""
    return tuple(elements(within))


def is_filled(value: Json, path: str) -> bool:
    """Whether something stands at a path; of many entries any may have it."""
    if isinstance(value, list):
        return any(is_filled(one, path) for one in value)
    name, _, rest = path.partition(".")
    inner = value.get(name) if isinstance(value, dict) else None
    if rest and inner is not None:
        return is_filled(inner, rest)
    return inner not in (None, "", [], {})


def can_be_typed(path: str) -> bool:
    """Whether a form can ask for it: one step, and of a type in TYPED."""
    return "." not in path and type_of(path) in TYPED


def with_text(resource: Resource, path: str, text: str) -> Resource:
    """A copy with the value that `text` stands for at a path that can be typed; an element of many gets one more."""
    found = _element(path, "Task")
    if found is None or not can_be_typed(path):
        return resource
    type_, many = found
    value: Json = {"Reference": {"reference": text}, "CodeableConcept": {"text": text}}.get(type_, text)
    return resource | {path: [*(resource.get(path) or []), value] if many else value}


def _element(name: str, within: str) -> tuple[str, bool] | None:
    """The type of an element and whether there may be many; a choice is named with its type (`valueReference`)."""
    known = elements(within) if is_complex(within) else {}
    if name in known and not known[name].is_choice:
        return known[name].types[0], known[name].many
    for one in known.values():
        if one.is_choice and (type_ := _chosen(one, name)):
            return type_, one.many
    return None


def _chosen(element: Element, name: str) -> str | None:
    stem = element.name.removesuffix("[x]")
    return next((one for one in element.types if name == f"{stem}{one[0].upper()}{one[1:]}"), None)
