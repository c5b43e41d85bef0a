"""Systems have roles, as which they may move work where a program says who may."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("client", sa.Column("roles", sa.Text(), nullable=False, server_default="[]"))
