"""The index of keys holds what is mostly there by its absence, a code of one system once, and no aliases; it is made anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fhir_tracker.storage.migrations.stored import indexed

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

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
    for found in indexed(connection):
        keys = [{"h": h, "k": k} for k, one in found for h in one.keys]
        if keys:
            connection.execute(_KEY, sorted(keys, key=lambda one: one["h"]))
