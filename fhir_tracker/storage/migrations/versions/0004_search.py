"""Uris by their path, identifiers by the code of their type and combinations with two numbers can be found in what was stored before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.storage.indexing import IndexRows, index_rows

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None

BATCH = 500
_NEXT = sa.text("SELECT k, type, body FROM resource WHERE k > :after AND NOT deleted ORDER BY k LIMIT :batch")
_KEY = sa.text("INSERT INTO ix (h, k) VALUES (:h, :k) ON CONFLICT DO NOTHING")
_TEXT = sa.text("INSERT INTO ixs (h, v, k, exact) VALUES (:h, :v, :k, :exact) ON CONFLICT DO NOTHING")
_NUMBER = sa.text("INSERT INTO ixn (h, lo, k, hi) VALUES (:h, :lo, :k, :hi) ON CONFLICT DO NOTHING")


def upgrade() -> None:
    connection = op.get_bind()
    after = -1
    while rows := connection.execute(_NEXT, {"after": after, "batch": BATCH}).all():
        after = rows[-1].k
        found = [(row.k, _rows(row.type, row.body)) for row in rows]
        keys = [{"h": h, "k": k} for k, one in found for h in sorted(one.keys)]
        texts = [{"h": h, "v": v, "k": k, "exact": exact} for k, one in found for h, v, exact in sorted(one.strings)]
        numbers = [{"h": h, "lo": low, "k": k, "hi": high} for k, one in found for h, low, high in sorted(one.numbers)]
        for statement, given in ((_KEY, keys), (_TEXT, texts), (_NUMBER, numbers)):
            if given:
                connection.execute(statement, given)


def _rows(type_: str, body: str) -> IndexRows:
    """What cannot be read is in no index, before and after."""
    try:
        return index_rows(type_, extract(read_resource(body.encode())))
    except Incorrect:
        return IndexRows()
