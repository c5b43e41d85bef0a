"""Indexes that hold all that the panels of aging and of overdue work read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_work_item_status", table_name="work_item")
    _create("ix_work_item_status", ["program", "status", "status_since", "kind"], "open")
    _create("ix_work_item_late", ["due_at", "clock", "kind", "owner", "role", "program"], "open AND due_at IS NOT NULL")


def _create(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "work_item", columns, unique=False, sqlite_where=where, postgresql_where=where)
