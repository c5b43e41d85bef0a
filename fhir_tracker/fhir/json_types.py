"""The types of parsed JSON, with a number that remembers how it was written."""

from __future__ import annotations

from decimal import Decimal
from typing import Any


class Exact(Decimal):
    """A JSON number with a fraction or exponent; compares as a Decimal and is written back as it was read."""

    text: str

    def __new__(cls, text: str) -> Exact:
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text

    def __copy__(self) -> Exact:
        return self

    def __deepcopy__(self, memo: object) -> Exact:
        return self

    def __reduce__(self) -> tuple[type[Exact], tuple[str]]:
        return (Exact, (self.text,))


type_names = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    type(None): "null",
}

# A JSON value is dict[str, Json] | list[Json] | str | int | Exact | bool | None; checked code narrows it before use.
Json = Any
Resource = dict[str, Any]


def kind(value: object) -> str:
    """How a message names the JSON kind of `value`: "an object", "a string" ..."""
    return type_names.get(type(value), "a number")
