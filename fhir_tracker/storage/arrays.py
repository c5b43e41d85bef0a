"""Long lists of numbers or texts given to a statement as one value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from fhir_tracker.storage.database import Dialect

FEW = 20


def among(dialect: Dialect, column: ColumnElement[int], values: Sequence[int]) -> ColumnElement[bool]:
    """Whether `column` is one of `values`, however many they are."""
    return _among(dialect, column, values, BigInteger)


def among_texts(dialect: Dialect, column: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
    """The same for texts."""
    return _among(dialect, column, values, Text)


def _among(
    dialect: Dialect, column: ColumnElement[Any], values: Sequence[object], type_: type[BigInteger | Text]
) -> ColumnElement[bool]:
    if len(values) <= FEW:
        return column.in_(values)
    if dialect == "postgresql":
        return column == any_(bindparam(None, list(values), type_=ARRAY(type_)))
    listed = func.json_each(json.dumps(list(values))).table_valued("value")
    return column.in_(select(listed.c.value).correlate(None))
