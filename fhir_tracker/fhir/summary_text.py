"""A narrative made from the elements of a resource, for the one that a change has made untrue.

https://hl7.org/fhir/R4/narrative.html
"""

from __future__ import annotations

import re

from fhir_tracker.fhir.definitions.registry import elements
from fhir_tracker.fhir.json_types import Json, Resource, kind
from fhir_tracker.fhir.narrative import narrative
from fhir_tracker.fhir.reading import at, text_at

MOST_ROWS = 60
LONGEST_VALUE = 400
MOST_LEVELS = 4
_NOT_TOLD = frozenset(
    {"id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension"}
)
_SPOKEN = (("text",), ("display",), ("coding", 0, "display"), ("coding", 0, "code"), ("reference",))
_QUIET = _NOT_TOLD - {"text"} | {"system", "userSelected"}


def with_text_in_step(before: Resource, after: Resource) -> Resource:
    """`after`, with a new narrative where the one of `before` was generated and stayed though other things changed.

    A text that says more than the elements (status `additional` or `extensions`) is its author's and stays.
    """
    if text_at(before, "text", "status") != "generated" or at(after, "text") != at(before, "text") or after == before:
        return after
    return after | {"text": summary(after)}


def summary(resource: Resource) -> Resource:
    """A generated Narrative: the title or code of the resource, and a line for each element it has."""
    type_ = str(resource["resourceType"])
    rows = []
    for name, element in elements(type_).items():
        base = name.removesuffix("[x]")
        members = [base + leaf[:1].upper() + leaf[1:] for leaf in element.types] if element.is_choice else [name]
        for member in members:
            if name not in _NOT_TOLD and member in resource:
                rows += [(_label(base), text) for text in _texts(resource[member])]
    title = text_at(resource, "title") or _spoken(resource.get("code")) or type_
    return narrative(type_, title, rows[:MOST_ROWS])


def _label(name: str) -> str:
    words = re.sub("([A-Z])", r" \1", name).lower().strip()
    return words[:1].upper() + words[1:]


def _texts(value: Json) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return [_cut(text) for item in items if (text := _spoken(item))]


def _spoken(value: Json, levels: int = MOST_LEVELS) -> str:
    """A value as people read it; "" for nothing or what is too deep."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(text for item in value if (text := _spoken(item, levels)))
    if not isinstance(value, dict):
        return "" if value is None or kind(value) == "null" else str(value)
    if levels == 0:
        return ""
    found = next((text for path in _SPOKEN if isinstance(text := at(value, *path), str) and text), None)
    if found is not None and not _has_more(value):
        return found
    if value.keys() <= {"start", "end", "id", "extension"}:
        return f"{value.get('start', '')} to {value.get('end', '')}".strip()
    parts = (
        _spoken(item, levels - 1) for name, item in value.items() if name.lstrip("_") not in _QUIET and name[:1] != "_"
    )
    return ", ".join(part for part in parts if part)


def _has_more(value: Resource) -> bool:
    """Whether an object says more than its text, display, codes or reference."""
    return not value.keys() <= {
        "text",
        "display",
        "coding",
        "reference",
        "code",
        "system",
        "version",
        "id",
        "type",
        "identifier",
    }


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
