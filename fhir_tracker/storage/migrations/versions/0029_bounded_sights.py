"""Work is found by its program and by its place: of some of them is all that some roles see."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("program", "site"):
        is_there = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            op.f(f"ix_work_item_{column}_patient"),
            "work_item",
            [column, "patient"],
            unique=False,
            sqlite_where=is_there,
            postgresql_where=is_there,
        )
