"""Long lists, a slice at a time: a statement takes only so many values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

Value = TypeVar("Value")
SIZE = 500
"""How many values one statement is given."""


def slices(values: Sequence[Value], size: int = SIZE) -> Iterator[Sequence[Value]]:
    """The values in their order, `size` at a time, the last slice as long as what is left; none for no values."""
    return (values[start : start + size] for start in range(0, len(values), size))
