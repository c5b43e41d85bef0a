"""FHIRPath as the official invariants use it, parsed into a tree.

https://hl7.org/fhirpath/N1/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<number>[0-9]+(?:\.[0-9]+)?)|(?P<name>[%$]?[A-Za-z_][A-Za-z0-9_]*)"
    r"|`(?P<quoted>[^`]+)`|(?P<symbol><=|>=|!=|[-.(),\[\]=<>|&+]))"
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"implies"}),
    frozenset({"or", "xor"}),
    frozenset({"and"}),
    frozenset({"in", "contains"}),
    frozenset({"=", "!="}),
    frozenset({"<", ">", "<=", ">="}),
    frozenset({"|"}),
    frozenset({"is", "as"}),
    frozenset({"+", "-", "&"}),
)
"""The operators, those that bind weakest first."""


class NotCompilable(ValueError):
    """An expression outside the subset, or a path that the element tables do not know."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number or boolean."""

    value: str | bool | int | Decimal


@dataclass(frozen=True, slots=True)
class Variable:
    """`$this`, `%resource`, `%rootResource`, `%context` or `%ucum`."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """The element `name` of the values of `of`; of the focus when `of` is None."""

    of: Node | None
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function applied to the values of `of`; to the focus when `of` is None."""

    of: Node | None
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """Two operands and what stands between them."""

    operator: str
    left: Node
    right: Node


Node = Literal | Variable | Member | Call | Operation


def parse(expression: str) -> Node:
    """The tree of `expression`; raises NotCompilable where it is outside the subset."""
    parser = _Parser(expression)
    tree = parser.operation(0)
    if parser.peek():
        raise NotCompilable(f"unexpected {parser.peek()!r}")
    return tree


class _Parser:
    """Recursive descent; a token is its kind and its text."""

    def __init__(self, expression: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(expression.rstrip()):
            match = _TOKEN.match(expression, position)
            if match is None or match.lastgroup is None:
                raise NotCompilable(f"character {position} of {expression!r}")
            self.tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        self.position = 0

    def operation(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self.path()
        left = self.operation(level + 1)
        while self.peek() in _LEVELS[level] and self.kind() in ("name", "symbol"):
            operator = self.next()[1]
            left = Operation(operator, left, self.operation(level + 1))
        return left

    def path(self) -> Node:
        node = self.term()
        while self.peek() == "." and self.kind() == "symbol":
            self.next()
            node = self.step(node)
        return node

    def term(self) -> Node:
        kind, text = self.next()
        if kind == "string":
            return Literal(_unescaped(text))
        if kind == "number":
            return Literal(Decimal(text) if "." in text else int(text))
        if kind == "symbol":
            if text != "(":
                raise NotCompilable(f"unexpected {text!r}")
            inner = self.operation(0)
            self.expect(")")
            return inner
        if text in ("true", "false") and kind == "name":
            return Literal(text == "true")
        if text[0] in "$%":
            return Variable(text)
        self.position -= 1
        return self.step(None)

    def step(self, of: Node | None) -> Node:
        kind, name = self.next()
        if kind not in ("name", "quoted"):
            raise NotCompilable(f"a name expected, not {name!r}")
        if self.peek() != "(" or self.kind() != "symbol" or kind == "quoted":
            return Member(of, name)
        self.next()
        arguments: list[Node] = []
        while self.peek() != ")":
            arguments.append(self.operation(0))
            if self.peek() == ",":
                self.next()
        self.expect(")")
        return Call(of, name, tuple(arguments))

    def peek(self) -> str:
        return self.tokens[self.position][1] if self.position < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.position][0] if self.position < len(self.tokens) else ""

    def next(self) -> tuple[str, str]:
        if self.position == len(self.tokens):
            raise NotCompilable("the expression ends too early")
        self.position += 1
        return self.tokens[self.position - 1]

    def expect(self, text: str) -> None:
        if self.next()[1] != text:
            raise NotCompilable(f"{text!r} expected")


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text[1:-1])
