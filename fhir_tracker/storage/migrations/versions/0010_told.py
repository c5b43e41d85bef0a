"""Whether a Subscription tells of what it should: when it last did, and what polls found that it kept to itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    table = "remote_subscription"
    op.add_column(table, sa.Column("told_at", sa.BigInteger(), nullable=True))
    op.add_column(table, sa.Column("untold", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(table, sa.Column("untold_since", sa.BigInteger(), nullable=True))
