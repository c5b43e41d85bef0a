"""The shape of a resource against the R4 tables: names, kinds, cardinality, formats, required codes, reference targets.

https://hl7.org/fhir/R4/validation.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from fhir_tracker.errors import Issue
from fhir_tracker.fhir.definitions.registry import Element, elements, is_resource, resource_types, value_set
from fhir_tracker.fhir.json_types import Json, Resource, kind
from fhir_tracker.fhir.primitives import PRIMITIVES, Fault
from fhir_tracker.fhir.references import ReferenceKind, parse_reference

MOST_ISSUES = 50
_LISTED_CODES = 15
_PLAIN_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Slot:
    """One JSON member of a type: `choice` is the `x[x]` it belongs to, `fault` the check of a primitive."""

    type: str
    many: bool
    choice: str | None
    fault: Fault | None
    targets: frozenset[str]
    codes: frozenset[str]
    coded: frozenset[tuple[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shape:
    slots: dict[str, _Slot]
    required: tuple[tuple[str, tuple[str, ...]], ...]


def check(resource: Resource) -> tuple[Issue, ...]:
    """What is wrong with the shape of `resource` as FHIR R4, at most 50 issues; empty when nothing is.

    Each issue says what is wrong and what would be right, never the value, and has a FHIRPath location.
    """
    issues: list[Issue] = []
    _check_resource(resource, "", issues)
    return tuple(issues[:MOST_ISSUES])


def _check_resource(value: Json, path: str, issues: list[Issue]) -> None:
    if type(value) is not dict:
        _add(issues, path, f"is {kind(value)}; it must be a resource object", "structure")
        return
    name = value.get("resourceType")
    if type(name) is not str or name not in resource_types():
        _add(issues, path or "resourceType", "has no `resourceType` of FHIR R4", "structure")
        return
    _check_object(name, value, path or name, issues)


def _check_object(type_: str, value: Resource, path: str, issues: list[Issue]) -> None:
    if len(issues) >= MOST_ISSUES:
        return
    shape = _shape(type_)
    slots = shape.slots
    chosen: dict[str, str] = {}
    for name, member in value.items():
        slot = slots.get(name)
        if slot is None:
            _check_other(type_, name, value, path, issues)
            continue
        if slot.choice is not None:
            _check_choice(slot.choice, name, chosen, path, issues)
        if slot.fault is not None and not slot.many:
            wrong = slot.fault(member)
            if wrong is not None:
                _add(issues, f"{path}.{name}", _primitive_message(member, wrong), "value")
            elif slot.codes and member not in slot.codes:
                _add(issues, f"{path}.{name}", f"is not {_listed(slot.codes)}", "code-invalid")
        elif slot.many:
            _check_list(slot, name, member, value, f"{path}.{name}", issues)
        else:
            _check_value(slot, member, f"{path}.{name}", issues)
    for label, names in shape.required:
        if not any(name in value or f"_{name}" in value for name in names):
            _add(issues, f"{path}.{label}", "is missing; it is required", "required")


def _check_other(type_: str, name: str, value: Resource, path: str, issues: list[Issue]) -> None:
    """A member that is no element: `resourceType`, the `_x` beside a primitive, or unknown."""
    member = value[name]
    if name == "resourceType" and is_resource(type_):
        return
    slot = _shape(type_).slots.get(name[1:]) if name.startswith("_") else None
    if slot is None or slot.fault is None:
        shown = name if _PLAIN_NAME.fullmatch(name) else "an unknown member"
        _add(issues, path, f"has no element `{shown}`" if shown == name else f"has {shown}", "structure")
    elif not slot.many:
        _check_complex("Element", member, f"{path}.{name}", issues)
    elif type(member) is not list or not member:
        _add(issues, f"{path}.{name}", "must be an array as long as its values", "structure")
    else:
        for index, item in enumerate(member):
            if item is not None:
                _check_complex("Element", item, f"{path}.{name}[{index}]", issues)


def _check_choice(choice: str, name: str, chosen: dict[str, str], path: str, issues: list[Issue]) -> None:
    if choice in chosen:
        _add(issues, f"{path}.{choice}", f"is given as both {chosen[choice]} and {name}; give one", "structure")
    chosen[choice] = name


def _check_list(slot: _Slot, name: str, member: Json, holder: Resource, path: str, issues: list[Issue]) -> None:
    if type(member) is not list:
        _add(issues, path, f"is {kind(member)}; it must be an array", "structure")
        return
    if not member:
        _add(issues, path, "is an empty array; leave it out", "structure")
    siblings = holder.get(f"_{name}") if slot.fault is not None else None
    for index, item in enumerate(member):
        if item is None and type(siblings) is list and index < len(siblings) and siblings[index] is not None:
            continue
        _check_value(slot, item, f"{path}[{index}]", issues)


def _check_value(slot: _Slot, value: Json, path: str, issues: list[Issue]) -> None:
    if slot.fault is not None:
        wrong = slot.fault(value)
        if wrong is not None:
            _add(issues, path, _primitive_message(value, wrong), "value")
        elif slot.codes and value not in slot.codes:
            _add(issues, path, f"is not {_listed(slot.codes)}", "code-invalid")
    elif slot.type == "Resource":
        _check_resource(value, path, issues)
    else:
        _check_complex(slot.type, value, path, issues)
        if type(value) is dict:
            if slot.type == "Reference":
                _check_reference(slot.targets, value, path, issues)
            elif slot.coded:
                _check_coded(slot, value, path, issues)


def _check_complex(type_: str, value: Json, path: str, issues: list[Issue]) -> None:
    if type(value) is not dict:
        _add(issues, path, f"is {kind(value)}; it must be an object ({type_})", "structure")
    elif not value:
        _add(issues, path, "is an empty object; leave it out or fill it", "structure")
    else:
        _check_object(type_, value, path, issues)


def _check_reference(targets: frozenset[str], value: Resource, path: str, issues: list[Issue]) -> None:
    text = value.get("reference")
    if type(text) is not str:
        return
    target = parse_reference(text)
    if target.kind is ReferenceKind.OTHER and not _ABSOLUTE.fullmatch(text):
        right = "Type/id, an absolute URL, urn:uuid: or #id of a contained resource"
        _add(issues, f"{path}.reference", f"is not a reference: give {right}", "value")
    elif targets and target.type and target.type not in targets:
        allowed = ", ".join(sorted(targets))
        _add(issues, f"{path}.reference", f"points to {target.type}; it may point to {allowed}", "structure")


def _check_coded(slot: _Slot, value: Resource, path: str, issues: list[Issue]) -> None:
    found = value.get("coding") if slot.type == "CodeableConcept" else [value]
    if type(found) is not list:
        return
    pairs = [(coding.get("system", ""), coding.get("code")) for coding in found if type(coding) is dict]
    texts = [(system, code) for system, code in pairs if type(code) is type(system) is str]
    if texts and slot.coded.isdisjoint(texts):
        _add(
            issues, path, f"has no coding that is {_listed(frozenset(code for _, code in slot.coded))}", "code-invalid"
        )


def _primitive_message(value: Json, wrong: str) -> str:
    return "is null; leave it out or give it a value" if value is None else wrong


def _listed(codes: frozenset[str]) -> str:
    if len(codes) > _LISTED_CODES:
        return f"one of the {len(codes)} codes that FHIR allows here"
    return "one of " + ", ".join(sorted(codes))


def _add(issues: list[Issue], path: str, wrong: str, code: str) -> None:
    issues.append(Issue(message=f"{path} {wrong}.", code=code, expression=path))


@cache
def _shape(type_: str) -> _Shape:
    slots: dict[str, _Slot] = {}
    required: list[tuple[str, tuple[str, ...]]] = []
    for name, element in elements(type_).items():
        names: list[str] = []
        base = name.removesuffix("[x]")
        for leaf in element.types:
            member = base + leaf[0].upper() + leaf[1:] if element.is_choice else name
            slots[member] = _slot(type_, name, element, leaf)
            names.append(member)
        if element.required:
            required.append((base, tuple(names)))
    return _Shape(slots=slots, required=tuple(required))


def _slot(type_: str, name: str, element: Element, leaf: str) -> _Slot:
    systems = value_set(element.codes) if element.codes else {}
    return _Slot(
        type=leaf,
        many=element.many,
        choice=name.removesuffix("[x]") if element.is_choice else None,
        fault=PRIMITIVES["id"] if name == "id" and is_resource(type_) else PRIMITIVES.get(leaf),
        targets=element.targets,
        codes=frozenset(code for codes in systems.values() for code in codes) if leaf == "code" else frozenset(),
        coded=frozenset((system, code) for system, codes in systems.items() for code in codes)
        if leaf in ("Coding", "CodeableConcept")
        else frozenset(),
    )
