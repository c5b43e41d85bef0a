"""Lists as PostgreSQL reads them in a text: `{1,2}`, `{"a","b"}`.

https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from fhir_tracker.errors import Incorrect

_BETWEEN = "\0"
"""What no text can hold in PostgreSQL."""


def number_array(values: Sequence[int | float | None]) -> str:
    """The array of some numbers."""
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
