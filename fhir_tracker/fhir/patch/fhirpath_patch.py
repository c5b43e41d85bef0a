"""FHIRPath Patch: the operations of a Parameters resource on a resource, all or none.

https://hl7.org/fhir/R4/fhirpatch.html
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Never, TypeVar

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.definitions.registry import Element, elements, is_complex
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.patch.limits import Meter, check_count, failed, malformed
from fhir_tracker.fhir.patch.locations import (
    Collection,
    Place,
    beside,
    find_collection,
    find_places,
    member_of,
    value_at,
)
from fhir_tracker.fhir.reading import objects_at

_NEEDS = {
    "add": ("path", "name", "value"),
    "insert": ("path", "index", "value"),
    "delete": ("path",),
    "replace": ("path", "value"),
    "move": ("path", "source", "destination"),
}
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class _Operation:
    number: int
    kind: str
    parts: dict[str, Resource]

    def fail(self, why: str, code: str = "processing") -> Never:
        raise failed(self.number, self.kind, why, code=code)

    def text(self, name: str) -> str:
        part = self.parts[name]
        found = next((part[one] for one in ("valueString", "valueCode", "valueUri") if one in part), None)
        if not isinstance(found, str):
            raise malformed(self.number, f"has no `{name}` that is a string")
        return found

    def places(self, resource: Resource, meter: Meter) -> tuple[Place, ...]:
        """The elements that `path` finds."""
        return self._found(find_places, resource, meter)

    def collection(self, resource: Resource, meter: Meter) -> Collection:
        """The repeating element that `path` names."""
        found = self._found(find_collection, resource, meter)
        if found is None:
            self.fail("its path does not lead to one list", "not-found")
        if not found.element.many:
            self.fail("the element at its path does not repeat")
        return found

    def _found(self, find: Callable[[Resource, str], T], resource: Resource, meter: Meter) -> T:
        path = self.text("path")
        if "(" in path:
            meter.ask()
        try:
            return find(resource, path)
        except Incorrect as error:
            raise malformed(self.number, f"({self.kind}) has a wrong path: {error.message}") from None

    def number_of(self, name: str) -> int:
        part = self.parts[name]
        found = next((part[one] for one in part if one in _NUMBERS), None)
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            raise malformed(self.number, f"has no `{name}` that is a whole number of 0 or more")
        return found


@dataclass(frozen=True, kw_only=True)
class _Value:
    """What an operation brings: its FHIR type ("" for parts, whose type the place tells), the value, its `_value`."""

    type: str
    value: Json
    extras: Json = None


_NUMBERS = frozenset({"valueInteger", "valueUnsignedInt", "valuePositiveInt"})


def apply(resource: Resource, parameters: Resource) -> Resource:
    """`resource` after all operations of `parameters`, itself unchanged; objects left empty go.

    Raises Incorrect for Parameters that are no patch, TooLarge over the limits, and RuleBroken naming the operation,
    counted from 0, that cannot be done: a path that finds nothing or several elements, an element that is there.
    """
    given = list(objects_at(parameters, "parameter"))
    check_count(len(given))
    operations = [_operation(number, one) for number, one in enumerate(given)]
    changed = deepcopy(resource)
    meter = Meter(resource)
    for operation in operations:
        _ACTS[operation.kind](changed, operation, meter)
    return changed


def _operation(number: int, given: Resource) -> _Operation:
    if given.get("name") != "operation":
        raise malformed(number, "is not a parameter named `operation`")
    parts = {str(part.get("name")): part for part in objects_at(given, "part")}
    kind = parts.get("type", {}).get("valueCode") or parts.get("type", {}).get("valueString")
    if not isinstance(kind, str) or kind not in _NEEDS:
        raise malformed(number, f"has no `type` of {', '.join(_NEEDS)}")
    missing = [name for name in _NEEDS[kind] if name not in parts]
    if missing:
        raise malformed(number, f"({kind}) has no part `{missing[0]}`")
    return _Operation(number=number, kind=kind, parts=parts)


def _add(resource: Resource, operation: _Operation, meter: Meter) -> None:
    owner = _one(resource, operation, meter)
    name = operation.text("name")
    element = _named(operation, owner.type, name)
    value = _value(operation, element)
    holder = _object(resource, owner)
    members = [member_of(element, type_) for type_ in element.types]
    if not element.many and any(one in holder or f"_{one}" in holder for one in members):
        operation.fail("the element is there already and does not repeat")
    meter.add(value.value, len(owner.steps) + 2)
    member = _member(operation, element, value)
    if element.many:
        _into_list(holder, member, len(holder.get(member) or holder.get(f"_{member}") or ()), value)
    else:
        _set(holder, member, value)


def _insert(resource: Resource, operation: _Operation, meter: Meter) -> None:
    where = operation.collection(resource, meter)
    value = _value(operation, where.element)
    holder = _object(resource, where.owner)
    member = _member(operation, where.element, value)
    index = operation.number_of("index")
    if index > len(holder.get(member) or holder.get(f"_{member}") or ()):
        operation.fail("the list is shorter than the index")
    meter.add(value.value, len(where.owner.steps) + 2)
    _into_list(holder, member, index, value)


def _delete(resource: Resource, operation: _Operation, meter: Meter) -> None:
    places = operation.places(resource, meter)
    if len(places) > 1:
        operation.fail("its path finds several elements", "multiple-matches")
    if places and not places[0].steps:
        operation.fail("the whole resource cannot be deleted")
    for place in places:
        _remove(resource, place)
        _prune(resource, place.steps[:-1])


def _replace(resource: Resource, operation: _Operation, meter: Meter) -> None:
    place = _one(resource, operation, meter)
    if place.element is None:
        operation.fail("the whole resource cannot be replaced")
    value = _value(operation, place.element)
    meter.add(value.value, len(place.steps))
    holder = value_at(resource, place.steps[: -2 if place.element.many else -1])
    if place.element.many:
        member, index = str(place.steps[-2]), int(place.steps[-1])
        _take_item(holder, member, index)
        _into_list(holder, member, index, value)
        return
    old, new = str(place.steps[-1]), _member(operation, place.element, value)
    if old != new:
        holder.pop(old, None)
        holder.pop(f"_{old}", None)
    _set(holder, new, value)


def _move(resource: Resource, operation: _Operation, meter: Meter) -> None:
    where = operation.collection(resource, meter)
    source, destination = operation.number_of("source"), operation.number_of("destination")
    holder = _object(resource, where.owner)
    member = where.element.name
    count = max(len(holder.get(member) or ()), len(holder.get(f"_{member}") or ()))
    if source >= count or destination >= count:
        operation.fail("the list is shorter than the index")
    for name in (member, f"_{member}"):
        items = holder.get(name)
        if items:
            items += [None] * (count - len(items))
            items.insert(destination, items.pop(source))


def _one(resource: Resource, operation: _Operation, meter: Meter) -> Place:
    places = operation.places(resource, meter)
    if not places:
        operation.fail("there is nothing at its path", "not-found")
    if len(places) > 1:
        operation.fail("its path finds several elements", "multiple-matches")
    return places[0]


def _named(operation: _Operation, type_: str, name: str) -> Element:
    known = elements(type_) if is_complex(type_) else elements("Element")
    element = known.get(name) or known.get(f"{name}[x]")
    if element is None:
        choices = (one for one in known.values() if one.is_choice)
        element = next((one for one in choices if name in (member_of(one, type_) for type_ in one.types)), None)
    if element is None:
        operation.fail("its `name` is no element of the type at its path", "not-found")
    return element


def _object(resource: Resource, place: Place) -> Resource:
    """The JSON object of an element; of a primitive the one beside it, made when it is not there."""
    if not place.is_primitive:
        found: Resource = value_at(resource, place.steps)
        return found
    steps = beside(place)
    if place.element is not None and place.element.many:
        holder, (member, index) = value_at(resource, steps[:-2]), steps[-2:]
        items = holder.setdefault(member, [])
        items += [None] * (int(index) + 1 - len(items))
        item: Resource = items[index] or {}
        items[index] = item
        return item
    made: Resource = value_at(resource, steps[:-1]).setdefault(steps[-1], {})
    return made


def _value(operation: _Operation, element: Element) -> _Value:
    part = operation.parts["value"]
    found = _value_of(part, element.types, operation.number)
    if found is None:
        raise malformed(operation.number, "has no value")
    return found


def _value_of(part: Resource, types: tuple[str, ...], number: int) -> _Value | None:
    """What one part holds: `value[x]`, a resource, or further parts that are elements of the only type there may be."""
    if "resource" in part:
        return _Value(type="Resource", value=deepcopy(part["resource"]))
    if "part" in part:
        return _Value(type="", value=_built(types[0], part, number))
    names = [name for name in part if name.lstrip("_").startswith("value")]
    if not names:
        return None
    member = names[0].lstrip("_")
    type_ = next((one for one in _value_types() if member == f"value{one[0].upper()}{one[1:]}"), None)
    if type_ is None or any(name.lstrip("_") != member for name in names):
        raise malformed(number, "has a value that is none of Parameters")
    return _Value(type=type_, value=deepcopy(part.get(member)), extras=deepcopy(part.get(f"_{member}")))


def _value_types() -> tuple[str, ...]:
    return elements("Parameters.parameter")["value[x]"].types


def _built(type_: str, part: Resource, number: int) -> Resource:
    """An element that has no type of its own (`Patient.contact`) from its parts."""
    built: Resource = {}
    for one in objects_at(part, "part"):
        name = str(one.get("name"))
        element = elements(type_).get(name) or elements(type_).get(f"{name}[x]")
        found = _value_of(one, element.types, number) if element else None
        if element is None or found is None:
            raise malformed(number, "has a part that is no element of the type at its path")
        member = _member_for(element, found)
        if member is None:
            raise malformed(number, "has a part whose value has a type its element cannot have")
        if element.many:
            _into_list(built, member, len(built.get(member) or built.get(f"_{member}") or ()), found)
        else:
            _set(built, member, found)
    return built


def _member(operation: _Operation, element: Element, value: _Value) -> str:
    member = _member_for(element, value)
    if member is None:
        operation.fail("the element at its path cannot have a value of this type")
    return member


def _member_for(element: Element, value: _Value) -> str | None:
    """The JSON name under which a value goes; None when a choice does not have its type."""
    if not element.is_choice:
        return element.name
    return member_of(element, value.type) if value.type in element.types else None


def _set(holder: Resource, member: str, value: _Value) -> None:
    for name, one in ((member, value.value), (f"_{member}", value.extras)):
        holder.pop(name, None) if one is None else holder.__setitem__(name, one)


def _into_list(holder: Resource, member: str, index: int, value: _Value) -> None:
    """Insert into a list and, where one of the two has primitives' extras, into the list beside it."""
    beside_name = f"_{member}"
    count = max(len(holder.get(member) or ()), len(holder.get(beside_name) or ()))
    for name, one in ((member, value.value), (beside_name, value.extras)):
        if name in holder or one is not None:
            items = holder.setdefault(name, [])
            items += [None] * (count - len(items))
            items.insert(index, one)


def _remove(resource: Resource, place: Place) -> None:
    last = place.steps[-1]
    if isinstance(last, int):
        _take_item(value_at(resource, place.steps[:-2]), str(place.steps[-2]), last)
        return
    holder = value_at(resource, place.steps[:-1])
    holder.pop(last, None)
    holder.pop(f"_{last}", None)


def _take_item(holder: Resource, member: str, index: int) -> None:
    for name in (member, f"_{member}"):
        items = holder.get(name)
        if isinstance(items, list) and index < len(items):
            del items[index]
            if not any(one is not None for one in items):
                del holder[name]


def _prune(resource: Resource, steps: tuple[str | int, ...]) -> None:
    """Take away the objects and lists that a deletion left empty, from the inside out."""
    while steps:
        try:
            value = value_at(resource, steps)
        except LookupError:
            value = {}
        if value:
            return
        holder = value_at(resource, steps[:-1]) if len(steps) > 1 else resource
        last = steps[-1]
        if isinstance(holder, list) and isinstance(last, int):
            holder.pop(last)
        elif isinstance(holder, dict):
            holder.pop(str(last), None)
        steps = steps[:-1]


_ACTS: dict[str, Callable[[Resource, _Operation, Meter], None]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}
