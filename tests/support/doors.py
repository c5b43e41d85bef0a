"""A network that is none: names lead where a test says, and whoever connects is written down and turned away."""

from __future__ import annotations

import ast
import functools
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from scripts.budgets import ROOT

PACKAGES = ("api", "subscriptions", "mappings", "fhir_tracker")
PUBLIC_IP = "93.184.216.34"


@dataclass
class Network:
    """`names` lead to a list of answers, each a list of IP addresses: one a look-up, the last one again and again."""

    names: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    reached: list[tuple[str, int]] = field(default_factory=list)

    def look_up(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        """As `socket.getaddrinfo`, which takes numbers in every form for addresses."""
        self.asked.append(host)
        answers = self.names.get(host.lower())
        if answers is None:
            found = [_numeric(host)]
        else:
            found = list(answers[min(self.asked.count(host), len(answers)) - 1])
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    def connect(self, address: tuple[str, int], *_: Any, **__: Any) -> Any:
        """As `socket.create_connection`."""
        self.reached.append(address)
        raise ConnectionRefusedError(111, "Connection refused")


def _numeric(host: str) -> str:
    if ":" in host:
        return host
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        raise socket.gaierror(-2, "Name or service not known") from None


def network(monkeypatch: pytest.MonkeyPatch, names: Mapping[str, Sequence[Sequence[str]]]) -> Network:
    """In place of the machine's own, for one test."""
    made = Network(names)
    monkeypatch.setattr(socket, "getaddrinfo", made.look_up)
    monkeypatch.setattr(socket, "create_connection", made.connect)
    return made


def calls(*wanted: str) -> dict[str, str]:
    """Where our code calls one of `wanted` (as written there): `package.module.function` -> the call."""
    return {place: ast.unparse(call) for place, call in each_call(*wanted)}


def each_call(*wanted: str) -> Iterator[tuple[str, ast.Call]]:
    """Each call of one of `wanted`, with the place where it stands."""
    last = {one.rpartition(".")[2] for one in wanted}
    for module, tree in _modules().items():
        for name, call in _calls(tree, ""):
            if _last(call.func) in last and ast.unparse(call.func) in wanted:
                yield f"{module}{name}", call


def imports(*wanted: str) -> dict[str, set[str]]:
    """Which of the libraries `wanted` our modules import."""
    found: dict[str, set[str]] = {}
    for module, tree in _modules().items():
        for node in ast.walk(tree):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            used = {name for name in wanted if any(one == name or one.startswith(f"{name}.") for one in names)}
            if used:
                found.setdefault(module, set()).update(used)
    return found


@functools.cache
def _modules() -> dict[str, ast.Module]:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text()) for path in paths}


def _calls(node: ast.AST, name: str) -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        inner = name
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{name}.{child.name}"
        if isinstance(child, ast.Call):
            yield inner, child
        yield from _calls(child, inner)


def _last(func: ast.expr) -> str:
    if isinstance(func, ast.Attribute):
        return func.attr
    return func.id if isinstance(func, ast.Name) else ""
