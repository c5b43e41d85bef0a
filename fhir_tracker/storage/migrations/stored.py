"""What is stored, read through by a migration that has to put it into the search index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.storage.indexing import IndexRows, index_rows

BATCH = 500
_NEXT = sa.text("SELECT k, type, body FROM resource WHERE k > :after AND NOT deleted ORDER BY k LIMIT :batch")


def indexed(connection: sa.Connection) -> Iterator[Sequence[tuple[int, IndexRows]]]:
    """The `k` and the index rows of every resource, some hundreds at a time."""
    after = -1
    while rows := connection.execute(_NEXT, {"after": after, "batch": BATCH}).all():
        after = rows[-1].k
        yield [(row.k, _rows(row.type, row.body)) for row in rows]


def _rows(type_: str, body: str) -> IndexRows:
    """What cannot be read is in no index, before and after."""
    try:
        return index_rows(type_, extract(read_resource(body.encode())))
    except Incorrect:
        return IndexRows()
