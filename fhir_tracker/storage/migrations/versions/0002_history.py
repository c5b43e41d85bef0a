"""Histories of a type and of everything, newest first."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        op.f("ix_resource_version_updated_at_k_version"),
        "resource_version",
        ["updated_at", "k", "version"],
        unique=False,
    )
