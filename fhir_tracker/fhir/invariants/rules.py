"""Which invariants each type and element has, compiled on first use, with the corrections that published ones need.

https://hl7.org/fhir/R4/conformance-rules.html#constraints
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from fhir_tracker.fhir.definitions.registry import Constraint, ancestors, constraints, is_complex
from fhir_tracker.fhir.invariants.by_hand import BY_HAND
from fhir_tracker.fhir.invariants.compiler import Test, compile_test
from fhir_tracker.fhir.invariants.paths import slots
from fhir_tracker.fhir.invariants.syntax import Call, Literal, Member, Node, NotCompilable, Operation, Variable, parse
from fhir_tracker.fhir.invariants.values import Scope
from fhir_tracker.fhir.json_types import Json, Resource

CORRECTED = {
    "ref-1": "reference.exists() implies (reference = '#' or reference.startsWith('#').not()"
    " or (reference.substring(1) in %rootResource.contained.id))",
    "bdl-8": "fullUrl.exists() implies fullUrl.contains('/_history/').not()",
    "que-12": "enableWhen.count() >= 2 implies enableBehavior.exists()",
    "ras-2": "(probability.exists() and (probability is decimal)) implies ((probability as decimal) <= 100)",
    "dom-6": "text.`div`.exists()",
}
"""Published expressions that fail what they should not, as HL7's own validator reads them."""
NAME = "name.matches('[A-Z]([A-Za-z0-9_]){0,254}')"
CORRECTED_NAME = "name.exists() implies name.matches('^[A-Z]([A-Za-z0-9_]){0,254}$')"
STRUCTURAL = {
    "ele-1": "an empty element is found by the shape",
    "txt-1": "the markup is read by the check of xhtml",
    "txt-2": "the markup is read by the check of xhtml",
}
"""Invariants that another part of the check answers."""
NOT_COMPILABLE = {
    "cid-0": "ChargeItemDefinition has no element `name`",
    "eld-3": "it is asked of a string, and only those who define FHIR types use it",
}
"""Invariants that cannot be asked, with the reason."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One invariant as a test of one element; `guard` names the members without any of which it always holds."""

    key: str
    severity: str
    human: str
    test: Test
    guard: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one type; none need be asked of an object that has no member of `guard`."""

    errors: tuple[Rule, ...]
    warnings: tuple[Rule, ...]
    guard: Callable[[Json], bool] | None

    def hold(self, value: Resource) -> bool:
        """Whether no rule need be asked, as every one holds without what `value` does not have."""
        return self.guard is not None and self.guard(value)

    def broken(self, value: Json, scope: Scope) -> list[Rule]:
        """The rules of severity error that do not hold for one value; a rule without an answer does not."""
        return [rule for rule in self.errors if rule.test(value, scope) is not True]


@cache
def rules_of(type_: str) -> Rules | None:
    """The invariants of a type with those of its bases; None if it has none."""
    return _together([(row, type_) for base in ancestors(type_) for row in constraints(base)])


@cache
def rules_at(holder: str, name: str, leaf: str) -> Rules | None:
    """The invariants of one element of `holder` whose values are of type `leaf`; None if it has none."""
    path = f"{holder}.{name}"
    if is_complex(path) or not is_complex(leaf):
        return None
    return _together([(row, leaf) for row in constraints(path)])


@cache
def simple_quantity() -> Rules | None:
    """The invariant of SimpleQuantity."""
    human = "The comparator is not used on a SimpleQuantity"
    row = Constraint(key="sqty-1", severity="error", human=human, expression="comparator.empty()")
    return _together([(row, "Quantity")])


def expression_of(row: Constraint) -> str:
    """The FHIRPath that is compiled for an invariant."""
    return CORRECTED.get(row.key, CORRECTED_NAME if row.expression == NAME else row.expression)


def _together(rows: list[tuple[Constraint, str]]) -> Rules | None:
    found = [rule_of(row, type_) for row, type_ in rows if row.key not in STRUCTURAL and row.key not in NOT_COMPILABLE]
    if not found:
        return None
    errors = tuple(rule for rule in found if rule.severity == "error")
    guarded = all(rule.guard for rule in errors)
    names = frozenset(name for rule in errors for name in rule.guard)
    return Rules(
        errors=errors,
        warnings=tuple(rule for rule in found if rule.severity != "error"),
        guard=names.isdisjoint if guarded else None,
    )


def rule_of(row: Constraint, type_: str) -> Rule:
    """An invariant of a value of `type_` as a rule; raises NotCompilable."""
    by_hand = BY_HAND.get(row.key)
    if by_hand is not None:
        return Rule(row.key, row.severity, row.human, by_hand.test, by_hand.guard)
    types = frozenset({type_})
    tree = parse(expression_of(row))
    try:
        test = compile_test(tree, types)
    except NotCompilable as problem:
        raise NotCompilable(f"{row.key}: {problem}") from None
    if _has_context(tree):
        test = _in_context(test)
    return Rule(row.key, row.severity, row.human, test, _guard(tree, test, types))


def _in_context(test: Test) -> Test:
    return lambda value, scope: test(value, Scope(scope.resource, scope.root, value))


def _guard(tree: Node, test: Test, types: frozenset[str]) -> frozenset[str]:
    """The members that the rule starts from, if it holds without all of them; else none."""
    names = _starts(tree, types)
    if names is None or not names or test({}, Scope({}, {})) is not True:
        return frozenset()
    return names


def _starts(node: Node | None, types: frozenset[str]) -> frozenset[str] | None:
    """The members of the focus that a tree begins its paths with; None where it begins with something else."""
    if isinstance(node, Literal):
        return frozenset()
    if isinstance(node, Member):
        if node.of is not None:
            return _starts(node.of, types)
        found = slots(types, node.name) if node.name not in types else None
        return found.names if found else None
    if isinstance(node, Operation):
        right = frozenset[str]() if node.operator in ("is", "as") else _starts(node.right, types)
        left = _starts(node.left, types)
        return None if left is None or right is None else left | right
    if isinstance(node, Call):
        found_names = _starts(node.of, types)
        if node.name in ("where", "all", "select", "exists", "iif", "trace", "ofType", "as", "is"):
            return found_names
        parts = [_starts(argument, types) for argument in node.arguments]
        if found_names is None or None in parts:
            return None
        return found_names.union(*(part for part in parts if part))
    if isinstance(node, Variable) and node.name == "%ucum":
        return frozenset()
    return None


def _has_context(node: Node | None) -> bool:
    if isinstance(node, Variable):
        return node.name == "%context"
    if isinstance(node, Member):
        return _has_context(node.of)
    if isinstance(node, Call):
        return _has_context(node.of) or any(map(_has_context, node.arguments))
    return isinstance(node, Operation) and (_has_context(node.left) or _has_context(node.right))
