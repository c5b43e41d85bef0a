"""A resource against FHIR R4: names, kinds, cardinality, formats, required codes, reference targets and invariants.

https://hl7.org/fhir/R4/validation.html
"""

from __future__ import annotations

import re

from fhir_tracker.errors import Incorrect, Issue
from fhir_tracker.fhir.checks_elements import (
    ELEMENT_CHECKS,
    RESOURCE_CHECKS,
    is_plain_reference,
    local_type,
)
from fhir_tracker.fhir.checks_findings import Findings
from fhir_tracker.fhir.checks_memory import is_known, keep, key_of
from fhir_tracker.fhir.checks_shapes import Shape, Slot, is_language, shape
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.invariants.rules import Rule, Rules
from fhir_tracker.fhir.invariants.values import Scope
from fhir_tracker.fhir.json_types import Json, Resource, kind

MOST_ISSUES = 50
_REPEATED = frozenset({"CodeableConcept", "Coding"})
_PLAIN_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")


def check(resource: Resource, *, warnings: bool = False) -> tuple[Issue, ...]:
    """What is wrong with `resource` as FHIR R4, at most 50 issues; empty when nothing is.

    Each issue says what is wrong and what would be right, never the value, and has a FHIRPath location. The invariants
    are asked of every part that has the right shape. What only warns is left out unless `warnings`, and so is, in types
    that the tracker does not own, what R4's structure and bindings bear: unknown codes and units, broken claims of profiles.
    """
    walk = _Walk(Scope(resource, resource), warnings=warnings)
    walk.resource(resource, "")
    return tuple(walk.issues[:MOST_ISSUES])


def require_valid(resource: Resource) -> None:
    """Raise Incorrect with every issue of `resource`."""
    issues = check(resource)
    if issues:
        raise Incorrect(issues[0].message, issues=issues)


