"""What logins and pages keep: further tabs of a launch, what people prefer, local logins, and guesses at them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _tabs()
    _people()


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _tabs() -> None:
    op.create_table(
        "launch_ticket",
        *(_text(name) for name in ("digest", "launch", "page")),
        _moment("ends_at"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_launch_ticket")),
    )
    op.create_table(
        "launch_tab",
        *(_text(name) for name in ("digest", "launch")),
        _moment("made_at"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_launch_tab")),
    )
    for column in ("launch", "made_at"):
        op.create_index(op.f(f"ix_launch_tab_{column}"), "launch_tab", [column], unique=False)


def _people() -> None:
    op.create_table(
        "preference",
        *(_text(name) for name in ("account", "density")),
        sa.Column("keys", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_preference")),
    )
    op.create_table(
        "local_login",
        *(_text(name) for name in ("account", "name")),
        *(_text(name, nullable=True) for name in ("password", "sealed_totp")),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        _text("enrolment_digest", nullable=True),
        _moment("enrolment_ends", nullable=True),
        _moment("changed_at"),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_local_login")),
        sa.UniqueConstraint("name", name=op.f("uq_local_login_name")),
    )
    op.create_table(
        "login_guess",
        _text("key"),
        sa.Column("failures", sa.Integer(), nullable=False),
        _moment("last_at"),
        _moment("barred_until"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_login_guess")),
    )
    op.create_index(op.f("ix_login_guess_last_at"), "login_guess", ["last_at"], unique=False)
