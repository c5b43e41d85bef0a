"""FHIRPath on parsed JSON: the one place that knows the engine, strict about syntax and bounded in what it may cost.

https://hl7.org/fhirpath/N1/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, cast

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Exact, Json

MOST_CHARACTERS = 4000
MOST_BRACKETS = 60
MOST_WORK = 50_000
MOST_TEXT = 1_000_000
REFUSED = frozenset({"matches", "replaceMatches", "aggregate", "trace", "resolve"})
"""Functions that can cost without bound, write to the log or ask the network."""
_CLOCK = frozenset({"now", "today", "timeOfDay"})
_UCUM = "http://unitsofmeasure.org"
_CALENDAR = {"year": "a", "month": "mo", "week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s"}
_Invocation = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Parsed:
    """The tree of an expression, as the engine wants it, and the names of the functions it calls."""

    tree: dict[str, Any]
    functions: frozenset[str]


def evaluate(
    expression: str, on: Json, names: Mapping[str, Json] | None = None, *, now: datetime | None = None
) -> list[Json]:
    """The values `expression` selects from `on` (a resource, or any parsed JSON value), `%name` standing for `names`.

    `%resource`, `%rootResource` and `%context` are `on` unless named. Choice elements go by their FHIR name (`value`);
    decimals that were read stay as written. Dates and times come as text, quantities as FHIR Quantities. `now()` and
    `today()` mean the moment given. Raises Incorrect for a wrong syntax, for a function the engine does not know or
    that is refused here, for a wrong use of one, and for an expression that costs too much.
    """
    parsed = _parse(expression)
    if parsed.functions & _CLOCK and now is None:
        raise Incorrect("A FHIRPath expression asks for the time, which plays no part here.")
    from fhirpathpy.engine import do_eval
    from fhirpathpy.models import models

    table = _invocations() | (_clock(now) if now is not None else {})
    originals: dict[int, Json] = {}
    seen = _seen(on, originals)
    root = seen if isinstance(seen, list) else [seen]
    variables = {"context": seen, "resource": seen, "rootResource": seen, "ucum": _UCUM}
    variables |= {name: _seen(value, originals) for name, value in (names or {}).items()}
    context = {
        "dataRoot": root,
        "vars": variables,
        "model": models["r4"],
        "userInvocationTable": table,
        "work": [MOST_WORK],
    }
    try:
        found = cast(Callable[..., list[object]], do_eval)(context, root, parsed.tree)
    except Exception as error:
        _refuse(error)
        raise
    return [value for one in found if (value := _plain(one, originals)) is not None]


def _refuse(error: Exception) -> None:
    """Raise Incorrect for what the engine answers to a wrong expression: one of these, or a bare Exception."""
    if isinstance(error, RecursionError):
        raise Incorrect("A FHIRPath expression is nested too deep.") from None
    if isinstance(error, (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)):
        raise Incorrect(f"A FHIRPath expression cannot be evaluated ({type(error).__name__}).") from None
    if type(error) is Exception:
        raise Incorrect("A FHIRPath expression uses a function wrongly, or one that is not known.") from None


@lru_cache(maxsize=512)
def _parse(expression: str) -> _Parsed:
    if len(expression) > MOST_CHARACTERS or expression.count("(") + expression.count("[") > MOST_BRACKETS:
        raise Incorrect("A FHIRPath expression is longer or has more brackets than is accepted.")
    from antlr4 import CommonTokenStream, InputStream, Token
    from antlr4.error.Errors import LexerNoViableAltException
    from antlr4.tree.Tree import ParseTreeWalker
    from fhirpathpy.parser import recover
    from fhirpathpy.parser.ASTPathListener import ASTPathListener
    from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
    from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

    lexer = FHIRPathLexer(InputStream(expression))
    lexer.recover = recover
    lexer.removeErrorListeners()
    tokens = CommonTokenStream(lexer)
    parser = FHIRPathParser(tokens)
    parser.removeErrorListeners()
    try:
        tree = parser.expression()
    except (LexerNoViableAltException, RecursionError):
        raise Incorrect("A FHIRPath expression cannot be read.") from None
    if parser.getNumberOfSyntaxErrors() or parser.getCurrentToken().type != Token.EOF:
        raise Incorrect("A FHIRPath expression cannot be read.")
    words = [token.text for token in tokens.tokens if token.channel == Token.DEFAULT_CHANNEL]
    functions = frozenset(word for word, after in pairwise(words) if after == "(")
    if functions & REFUSED:
        raise Incorrect(f"The FHIRPath function {min(functions & REFUSED)} is not supported here.")
    listener = cast(Callable[[], Any], ASTPathListener)()
    ParseTreeWalker().walk(listener, tree)
    return _Parsed(tree=listener.parentStack[0]["children"][0], functions=functions)


@cache
def _invocations() -> dict[str, _Invocation]:
    """The engine's functions and operators, each counting what it yields."""
    from fhirpathpy.engine.invocations import invocation_registry

    registry = cast(dict[str, _Invocation], invocation_registry)
    return {name: {**row, "fn": _counted(row["fn"])} for name, row in registry.items()}


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    def counted(context: dict[str, Any], *values: Any) -> Any:
        found = function(context, *values)
        if isinstance(found, dict) and "$error" in found:
            raise Incorrect("A FHIRPath expression wants a single value where there are several.")
        results = found if isinstance(found, list) else [found]
        context["work"][0] -= 1 + len(results)
        if context["work"][0] < 0 or any(isinstance(one, str) and len(one) > MOST_TEXT for one in results):
            raise Incorrect("A FHIRPath expression costs more than is accepted.")
        return found

    counted.__name__ = str(getattr(function, "__name__", "counted"))
    return counted


