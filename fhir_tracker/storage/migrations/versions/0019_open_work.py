"""Indexes of open work as SQLite asks for it: with `open = 1`, and with `open` in those that hold all that a panel reads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_INDEXES = (
    ("ix_work_item_next", ["next_action_at", "k"], " AND next_action_at IS NOT NULL"),
    ("ix_work_item_status", ["program", "status", "status_since", "kind", "open"], ""),
    ("ix_work_item_late", ["due_at", "clock", "kind", "owner", "role", "program", "open"], " AND due_at IS NOT NULL"),
)


def upgrade() -> None:
    for name, columns, condition in _INDEXES:
        op.drop_index(name, table_name="work_item")
        lite, full = sa.text(f"open = 1{condition}"), sa.text(f"open{condition}")
        op.create_index(name, "work_item", columns, unique=False, sqlite_where=lite, postgresql_where=full)
