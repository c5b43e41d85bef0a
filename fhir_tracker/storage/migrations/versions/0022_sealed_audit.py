"""The trail says more of who acted; its rows are sealed, in blocks that make a chain, and nothing in it can be changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_TEXTS = ("kind", "name", "roles", "client", "issuer", "address", "session", "purpose", "mac")
_GUARDED = ("audit", "audit_block", "audit_patient")
_SAID = "the audit trail is only added to"


def upgrade() -> None:
    for name in _TEXTS:
        op.add_column("audit", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    for column in (sa.Column("version", sa.Integer()), sa.Column("patients", sa.Text()), sa.Column("query", sa.Text())):
        op.add_column("audit", column)
    _blocks()
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE OR REPLACE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{_SAID}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
    for table in _GUARDED:
        for statement in guards(table, op.get_bind().dialect.name):
            op.execute(statement)


def _blocks() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    numbers = [
        sa.Column(name, kind, nullable=False)
        for name, kind in (("first_seq", key), ("last_seq", key), ("rows", sa.Integer()))
    ]
    op.create_table(
        "audit_block",
        sa.Column("number", key, nullable=False, autoincrement=False),
        *numbers,
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("sealed_at", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("mac", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_block")),
    )
    op.create_table(
        "audit_patient",
        sa.Column("patient", sa.Text(), nullable=False),
        sa.Column("seq", key, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("patient", "seq", name=op.f("pk_audit_patient")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_audit_patient_row", "audit_patient", ["seq"], unique=False)


def guards(table: str, dialect: str) -> list[str]:
    if dialect == "postgresql":
        does = "EXECUTE FUNCTION audit_stays()"
        return [
            f"CREATE TRIGGER {table}_stays BEFORE UPDATE ON {table} FOR EACH ROW {does}",
            f"CREATE TRIGGER {table}_is_kept BEFORE DELETE ON {table} FOR EACH ROW {does}",
            f"CREATE TRIGGER {table}_is_not_emptied BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {does}",
        ]
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_SAID}'); END"
    return [
        f"CREATE TRIGGER {table}_stays BEFORE UPDATE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_is_kept BEFORE DELETE ON {table} {refuse}",
    ]