class _Walk(Findings):
    """One pass over one resource and what is in it."""

    __slots__ = ()

    def resource(self, value: Json, path: str) -> None:
        if type(value) is not dict:
            self.add(path, f"is {kind(value)}; it must be a resource object", "structure")
            return
        name = value.get("resourceType")
        if type(name) is not str or name not in resource_types():
            self.add(path or "resourceType", "has no `resourceType` of FHIR R4", "structure")
            return
        self.object(shape(name), value, path or name)
        if name in RESOURCE_CHECKS:
            RESOURCE_CHECKS[name](self, value, path or name)

    def within(self, value: Json, path: str, *, contained: bool) -> None:
        """A resource in another: contained ones share the root, those of Bundle and Parameters are their own."""
        outer, ids, start = self.scope, self.ids, self.start
        if type(value) is dict:
            self.scope, self.ids, self.start = Scope(value, outer.root if contained else value), None, path
        self.resource(value, path)
        self.scope, self.ids, self.start = outer, ids, start

    def object(self, form: Shape, value: Resource, path: str) -> None:
        before = self.misshapen
        if len(self.issues) >= MOST_ISSUES:
            return
        slots = form.slots
        chosen: dict[str, str] | None = None
        for name, member in value.items():
            slot = slots.get(name)
            if slot is None:
                if name != "resourceType" or not form.is_resource:
                    self.other(form, name, value, path)
                continue
            if slot.choice is not None:
                chosen = self.choice(slot.choice, name, chosen, path)
            if slot.many:
                self.items(slot, name, member, value, f"{path}.{name}")
            elif slot.fault is None:
                self.value(slot, member, f"{path}.{slot.choice or name}")
            elif type(member) is not str or member not in slot.known:
                wrong = slot.fault(member)
                if wrong is not None or slot.asks_more:
                    self.primitive(slot, member, wrong, f"{path}.{slot.choice or name}")
        self.whole(form, value, path, is_right=self.misshapen == before)

    def whole(self, form: Shape, value: Resource, path: str, *, is_right: bool) -> None:
        """What is asked of an object beyond each of its members."""
        for label, first, names in form.required:
            if first not in value and names.isdisjoint(value):
                self.add(f"{path}.{label}", "is missing; it is required", "required")
                is_right = False
        if "id" in value and not form.is_resource:
            self.element_id(value["id"], path)
        rules = form.rules
        if rules is not None and is_right and (self.warnings or not rules.hold(value)):
            self.rules(rules, value, path)

    def rules(self, rules: Rules, value: Resource, path: str) -> None:
        for rule in rules.broken(value, self.scope):
            self.broken(rule, path, "error")
        if self.warnings:
            for rule in rules.warnings:
                if rule.test(value, self.scope) is not True and not (rule.key == "dom-6" and self.is_inner()):
                    self.broken(rule, path, "warning")

    def is_inner(self) -> bool:
        return self.scope.root is not self.scope.resource

    def broken(self, rule: Rule, path: str, severity: str) -> None:
        human = rule.human.strip().rstrip(".")
        self.add(path, f"breaks {rule.key}: {human}", "invariant", severity)

    def other(self, form: Shape, name: str, value: Resource, path: str) -> None:
        """A member that is no element: the `_x` beside a primitive, or unknown."""
        member = value[name]
        slot = form.slots.get(name[1:]) if name.startswith("_") else None
        if slot is None or slot.fault is None or slot.type == "xhtml":
            shown = name if _PLAIN_NAME.fullmatch(name) else "an unknown member"
            self.add(path, f"has no element `{shown}`" if shown == name else f"has {shown}", "structure")
            return
        place = f"{path}.{slot.choice or name[1:]}"
        if not slot.many:
            self.beside(slot, member, name, place, has_value=name[1:] in value)
        elif type(member) is not list or not member:
            self.add(place, f"has a `{name}` that is no array as long as its values", "structure")
        else:
            held = value.get(name[1:])
            values = held if type(held) is list else []
            for index, item in enumerate(member):
                if item is not None:
                    has_value = index < len(values) and values[index] is not None
                    self.beside(slot, item, name, f"{place}[{index}]", has_value=has_value)
                elif index >= len(values):
                    self.add(f"{place}[{index}]", f"is null in `{name}` and has no value either", "structure")

    def beside(self, slot: Slot, value: Json, name: str, path: str, *, has_value: bool) -> None:
        """The `id` and extensions of a primitive, which has a value or at least an extension."""
        if type(value) is not dict or not value:
            wrong = "empty; leave it out" if value == {} else f"{kind(value)}; it must be an object"
            self.add(path, f"has a `{name}` that is {wrong}", "structure")
            return
        self.object(shape("Element"), value, path)
        if not has_value and value.keys() == {"id"}:
            self.add(path, "breaks ele-1: an element has a value or an extension", "invariant")
        elif not has_value and slot.codes:
            self.add(path, f"has no code; it must be {slot.refused}", "code-invalid")

    def choice(self, choice: str, name: str, chosen: dict[str, str] | None, path: str) -> dict[str, str]:
        chosen = {} if chosen is None else chosen
        if choice in chosen:
            self.add(f"{path}.{choice}", f"is given as both {chosen[choice]} and {name}; give one", "structure")
        chosen[choice] = name
        return chosen

    def items(self, slot: Slot, name: str, member: Json, holder: Resource, path: str) -> None:
        if type(member) is not list:
            self.add(path, f"is {kind(member)}; it must be an array", "structure")
            return
        if not member:
            self.add(path, "is an empty array; leave it out", "structure")
        if slot.fault is not None:
            self.primitives(slot, member, holder.get(f"_{name}"), path)
            return
        if name == "contained":
            self.contained(member, path)
        for index, item in enumerate(member):
            self.value(slot, item, f"{path}[{index}]")

    def primitives(self, slot: Slot, member: list[Json], siblings: Json, path: str) -> None:
        for index, item in enumerate(member):
            if type(item) is str and item in slot.known:
                continue
            if item is None and type(siblings) is list and index < len(siblings) and siblings[index] is not None:
                continue
            wrong = slot.fault(item) if slot.fault is not None else None
            if wrong is not None or slot.asks_more:
                self.primitive(slot, item, wrong, f"{path}[{index}]")

    def primitive(self, slot: Slot, value: Json, wrong: str | None, path: str) -> None:
        if wrong is not None:
            self.add(path, "is null; leave it out or give it a value" if value is None else wrong, "value")
        elif slot.codes and value not in slot.codes:
            self.add(path, f"is not {slot.refused}", "code-invalid")
        elif slot.language and not is_language(value):
            self.add(path, "is not a language tag of BCP 47, such as en or es-MX", "code-invalid")
        elif slot.type == "canonical" and value[0] == "#":
            if not local_type(self.scope, value):
                self.add(path, "points to a contained resource that is not there", "value")
        elif slot.remembers:
            slot.remember(value)

    def value(self, slot: Slot, value: Json, path: str) -> None:
        if slot.type == "Resource":
            self.within(value, path, contained=path.rpartition(".")[2].startswith("contained"))
            return
        form = slot.form
        if form is None:
            form = slot.form = shape(slot.type)
        if type(value) is not dict or not value:
            self.no_object(form, value, path)
            return
        key = None
        if slot.type == "Reference" and not (self.warnings or slot.rules) and is_plain_reference(slot, value):
            return
        if slot.type in _REPEATED and not self.warnings:
            key = key_of(slot, value, strict=self.is_strict())
            if key is not None and is_known(key):
                return
        before = self.misshapen
        self.object(form, value, path)
        check_element = ELEMENT_CHECKS.get(slot.type)
        if check_element is not None:
            check_element(self, slot, value, path)
        if slot.rules and self.misshapen == before:
            for rules in slot.rules:
                self.rules(rules, value, path)
        if key is not None and not self.issues:
            keep(key, slot, value)

    def no_object(self, form: Shape, value: Json, path: str) -> None:
        if type(value) is not dict:
            self.add(path, f"is {kind(value)}; it must be an object ({form.type})", "structure")
        else:
            self.add(path, "is an empty object; leave it out or fill it", "structure")
