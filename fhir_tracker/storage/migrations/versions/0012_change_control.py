"""Who published and approved a program version, why and when; and a database that refuses to change one."""

from __future__ import annotations

from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ADDED = (
    sa.Column("digest", sa.Text(), nullable=False, server_default=""),
    sa.Column("reason", sa.Text(), nullable=True),
    sa.Column("approved_by", sa.Text(), nullable=True),
    sa.Column("approved_at", sa.BigInteger(), nullable=True),
    sa.Column("effective_at", sa.BigInteger(), nullable=True),
    sa.Column("active_from", sa.BigInteger(), nullable=True),
    sa.Column("retired_at", sa.BigInteger(), nullable=True),
    sa.Column("rolls_back", sa.Integer(), nullable=True),
    sa.Column("former", sa.Text(), nullable=False, server_default="{}"),
)
_FIXED = (
    "code",
    "version",
    "title",
    "source",
    "digest",
    "published_at",
    "published_by",
    "reason",
    "rolls_back",
    "former",
)
_STEPS = {"draft": ("approved", "active", "withdrawn"), "approved": ("active", "withdrawn"), "active": ("retired",)}
_SAID = "a program version never changes: publish a new one"


def upgrade() -> None:
    for column in _ADDED:
        op.add_column("program", column)
    _fill()
    if op.get_bind().dialect.name == "postgresql":
        _guard_postgresql()
    else:
        _guard_sqlite()


def _fill() -> None:
    table = sa.table(
        "program", *(sa.column(one) for one in ("code", "version", "source", "digest", "active_from", "published_at"))
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(table)).mappings().all():
        is_it = (table.c.code == row["code"]) & (table.c.version == row["version"])
        known = {"digest": sha256(row["source"].encode()).hexdigest(), "active_from": row["published_at"]}
        connection.execute(sa.update(table).where(is_it).values(known))


def _forbidden(differs: str) -> str:
    fixed = " OR ".join(f"NEW.{name} {differs} OLD.{name}" for name in _FIXED)
    kept = f"(OLD.approved_by IS NOT NULL AND NEW.approved_by {differs} OLD.approved_by)"
    steps = " OR ".join(
        f"(OLD.status = '{one}' AND NEW.status = '{to}')" for one, after in _STEPS.items() for to in after
    )
    return f"{fixed} OR {kept} OR NOT (NEW.status = OLD.status OR {steps})"


def _guard_sqlite() -> None:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_SAID}'); END"
    op.execute(f"CREATE TRIGGER program_stays BEFORE UPDATE ON program WHEN {_forbidden('IS NOT')} {refuse}")
    op.execute(f"CREATE TRIGGER program_is_kept BEFORE DELETE ON program {refuse}")


def _guard_postgresql() -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION program_stays() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_SAID}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    condition = _forbidden("IS DISTINCT FROM")
    does = "EXECUTE FUNCTION program_stays()"
    op.execute(f"CREATE TRIGGER program_stays BEFORE UPDATE ON program FOR EACH ROW WHEN ({condition}) {does}")
    op.execute(f"CREATE TRIGGER program_is_kept BEFORE DELETE ON program FOR EACH ROW {does}")
