"""The index of keys holds what is mostly there by its absence, a code of one system once, and no aliases; it is made anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.storage.indexing import index_rows

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BATCH = 500
_NEXT = sa.text("SELECT k, type, body FROM resource WHERE k > :after AND NOT deleted ORDER BY k LIMIT :batch")
_KEY = sa.text("INSERT INTO ix (h, k) VALUES (:h, :k)")
_SELDOM = (
    ("ix_work_item_plan", ["plan"], "plan IS NOT NULL"),
    ("ix_work_item_focus", ["focus"], "focus IS NOT NULL"),
    ("ix_work_item_next", ["next_action_at", "k"], "open AND next_action_at IS NOT NULL"),
)


def upgrade() -> None:
    connection = op.get_bind()
    for name, columns, condition in _SELDOM:
        where = sa.text(condition)
        op.drop_index(op.f(name), "work_item")
        op.create_index(op.f(name), "work_item", columns, sqlite_where=where, postgresql_where=where)
    connection.execute(sa.text("DELETE FROM ix"))
    after = -1
    while rows := connection.execute(_NEXT, {"after": after, "batch": BATCH}).all():
        after = rows[-1].k
        keys = [{"h": h, "k": row.k} for row in rows for h in _keys(row.type, row.body)]
        if keys:
            connection.execute(_KEY, sorted(keys, key=lambda one: one["h"]))


def _keys(type_: str, body: str) -> frozenset[int]:
    """What cannot be read is in no index, before and after."""
    try:
        return index_rows(type_, extract(read_resource(body.encode()))).keys
    except Incorrect:
        return frozenset()
