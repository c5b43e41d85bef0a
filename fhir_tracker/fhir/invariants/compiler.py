"""Invariants compiled into closures: `test_of` gives a yes-or-no question about one element.

https://hl7.org/fhir/R4/fhirpath.html
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from fhir_tracker.fhir.invariants.functions import FUNCTIONS
from fhir_tracker.fhir.invariants.paths import ANY, SYSTEM, Slots, Typed, of_type, slots, step
from fhir_tracker.fhir.invariants.syntax import (
    Call,
    Literal,
    Member,
    Node,
    NotCompilable,
    Operation,
    Variable,
)
from fhir_tracker.fhir.invariants.values import (
    NO_VALUE,
    Scope,
    Values,
    all_equal,
    distinct,
    equal,
    has,
    order,
    truth,
)
from fhir_tracker.fhir.json_types import Json

Test = Callable[[Json, Scope], bool | None]
DATES = frozenset({"date", "dateTime", "instant"})
UCUM = "http://unitsofmeasure.org"


def _typed(node: Node, types: frozenset[str]) -> Typed:
    if isinstance(node, Literal):
        constant = [node.value]
        return Typed(lambda _values, _scope: constant, SYSTEM)
    if isinstance(node, Variable):
        return _variable(node, types)
    if isinstance(node, Member):
        return _member(node, types)
    if isinstance(node, Call):
        return _call(node, types)
    return _operation(node, types)


def _variable(node: Variable, types: frozenset[str]) -> Typed:
    if node.name == "$this":
        return Typed(lambda values, _scope: values, types, this=True)
    if node.name == "%ucum":
        return Typed(lambda _values, _scope: [UCUM], SYSTEM)
    if node.name == "%resource":
        return Typed(lambda _values, scope: [scope.resource], ANY)
    if node.name == "%rootResource":
        return Typed(lambda _values, scope: [scope.root], ANY)
    if node.name == "%context":
        return Typed(lambda _values, scope: [scope.context], ANY)
    raise NotCompilable(f"variable {node.name}")


def _member(node: Member, types: frozenset[str]) -> Typed:
    if node.of is None:
        if node.name in types:
            return Typed(lambda values, _scope: values, types, this=True)
        return step(types, node.name)
    of = _typed(node.of, types)
    after = step(of.types, node.name)
    if of.this:
        return after
    first, second = of.run, after.run
    return Typed(lambda values, scope: second(first(values, scope), scope), after.types)


def _call(node: Call, types: frozenset[str]) -> Typed:
    of = _typed(node.of, types) if node.of else Typed(lambda values, _scope: values, types, this=True)
    if node.name in ("is", "as", "ofType"):
        (argument,) = node.arguments
        return _of_type(node.name, node.of, of, _type_name(argument), types)
    if node.name in ("where", "all", "select", "exists") and node.arguments:
        return _for_each(node.name, of, node.arguments[0])
    if node.name == "iif":
        return _iif(of, node.arguments)
    if node.name == "trace":
        return of
    function = FUNCTIONS.get(node.name)
    if function is None:
        raise NotCompilable(f"function {node.name}()")
    inner = of.run
    arguments = [_typed(argument, types).run for argument in node.arguments]
    kept = of.types if node.name in ("first", "tail", "combine", "intersect") else ANY
    if not arguments:
        return Typed(lambda values, scope: function(inner(values, scope), [], scope), kept)
    return Typed(
        lambda values, scope: function(
            inner(values, scope), [argument(values, scope) for argument in arguments], scope
        ),
        kept,
    )


def _type_name(node: Node) -> str:
    if isinstance(node, Member) and node.of is None:
        return node.name
    raise NotCompilable("a type is named plainly")


def _of_type(name: str, source: Node | None, of: Typed, type_: str, types: frozenset[str]) -> Typed:
    """`is`, `as` and `ofType`: of a choice, the member tells the type; of a resource, its `resourceType`."""
    if type_[0].isupper() and ANY & of.types | of.types & {"Resource"}:
        inner = of.run
        kept: Callable[[Values, Scope], Values] = lambda values, scope: [  # noqa: E731
            one for one in inner(values, scope) if type(one) is dict and one.get("resourceType") == type_
        ]
        found = Typed(kept, frozenset({type_}))
    elif isinstance(source, Member):
        holder = _typed(source.of, types) if source.of else Typed(lambda values, _scope: values, types, this=True)
        found = of_type(holder, type_, holder.types, source.name)
    else:
        raise NotCompilable(f"{name}({type_}) of what is no element")
    if name != "is":
        return found
    any_, some = of.run, found.run
    return Typed(
        lambda values, scope: [bool(some(values, scope))] if any_(values, scope) else [], frozenset({"boolean"})
    )


def _for_each(name: str, of: Typed, criterion: Node) -> Typed:
    inner = of.run
    if name == "select":
        picked = _typed(criterion, of.types)
        run = picked.run
        return Typed(
            lambda values, scope: [found for one in inner(values, scope) for found in run([one], scope)], picked.types
        )
    test = compile_test(criterion, of.types)
    if name == "where":
        return Typed(lambda values, scope: [one for one in inner(values, scope) if test(one, scope) is True], of.types)
    every = all if name == "all" else any
    return Typed(
        lambda values, scope: [every(test(one, scope) is True for one in inner(values, scope))], frozenset({"boolean"})
    )


def _iif(of: Typed, arguments: tuple[Node, ...]) -> Typed:
    inner = of.run
    runs = [_typed(argument, of.types).run for argument in arguments]

    def run(values: Values, scope: Scope) -> Values:
        focus = inner(values, scope)
        if truth(runs[0](focus, scope)) is True:
            return runs[1](focus, scope)
        return runs[2](focus, scope) if len(runs) > 2 else []

    return Typed(run, ANY)


def _operation(node: Operation, types: frozenset[str]) -> Typed:
    if node.operator in ("is", "as"):
        of = _typed(node.left, types)
        return _of_type(node.operator, node.left, of, _type_name(node.right), types)
    if node.operator in LOGIC:
        return _as_values(compile_test(node, types))
    left, right = _typed(node.left, types), _typed(node.right, types)
    one, other = left.run, right.run
    if node.operator == "|":
        return Typed(
            lambda values, scope: distinct(one(values, scope) + other(values, scope)), left.types | right.types
        )
    dates = bool(left.types & DATES) and bool(right.types & DATES)
    combine = OPERATORS.get(node.operator) or _ordering(node.operator, dates=dates)
    return Typed(lambda values, scope: combine(one(values, scope), other(values, scope)), SYSTEM)


def _as_values(test: Test) -> Typed:
    def run(values: Values, scope: Scope) -> Values:
        answer = test(values[0] if values else NO_VALUE, scope)
        return [] if answer is None else [answer]

    return Typed(run, frozenset({"boolean"}))


def _boolean(answer: bool | None) -> Values:
    return [] if answer is None else [answer]


def _not_equal(left: Values, right: Values) -> Values:
    answer = all_equal(left, right)
    return [] if answer is None else [not answer]


def _in(left: Values, right: Values) -> Values:
    return [has(right, left[0])] if left else []


def _sum(left: Values, right: Values) -> Values:
    if len(left) != 1 or len(right) != 1 or NO_VALUE in (left[0], right[0]):
        return []
    try:
        return [left[0] + right[0]]
    except TypeError:
        return []


def _joined(left: Values, right: Values) -> Values:
    return ["".join(str(one) for one in (*left[:1], *right[:1]) if one is not NO_VALUE)]


OPERATORS: dict[str, Callable[[Values, Values], Values]] = {
    "=": lambda left, right: _boolean(all_equal(left, right)),
    "!=": _not_equal,
    "in": _in,
    "contains": lambda left, right: _in(right, left),
    "+": _sum,
    "&": _joined,
}


def _ordering(operator: str, *, dates: bool) -> Callable[[Values, Values], Values]:
    wanted = {"<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (1, 0)}.get(operator)
    if wanted is None:
        raise NotCompilable(f"operator {operator}")

    def run(left: Values, right: Values) -> Values:
        if len(left) != 1 or len(right) != 1:
            return []
        found = order(left[0], right[0], dates=dates)
        return [] if found is None else [found in wanted]

    return run


LOGIC = frozenset({"and", "or", "xor", "implies"})


def compile_test(node: Node, types: frozenset[str]) -> Test:
    """The question that `node` asks of one value of these types; None when it has no answer."""
    if isinstance(node, Operation) and node.operator in LOGIC:
        return _logic(node.operator, compile_test(node.left, types), compile_test(node.right, types))
    if isinstance(node, Call) and node.name == "not" and node.of is not None:
        return _negated(compile_test(node.of, types))
    quick = _presence(node, types) or _comparison(node, types)
    if quick:
        return quick
    run = _typed(node, types).run
    return lambda value, scope: truth(run([value], scope))


def _negated(test: Test) -> Test:
    def negated(value: Json, scope: Scope) -> bool | None:
        answer = test(value, scope)
        return None if answer is None else not answer

    return negated


def _logic(operator: str, left: Test, right: Test) -> Test:
    """The four connectives of three-valued logic."""
    if operator == "implies":
        return _logic("or", _negated(left), right)
    if operator == "xor":

        def exclusive(value: Json, scope: Scope) -> bool | None:
            one, other = left(value, scope), right(value, scope)
            return None if one is None or other is None else one is not other

        return exclusive
    decisive = operator == "or"

    def connected(value: Json, scope: Scope) -> bool | None:
        one = left(value, scope)
        if one is decisive:
            return decisive
        other = right(value, scope)
        if other is decisive:
            return decisive
        return None if one is None or other is None else not decisive

    return connected


def _presence(node: Node, types: frozenset[str]) -> Test | None:
    """`x.exists()` and `x.empty()` of an element of the focus, asked of the JSON names alone."""
    if not (isinstance(node, Call) and node.name in ("exists", "empty") and not node.arguments):
        return None
    found = _slots(node.of, types)
    if found is None:
        return None
    names = found.names
    wanted = node.name == "exists"
    if len(names) == 1:
        (name,) = names
        return lambda value, _scope: (type(value) is dict and name in value) is wanted
    absent = names.isdisjoint
    return lambda value, _scope: (type(value) is dict and not absent(value)) is wanted


def _same(left: Test, right: Test, *, wanted: bool) -> Test:
    return lambda value, scope: (left(value, scope) is right(value, scope)) is wanted


def _slots(node: Node | None, types: frozenset[str]) -> Slots | None:
    """Where the JSON holds the element of the focus that `node` is; None if it is something else."""
    if not (isinstance(node, Member) and node.of is None) or node.name in types:
        return None
    return slots(types, node.name)


def _comparison(node: Node, types: frozenset[str]) -> Test | None:
    """`x = 'code'` and `x in ('a' | 'b')` of one primitive of the focus; `x.exists() != y.exists()`."""
    if not (isinstance(node, Operation) and node.operator in ("=", "!=", "in")):
        return None
    left, right = _presence(node.left, types), _presence(node.right, types)
    if left and right and node.operator != "in":
        return _same(left, right, wanted=node.operator == "=")
    found = _slots(node.left, types)
    wanted = _literals(node.right)
    if not wanted or node.operator == "!=" or found is None or found.many or len(found.names) != 2:
        return None
    name = found.members[0][0]
    sibling = f"_{name}"

    def compare(value: Json, scope: Scope) -> bool | None:
        if type(value) is not dict:
            return None
        held = value.get(name)
        if held is None:
            return False if sibling in value else None
        return any(equal(held, one) for one in wanted)

    return compare


def _literals(node: Node) -> tuple[str | bool | int | Decimal, ...]:
    if isinstance(node, Literal):
        return (node.value,)
    if isinstance(node, Operation) and node.operator == "|":
        left, right = _literals(node.left), _literals(node.right)
        return left + right if left and right else ()
    return ()
