"""JSON cut into its members and items without judging them: what is wrong inside one stays inside that one."""

from __future__ import annotations

import json
import re

import msgspec

_SPACE = re.compile(r"[ \t\r\n]*")
_LENIENT = json.JSONDecoder()


def members(raw: bytes) -> dict[str, bytes]:
    """The members of the object in `raw`, each value's exact text; ValueError when it is no complete object."""
    try:
        return {name: bytes(value) for name, value in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return dict(_cut(raw, "{", "}"))


def items(raw: bytes) -> list[bytes]:
    """The items of the array in `raw`, each one's exact text; ValueError when it is no complete array."""
    try:
        return [bytes(value) for value in msgspec.json.decode(raw, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [value for _, value in _cut(raw, "[", "]")]


def _cut(raw: bytes, opening: str, closing: str) -> list[tuple[str, bytes]]:
    """The slow way, for what only Python's own decoder bears, such as NaN or half a surrogate pair."""
    text = raw.decode("utf-8", "surrogateescape")
    found: list[tuple[str, bytes]] = []
    try:
        at = _expect(text, _skip(text, 0), opening)
        while text[at] != closing:
            if found:
                at = _expect(text, at, ",")
            start = at
            name = ""
            if opening == "{":
                name, end = _LENIENT.raw_decode(text, at)
                if not isinstance(name, str):
                    raise ValueError("a member has no name")
                start = _expect(text, _skip(text, end), ":")
            _, end = _LENIENT.raw_decode(text, start)
            found.append((name, text[start:end].encode("utf-8", "surrogateescape")))
            at = _skip(text, end)
    except (IndexError, RecursionError):
        raise ValueError("not complete JSON") from None
    if _skip(text, at + 1) != len(text):
        raise ValueError("more than one JSON value")
    return found


def _expect(text: str, at: int, sign: str) -> int:
    if text[at] != sign:
        raise ValueError(f"{sign} expected")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
