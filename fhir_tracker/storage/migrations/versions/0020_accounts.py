"""Who may come in: issuers, accounts of the staff, launches under way, and their sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _issuers()
    _accounts()
    _launches()


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _issuers() -> None:
    op.create_table(
        "issuer",
        *(_text(name) for name in ("key", "kind", "url", "label", "client_id", "client_type")),
        _text("sealed_secret", nullable=True),
        *(_text(name) for name in ("scopes", "frame_ancestors", "options")),
        sa.Column("active", sa.Boolean(), nullable=False),
        _moment("changed_at"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_issuer")),
        sa.UniqueConstraint("url", name=op.f("uq_issuer_url")),
    )


def _accounts() -> None:
    op.create_table(
        "account",
        *(_text(name) for name in ("id", "ref", "name", "roles")),
        _text("connection", nullable=True),
        _text("fhir_user"),
        _text("provider", nullable=True),
        _text("subject"),
        sa.Column("active", sa.Boolean(), nullable=False),
        _moment("created_at"),
        _moment("changed_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
    )
    for of, who in (("connection", "fhir_user"), ("provider", "subject")):
        where = sa.text(f"{of} IS NOT NULL")
        op.create_index(
            f"uq_account_{of}", "account", [of, who], unique=True, sqlite_where=where, postgresql_where=where
        )


def _launches() -> None:
    op.create_table(
        "launch_pending",
        *(_text(name) for name in ("state_digest", "browser_digest", "issuer", "sealed")),
        _moment("made_at"),
        _moment("ends_at"),
        sa.PrimaryKeyConstraint("state_digest", name=op.f("pk_launch_pending")),
    )
    op.create_index(op.f("ix_launch_pending_ends_at"), "launch_pending", ["ends_at"], unique=False)
    op.create_table(
        "launch_session",
        *(_text(name) for name in ("id", "secret_digest", "handle_digest", "account")),
        *(_text(name, nullable=True) for name in ("connection", "provider")),
        *(_text(name) for name in ("issuer", "client")),
        *(_text(name, nullable=True) for name in ("patient", "encounter")),
        *(_text(name) for name in ("intent", "fhir_context")),
        sa.Column("needs_banner", sa.Boolean(), nullable=False),
        *(_text(name) for name in ("style_url", "tenant", "frame_ancestors", "scopes")),
        *(_moment(name) for name in ("began", "active_at", "ends_at")),
        _moment("ended_at", nullable=True),
        _text("ended_why"),
        _text("sealed_tokens", nullable=True),
        _moment("tokens_end", nullable=True),
        sa.Column("renewed", sa.Integer(), nullable=False),
        _moment("renewing_until", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_launch_session")),
    )
    for column in ("account", "ends_at"):
        op.create_index(op.f(f"ix_launch_session_{column}"), "launch_session", [column], unique=False)
