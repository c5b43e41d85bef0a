"""The place whose calendar counts for work, when work made ahead begins, and the time zone in which a patient lives."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("work_item", sa.Column("site", sa.Text(), nullable=True))
    op.add_column("work_item", sa.Column("starts_at", sa.BigInteger(), nullable=True))
    op.add_column("patient_summary", sa.Column("zone", sa.Text(), nullable=True))
