"""`dynamicValue`: elements of a request that an expression works out when the definition is applied.

https://hl7.org/fhir/R4/activitydefinition-definitions.html#ActivityDefinition.dynamicValue
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping

from fhir_tracker.fhir.apply.situation import Situation
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.definitions.registry import Element, elements
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import at, objects_at, text_at

_STEP = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9]*)(?:\[(?P<index>[0-9]{1,3})\])?")
_MOST_STEPS = 12
_SHAPES: tuple[tuple[str, frozenset[str]], ...] = (
    ("Reference", frozenset({"reference"})),
    ("CodeableConcept", frozenset({"coding", "text"})),
    ("Period", frozenset({"start", "end"})),
    ("Timing", frozenset({"repeat", "event"})),
    ("Range", frozenset({"low", "high"})),
    ("Quantity", frozenset({"value"})),
)
_TEXTS = ("dateTime", "date", "string", "code", "uri")


def with_dynamic_values(resource: Resource, definition: Resource, situation: Situation) -> Resource:
    """A copy with every value set that can be worked out and that leaves a sound resource; the others are noted."""
    for row in objects_at(definition, "dynamicValue"):
        path = text_at(row, "path") or ""
        values = situation.values(at(row, "expression"))
        if not values:
            continue
        changed = copy.deepcopy(resource)
        if not _set(changed, _steps(path, resource), values) or _errors(changed) - _errors(resource):
            situation.note(f"The dynamic value for {path[:80] or 'no path'} does not fit a {resource['resourceType']}.")
        else:
            resource = changed
    return resource


def _errors(resource: Resource) -> set[str]:
    return {f"{one.expression} {one.code}" for one in check(resource)}


def _steps(path: str, resource: Resource) -> list[tuple[str, int]]:
    """Names and indexes of a simple path; none for a path of another kind."""
    texts = path.split(".")
    if texts[0] in ("$this", "%resource") or texts[0].lower() == str(resource["resourceType"]).lower():
        texts = texts[1:]
    found = [_STEP.fullmatch(text) for text in texts[:_MOST_STEPS]]
    return [(one["name"], int(one["index"] or 0)) for one in found if one] if all(found) else []


def _set(resource: Resource, steps: list[tuple[str, int]], values: list[Json]) -> bool:
    """Put `values` at the place, making what is missing on the way; False when there is no such place."""
    if not steps or steps[0][0] in ("resourceType", "id", "meta"):
        return False
    holder, type_ = resource, str(resource["resourceType"])
    for name, index in steps[:-1]:
        element = elements(type_).get(name)
        if element is None or element.is_choice or not element.types:
            return False
        inner = _entered(holder, element, index)
        if inner is None:
            return False
        holder, type_ = inner, element.types[0]
    name, _ = steps[-1]
    found = _member(elements(type_), name, values[0])
    if found is None:
        return False
    member, element = found
    for other in [key for key in holder if element.is_choice and key.startswith(element.name.removesuffix("[x]"))]:
        del holder[other]
    holder[member] = values if element.many else values[0]
    return True


def _entered(holder: Resource, element: Element, index: int) -> Resource | None:
    if not element.many:
        inner = holder.setdefault(element.name, {})
        return inner if isinstance(inner, dict) else None
    rows = holder.setdefault(element.name, [])
    if not isinstance(rows, list) or index > len(rows):
        return None
    if index == len(rows):
        rows.append({})
    return rows[index] if isinstance(rows[index], dict) else None


def _member(known: Mapping[str, Element], name: str, value: Json) -> tuple[str, Element] | None:
    """The JSON member for an element called `name`: for a choice its typed name, by the value's shape if not said."""
    if name in known:
        return name, known[name]
    for element in known.values():
        base = element.name.removesuffix("[x]")
        if not element.is_choice or not name.startswith(base):
            continue
        typed = {base + one[0].upper() + one[1:]: element for one in element.types}
        if name in typed:
            return name, element
        if name == base and (fitting := _type_of(value, element.types)):
            return base + fitting[0].upper() + fitting[1:], element
    return None


def _type_of(value: Json, types: tuple[str, ...]) -> str | None:
    if isinstance(value, bool):
        return "boolean" if "boolean" in types else None
    if isinstance(value, str):
        dated = re.match(r"\d{4}(-\d\d|$)", value) is not None
        return next((one for one in (_TEXTS if dated else _TEXTS[2:]) if one in types), None)
    if isinstance(value, dict):
        return next((one for one, names in _SHAPES if one in types and names & value.keys()), None)
    return next((one for one in ("integer", "decimal") if one in types), None)
