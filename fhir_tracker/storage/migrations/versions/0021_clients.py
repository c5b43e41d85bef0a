"""The systems that may come in: clients, their access tokens, and the assertions they have used up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _clients()
    _tokens()


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _clients() -> None:
    op.create_table(
        "client",
        _text("id"),
        _text("name"),
        _text("scopes"),
        _text("jwks_url", nullable=True),
        _text("jwks"),
        _moment("added_at"),
        _moment("rotated_at", nullable=True),
        _moment("revoked_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_client")),
    )


def _tokens() -> None:
    op.create_table(
        "access_token",
        _text("digest"),
        _text("client"),
        _text("scopes"),
        _text("patient", nullable=True),
        _moment("issued_at"),
        _moment("expires_at"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_access_token")),
    )
    op.create_index(op.f("ix_access_token_client"), "access_token", ["client"])
    op.create_index(op.f("ix_access_token_expires_at"), "access_token", ["expires_at"])
    op.create_table(
        "seen_jti",
        _text("digest"),
        _moment("until"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_seen_jti")),
    )
    op.create_index(op.f("ix_seen_jti_until"), "seen_jti", ["until"])
