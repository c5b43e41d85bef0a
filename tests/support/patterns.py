"""Every regular expression of the product, and which of them can take much longer than what they are given."""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from scripts.budgets import PACKAGES, ROOT, sources

_CONSTRAINTS = ROOT / "fhir_tracker" / "fhir" / "definitions" / "constraints.json"
_MATCHES = re.compile(r"matches\('([^']*)'\)")
MANY = 64
"""A repeat that may happen more often than this is as good as endless."""
_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT)
_SETTLED = (op.POSSESSIVE_REPEAT, op.ATOMIC_GROUP)
_SAMPLE = tuple(chr(one) for one in (*range(1, 128), 0xA0, 0xE9, 0x2003, 0x0662, 0xFFFF))


def modules() -> Iterator[tuple[str, Any]]:
    """Name and module of everything that the product is made of."""
    for path in sources(*PACKAGES):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if "migrations" in parts or path.stem in ("__main__", "queue"):
            continue
        name = ".".join(parts).removesuffix(".__init__")
        yield name, importlib.import_module(name)


def patterns() -> dict[str, re.Pattern[Any]]:
    """`module.name` -> expression, of every module."""
    found: dict[str, re.Pattern[Any]] = {}
    for name, module in modules():
        for variable, value in vars(module).items():
            for number, one in enumerate(_within(value)):
                found.setdefault(f"{name}.{variable}{f'[{number}]' if number else ''}", one)
    for path in sources(*PACKAGES):
        for line, text in _inline(path):
            found[f"{path.relative_to(ROOT)}:{line}"] = re.compile(text)
    for number, text in enumerate(sorted(set(_MATCHES.findall(_CONSTRAINTS.read_text())))):
        found[f"{_CONSTRAINTS.name}[{number}]"] = re.compile(json.loads(f'"{text}"').replace("\\\\", "\\"), re.DOTALL)
    first = {one: place for place, one in reversed(found.items())}
    return {place: one for place, one in found.items() if first[one] == place}


