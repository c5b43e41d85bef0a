"""Every transition keeps the coded reason that was chosen for it, so that reasons can be counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("transition", sa.Column("reason_code", sa.Text(), nullable=True))
