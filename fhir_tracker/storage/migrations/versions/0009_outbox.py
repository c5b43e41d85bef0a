"""What is to be written to EHRs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INDEXES = (
    ("ix_outbox_due", ["connection", "due_at"], "state = 'waiting'"),
    ("ix_outbox_open", ["state", "id"], "state != 'done'"),
    ("ix_outbox_remote", ["connection", "remote_type", "remote_id"], "remote_id IS NOT NULL"),
)


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", _KEY, autoincrement=False, nullable=False),
        sa.Column("connection", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("local_id", sa.Text(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=True),
        sa.Column("made_here", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("agreed_version", sa.Integer(), nullable=True),
        sa.Column("base", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("sent_version", sa.Integer(), nullable=True),
        sa.Column("remote_type", sa.Text(), nullable=True),
        sa.Column("remote_id", sa.Text(), nullable=True),
        sa.Column("remote_version", sa.Text(), nullable=True),
        sa.Column("remote_hash", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("connection", "type", "local_id", name=op.f("uq_outbox_connection_type_local_id")),
    )
    for name, columns, condition in _INDEXES:
        where = sa.text(condition)
        op.create_index(name, "outbox", columns, unique=False, sqlite_where=where, postgresql_where=where)