def _seen(value: Json, originals: dict[int, Json]) -> Json:
    """A copy without the `_x` beside a primitive `x`, which the engine would count as a second value of `x`.

    `originals` gets the object behind each copy, by the copy's identity.
    """
    if isinstance(value, list):
        return [_seen(one, originals) for one in value]
    if not isinstance(value, dict):
        return value
    copied = {name: _seen(one, originals) for name, one in value.items() if name[:1] != "_" or name[1:] not in value}
    originals[id(copied)] = value
    return copied


def _clock(now: datetime) -> dict[str, _Invocation]:
    moment = instant(now)
    return {
        "now": {"fn": lambda *_: moment},
        "today": {"fn": lambda *_: moment[:10]},
        "timeOfDay": {"fn": lambda *_: moment[11:19]},
    }


def _plain(found: Any, originals: Mapping[int, Json]) -> Json:
    """A value of the engine as JSON; None for a primitive that has only extensions."""
    from fhirpathpy.engine.nodes import FP_Quantity, FP_Type
    from fhirpathpy.engine.util import get_data

    value: Json = cast(Callable[..., Json], get_data)(found)
    if isinstance(value, FP_Quantity):
        return _quantity(Decimal(str(value.value)), str(value.unit))
    if isinstance(value, FP_Type):
        return str(value)
    if isinstance(value, Decimal) and not isinstance(value, Exact):
        return Exact(format(value, "f"))
    if isinstance(value, float):
        return Exact(repr(value))
    if isinstance(value, dict) and list(value) == ["extension"] and id(value) not in originals:
        return None
    return originals.get(id(value), value)


def _quantity(value: Decimal, unit: str) -> Json:
    number: Json = int(value) if value == value.to_integral_value() else Exact(format(value, "f"))
    if unit.startswith("'"):
        code = unit.strip("'")
        return {"value": number, "unit": code, "system": _UCUM, "code": code}
    code = _CALENDAR.get(unit.removesuffix("s"), unit)
    return {"value": number, "unit": unit, "system": _UCUM, "code": code}