def _inline(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of the expressions that stand in calls such as `re.fullmatch(...)`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            is_ours = isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
            text = getattr(node.args[0], "value", None)
            if is_ours and isinstance(text, str) and node.func.attr != "compile":
                yield node.lineno, text


def _within(value: object) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _within(one)
    elif isinstance(value, tuple | list | set | frozenset):
        for one in value:
            yield from _within(one)


def doubts(pattern: re.Pattern[Any]) -> list[str]:
    """Where two endless repeats could share out the same characters in many ways, which is what makes backtracking slow.

    The body of an endless repeat is gone through twice, as if it stood there twice.
    """
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    found: list[str] = []
    _walk(parser.parse(text, pattern.flags & ~re.UNICODE), set(), found)
    return list(dict.fromkeys(found))


def _walk(parts: Any, open_: set[str], found: list[str]) -> set[str]:
    """`open_`: what an endless repeat before could still take; gives the same behind these parts."""
    for kind, value in parts:
        if kind in _REPEATS:
            open_ = _repeated(value, open_, found)
        elif kind in _SETTLED:
            _walk(value[2] if kind is op.POSSESSIVE_REPEAT else value, set(), found)
            open_ = set()
        elif kind is op.SUBPATTERN:
            open_ = _walk(value[3], open_, found)
        elif kind is op.BRANCH:
            open_ = set().union(*(_walk(one, open_, found) for one in value[1]))
        elif kind not in (op.AT, op.ASSERT, op.ASSERT_NOT) and not _chars(kind, value) & open_:
            open_ = set()
    return open_


def _repeated(value: Any, open_: set[str], found: list[str]) -> set[str]:
    least, most, inner = value
    endless = most is op.MAXREPEAT or most > MANY
    if endless and (shared := open_ & first_of(inner)):
        found.append(f"two repeats can share out {min(shared)!r}")
    after = _walk(inner, _walk(inner, open_, found), found) if most != 1 else _walk(inner, open_, found)
    return (after | all_of(inner) if endless else after) | (set() if least else open_)


def _may_be_empty(parts: Any) -> bool:
    return bool(parser.SubPattern(parser.State(), list(parts)).getwidth()[0] == 0)


def first_of(parts: Any) -> set[str]:
    """Characters of the sample that a match of these parts can begin with."""
    found: set[str] = set()
    for one in parts:
        chars, may_skip = _first(one)
        found |= chars
        if not may_skip:
            return found
    return found


def all_of(parts: Any) -> set[str]:
    """Characters of the sample that can stand anywhere in a match of these parts."""
    found: set[str] = set()
    for kind, value in parts:
        if kind in (*_REPEATS, op.POSSESSIVE_REPEAT):
            found |= all_of(value[2])
        elif kind is op.SUBPATTERN:
            found |= all_of(value[3])
        elif kind is op.ATOMIC_GROUP:
            found |= all_of(value)
        elif kind is op.BRANCH:
            found |= {char for one in value[1] for char in all_of(one)}
        else:
            found |= _chars(kind, value)
    return found


def _first(part: Any) -> tuple[set[str], bool]:
    kind, value = part
    if kind in (*_REPEATS, op.POSSESSIVE_REPEAT):
        return first_of(value[2]), value[0] == 0
    if kind is op.SUBPATTERN:
        return first_of(value[3]), _may_be_empty(value[3])
    if kind is op.ATOMIC_GROUP:
        return first_of(value), _may_be_empty(value)
    if kind is op.BRANCH:
        return {char for one in value[1] for char in first_of(one)}, any(_may_be_empty(one) for one in value[1])
    return _chars(kind, value), kind in (op.AT, op.ASSERT, op.ASSERT_NOT)


def _chars(kind: Any, value: Any) -> set[str]:
    if kind is op.LITERAL:
        return {chr(value)}
    if kind is op.NOT_LITERAL:
        return {one for one in _SAMPLE if one != chr(value)}
    if kind is op.ANY:
        return set(_SAMPLE)
    if kind is op.IN:
        negated = value[0][0] is op.NEGATE
        named = {one for one in _SAMPLE for item in value if _is_in(one, *item)}
        return set(_SAMPLE) - named if negated else named
    return set()


def _is_in(char: str, kind: Any, value: Any) -> bool:
    if kind is op.LITERAL:
        return bool(ord(char) == value)
    if kind is op.RANGE:
        return bool(value[0] <= ord(char) <= value[1])
    if kind is op.CATEGORY:
        names = {op.CATEGORY_DIGIT: r"\d", op.CATEGORY_SPACE: r"\s", op.CATEGORY_WORD: r"\w"}
        names |= {op.CATEGORY_NOT_DIGIT: r"\D", op.CATEGORY_NOT_SPACE: r"\S", op.CATEGORY_NOT_WORD: r"\W"}
        return re.fullmatch(names[value], char) is not None
    return False


def pumped(pattern: re.Pattern[Any], times: int) -> Iterator[str]:
    """Texts that come to each endless repeat of an expression, keep it busy, and then do not match."""
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    for before, inner in _endless(parser.parse(text, pattern.flags & ~re.UNICODE), ""):
        for piece in dict.fromkeys((sample(inner), *sorted(first_of(inner))[:1], *sorted(first_of(inner))[-1:])):
            for end in ("\x00", "\n!", ""):
                yield before + (piece or "a") * (times // max(1, len(piece))) + end


def sample(parts: Any) -> str:
    """A short text that matches these parts, or nearly."""
    found = ""
    for kind, value in parts:
        if kind in (*_REPEATS, op.POSSESSIVE_REPEAT):
            found += sample(value[2]) * max(value[0], 1)
        elif kind is op.SUBPATTERN:
            found += sample(value[3])
        elif kind is op.ATOMIC_GROUP:
            found += sample(value)
        elif kind is op.BRANCH:
            found += sample(value[1][0])
        else:
            usual = _chars(kind, value)
            found += min(usual & set("a0A/-. "), default=min(usual, default=""))
    return found


def _endless(parts: Any, before: str) -> Iterator[tuple[str, Any]]:
    for kind, value in parts:
        if kind in (*_REPEATS, op.POSSESSIVE_REPEAT):
            if value[1] is op.MAXREPEAT or value[1] > MANY:
                yield before, value[2]
            yield from _endless(value[2], before)
        elif kind is op.SUBPATTERN:
            yield from _endless(value[3], before)
        elif kind is op.BRANCH:
            for one in value[1]:
                yield from _endless(one, before)
        before += sample([(kind, value)])


def scanned() -> set[str]:
    """The names of those that are looked for anywhere in a text, which is tried from every place of it."""
    found = set()
    for name, module in modules():
        text = Path(module.__file__ or "").read_text()
        found |= {f"{name}.{one}" for one in re.findall(r"\b(\w+)\.(?:search|sub|subn|findall|finditer|split)\(", text)}
    return found


def main(times: int) -> None:
    """Give each expression what keeps it busy, and say which one it is."""
    anywhere = scanned()
    for place, pattern in patterns().items():
        sys.stdout.write(f"{place}\n")
        sys.stdout.flush()
        for text in pumped(pattern, times):
            given: Any = text if isinstance(pattern.pattern, str) else text.encode("latin-1", "replace")
            pattern.search(given) if place in anywhere else pattern.fullmatch(given)
    sys.stdout.write("all\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
