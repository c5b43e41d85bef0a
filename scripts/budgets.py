"""Measure the size budgets of the house style and print them; the limits themselves are tests in tests/architecture.

budgets.py: prints one line each for modules, functions, tests and broad excepts.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("fhir_tracker", "mappings", "subscriptions", "api")
REPORTED_FUNCTION = 45


@dataclass(frozen=True, kw_only=True)
class Sized:
    """A module or function with its length in lines; `place` is path or path:line name."""

    place: str
    lines: int


def sources(*folders: str) -> list[Path]:
    """The Python files under the given folders of the project."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def modules(paths: Iterable[Path]) -> list[Sized]:
    """The length of every module that holds more than a docstring."""
    sized = [Sized(place=_name(path), lines=len(path.read_text().splitlines())) for path in paths]
    return [module for module in sized if not (module.place.endswith("__init__.py") and module.lines <= 5)]


def functions(paths: Iterable[Path]) -> list[Sized]:
    """The length of every function and method, from `def` to its last line."""
    return [
        Sized(
            place=f"{_name(path)}:{node.lineno} {node.name}", lines=(node.end_lineno or node.lineno) - node.lineno + 1
        )
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def broad_excepts(paths: Iterable[Path]) -> list[str]:
    """Where a bare except, Exception or BaseException is caught and not raised again."""
    return [
        f"{_name(path)}:{node.lineno}"
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not _raises_again(node)
    ]


def _is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(name, ast.Name) and name.id in {"Exception", "BaseException"} for name in names)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _spread(sized: list[Sized]) -> str:
    lengths = sorted(one.lines for one in sized)
    p95 = lengths[min(len(lengths) - 1, round(0.95 * len(lengths)))]
    return f"{len(lengths)}, median {median(lengths):.0f}, p95 {p95}, max {lengths[-1]} lines"


def report() -> Iterator[str]:
    """The lines of the table."""
    code, tests = sources(*PACKAGES), sources("tests")
    code_modules, code_functions = modules(code), functions(code)
    code_lines, test_lines = (sum(module.lines for module in modules(some)) for some in (code, tests))
    broad = broad_excepts(code)
    yield f"modules       {_spread(code_modules)}   (budget: median 150, p95 400, never over 600)"
    yield f"functions     {_spread(code_functions)}   (budget: median 10, p95 45, never over 80)"
    yield f"test to code  {test_lines}:{code_lines} = {test_lines / code_lines:.2f}   (budget: 1.3 or more)"
    yield f"broad excepts {len(broad)}   (budget: 5)   {' '.join(broad)}"
    for function in sorted(code_functions, key=lambda one: -one.lines):
        if function.lines > REPORTED_FUNCTION:
            yield f"  long function: {function.place}, {function.lines} lines"


if __name__ == "__main__":
    print("\n".join(report()))
