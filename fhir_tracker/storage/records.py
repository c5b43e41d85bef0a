"""Frozen values to and from rows whose columns carry the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy.engine import RowMapping

Value = TypeVar("Value")
_NAMES: dict[type[Any], tuple[str, ...]] = {}


def to_row(value: Any) -> dict[str, Any]:
    """The fields of a dataclass as column values, nested values left as they are."""
    return {name: getattr(value, name) for name in _names(type(value))}


def from_row(make: type[Value], row: RowMapping | Mapping[str, Any]) -> Value:
    """A dataclass from the columns of a row that bear its fields' names."""
    return make(**{name: row[name] for name in _names(make)})


def _names(made: type[Any]) -> tuple[str, ...]:
    if made not in _NAMES:
        _NAMES[made] = tuple(one.name for one in fields(made))
    return _NAMES[made]
