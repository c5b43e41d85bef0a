"""Lists as PostgreSQL reads them: in a text, as `{1,2}` or `{"a","b"}`, or whole numbers and long texts in binary.

https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from typing import cast

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from fhir_tracker.errors import Incorrect

_BETWEEN = "\0"
"""What no text can hold in PostgreSQL."""
_BIGINT, _BIGINTS, _TEXT, _TEXTS = 20, 1016, 25, 1009
"""The numbers PostgreSQL has for the types `bigint`, `bigint[]`, `text` and `text[]`."""
_HEAD = struct.Struct(">5i")
_LENGTH = struct.Struct(">i")
_LONG = 64
"""Numbers that a list has at least for it to pay to look for those that come again."""


class Packed(bytes):
    """A `bigint[]` in binary, which the server reads several times faster than a text."""


class PackedTexts(Packed):
    """A `text[]` in binary: nothing in it has to be escaped and read again."""


class _PackedDumper(Dumper):
    format = Format.BINARY
    oid = _BIGINTS

    def dump(self, obj: Packed) -> bytes:
        return obj


class _PackedTextsDumper(_PackedDumper):
    oid = _TEXTS


psycopg.adapters.register_dumper(Packed, _PackedDumper)
psycopg.adapters.register_dumper(PackedTexts, _PackedTextsDumper)


def packed(values: Sequence[int]) -> Packed:
    """The array of some whole numbers, in binary; raises Incorrect when one has more than 64 bits."""
    try:
        numbers = array("q", values)
    except OverflowError:
        raise Incorrect("A number cannot be held by the database.") from None
    if sys.byteorder == "little":
        numbers.byteswap()
    told, count = numbers.tobytes(), len(numbers)
    sized = bytearray(12 * count)
    sized[3::12] = b"\x08" * count
    for place in range(8):
        sized[4 + place :: 12] = told[place::8]
    return Packed(_HEAD.pack(1, 0, _BIGINT, count, 1) + sized)


def packed_texts(values: Sequence[str]) -> PackedTexts:
    """The array of some texts, in binary; raises Incorrect for the character U+0000 and half of a pair."""
    parts = [_HEAD.pack(1, 0, _TEXT, len(values), 1)]
    for value in values:
        try:
            told = value.encode()
        except UnicodeEncodeError:
            raise Incorrect("A value cannot be held by the database.") from None
        parts += (_LENGTH.pack(len(told)), told)
    if any(_BETWEEN in value for value in values):
        raise Incorrect("A value cannot be held by the database.")
    return PackedTexts(b"".join(parts))


def number_array(values: Sequence[int | float | None]) -> str:
    """The array of some numbers; those of a long list that come again are written once."""
    if len(values) >= _LONG:
        texts = {value: repr(value) for value in set(values)}
        if 2 * len(texts) <= len(values):
            return "{" + ",".join([texts[value] for value in values]).replace("None", "NULL") + "}"
    return "{" + str(list(values))[1:-1].replace("None", "NULL") + "}"


def boolean_array(values: Sequence[bool | None]) -> str:
    """The array of some truths."""
    return "{" + ",".join(["NULL" if value is None else "t" if value else "f" for value in values]) + "}"


def text_array(values: Sequence[str | None]) -> str:
    """The array of some texts; raises Incorrect when one holds the character U+0000."""
    if not values:
        return "{}"
    if None in values:
        return "{" + ",".join(["NULL" if value is None else f'"{_escaped(value)}"' for value in values]) + "}"
    joined = _escaped(_BETWEEN.join(cast(Sequence[str], values)))
    if joined.count(_BETWEEN) != len(values) - 1:
        raise Incorrect("A value cannot be held by the database.")
    return '{"' + joined.replace(_BETWEEN, '","') + '"}'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
