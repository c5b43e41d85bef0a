"""Long lists of numbers given to a statement as one value."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import BigInteger, ColumnElement, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from fhir_tracker.storage.database import Dialect

FEW = 20


def among(dialect: Dialect, column: ColumnElement[int], values: Sequence[int]) -> ColumnElement[bool]:
    """Whether `column` is one of `values`, however many they are."""
    if len(values) <= FEW:
        return column.in_(values)
    if dialect == "postgresql":
        return column == any_(bindparam(None, list(values), type_=ARRAY(BigInteger)))
    listed = func.json_each(json.dumps(list(values))).table_valued("value")
    return column.in_(select(listed.c.value).correlate(None))
