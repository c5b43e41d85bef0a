"""Frozen values to and from rows whose columns carry the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy.engine import RowMapping

Value = TypeVar("Value")


def to_row(value: Any) -> dict[str, Any]:
    """The fields of a dataclass as column values, nested values left as they are."""
    return {one.name: getattr(value, one.name) for one in fields(value)}


def from_row(make: type[Value], row: RowMapping | Mapping[str, Any]) -> Value:
    """A dataclass from the columns of a row that bear its fields' names."""
    return make(**{one.name: row[one.name] for one in fields(make)})  # type: ignore[arg-type]
