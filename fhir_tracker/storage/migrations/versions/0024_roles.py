"""Roles as a practice's own files, patients that are restricted, and the glass that was broken for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_RESTRICTED = """
INSERT INTO restricted_patient (patient)
SELECT id FROM resource WHERE type = 'Patient' AND (deleted = {false}) AND body LIKE '%v3-Confidentiality%'
AND (body LIKE '%"code":"R"%' OR body LIKE '%"code":"V"%')
"""


def upgrade() -> None:
    op.create_table(
        "role_file",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        *(_text(name) for name in ("source", "digest")),
        _moment("loaded_at"),
        _text("loaded_by"),
        _text("reason", nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_role_file")),
    )
    op.create_table(
        "restricted_patient", _text("patient"), sa.PrimaryKeyConstraint("patient", name=op.f("pk_restricted_patient"))
    )
    op.create_table(
        "broken_glass",
        *(_text(name) for name in ("id", "who", "patient", "reason")),
        *(_moment(name) for name in ("began_at", "ends_at")),
        _moment("ended_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_broken_glass")),
    )
    op.create_index(op.f("ix_broken_glass_who_ends_at"), "broken_glass", ["who", "ends_at"], unique=False)
    op.create_index(op.f("ix_broken_glass_began_at"), "broken_glass", ["began_at"], unique=False)
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute(_RESTRICTED.format(false="0" if is_sqlite else "FALSE"))


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)
