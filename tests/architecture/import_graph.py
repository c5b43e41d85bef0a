"""The imports between our own modules as they happen at run time, read from the source without running it."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

Graph = Mapping[str, frozenset[str]]


@cache
def import_graph(root: Path, packages: tuple[str, ...]) -> Graph:
    """Module name -> the own modules it imports anywhere but under TYPE_CHECKING.

    What earlier tests left is collected first: finalizers that run while Python 3.11 parses make its parser fail.
    """
    gc.collect()
    files = {_module(root, path): path for package in packages for path in (root / package).rglob("*.py")}
    return {
        name: frozenset(target for target in _imports(path.read_text(), files) if target != name)
        for name, path in files.items()
    }


def cycles(graph: Graph) -> list[list[str]]:
    """Each group of modules that reach each other, by Tarjan's algorithm without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []
    for start in graph:
        if start in index:
            continue
        work: list[tuple[str, Iterator[str]]] = []
        _enter(start, graph, index, low, stack, work)
        while work:
            module, targets = work[-1]
            for target in targets:
                if target not in index:
                    _enter(target, graph, index, low, stack, work)
                    break
                if target in stack:
                    low[module] = min(low[module], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[module])
                if low[module] == index[module]:
                    group = stack[stack.index(module) :]
                    del stack[stack.index(module) :]
                    if len(group) > 1:
                        found.append(sorted(group))
    return found


def _enter(
    module: str,
    graph: Graph,
    index: dict[str, int],
    low: dict[str, int],
    stack: list[str],
    work: list[tuple[str, Iterator[str]]],
) -> None:
    index[module] = low[module] = len(index)
    stack.append(module)
    work.append((module, iter(sorted(graph[module]))))


def _module(root: Path, path: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(text: str, files: Mapping[str, Path]) -> Iterator[str]:
    for node in _runtime_nodes(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in files:
                    yield whole
                elif node.module in files:
                    yield node.module


def _runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for branch in node.orelse:
                yield branch
                yield from _runtime_nodes(branch)
            continue
        yield node
        yield from _runtime_nodes(node)
