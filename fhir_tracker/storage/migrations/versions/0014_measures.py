"""How long work stood how, attempts as they were known, and sums of both by the hour."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_STANDS_SINCE = """
UPDATE work_item SET stands_since = coalesce(
  (SELECT max(recorded_at) FROM transition WHERE transition.item = work_item.ref), created_at)
WHERE kind <> 'outside'
"""
_BEGINNINGS = """
INSERT INTO spell (k, item, kind, patient, plan, program, program_version, code, status, fhir_status, clock, open, role,
  owner, due_at, created_at, status_since, since, until, effective_at, next_status, next_fhir_status, next_clock,
  next_open, next_role, next_owner)
SELECT k, ref, kind, patient, plan, program, program_version, code, '', '', 'stopped', false, role,
  owner, due_at, created_at, created_at, begun, begun, begun, status, fhir_status, clock,
  open, role, owner
FROM (SELECT work_item.*, coalesce(
  (SELECT min(recorded_at) FROM transition WHERE transition.item = work_item.ref), created_at) AS begun
  FROM work_item WHERE kind = 'plan') AS plans
"""


def upgrade() -> None:
    op.add_column("work_item", sa.Column("stands_since", sa.BigInteger(), nullable=True))
    _spells()
    _attempts()
    op.create_table(
        "figure_hour",
        *(sa.Column(name, _type(name), nullable=False) for name in _SUMMED),
        sa.PrimaryKeyConstraint("what", "hour", "program", "a", "b", "c", name=op.f("pk_figure_hour")),
    )
    op.create_table(
        "stale_hour",
        sa.Column("k", _KEY, autoincrement=False, nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("k", name=op.f("pk_stale_hour")),
    )
    op.execute(_STANDS_SINCE)
    op.execute(_BEGINNINGS)


_SUMMED = ("what", "hour", "program", "a", "b", "c", "n", "seconds")


def _type(name: str) -> sa.BigInteger | sa.Text:
    return sa.BigInteger() if name in ("hour", "n", "seconds") else sa.Text()


def _spells() -> None:
    texts = ("item", "kind", "code", "status", "fhir_status", "clock", "next_status", "next_fhir_status", "next_clock")
    maybe_texts = (
        "patient",
        "plan",
        "program",
        "role",
        "owner",
        "hold_event",
        "focus",
        "next_role",
        "next_owner",
        "reason",
    )
    moments = ("created_at", "status_since", "since", "until", "effective_at")
    op.create_table(
        "spell",
        sa.Column("k", _KEY, autoincrement=False, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in texts),
        *(sa.Column(name, sa.Text(), nullable=True) for name in maybe_texts),
        sa.Column("program_version", sa.Integer(), nullable=True),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("next_open", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in moments),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in ("due_at", "hold_until")),
        sa.PrimaryKeyConstraint("k", name=op.f("pk_spell")),
    )
    for name in ("item", "until", "patient"):
        op.create_index(op.f(f"ix_spell_{name}"), "spell", [name], unique=False)


def _attempts() -> None:
    op.create_table(
        "attempt_log",
        sa.Column("k", _KEY, autoincrement=False, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("ref", "item", "channel", "outcome")),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("plan", "patient", "program")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("at", "since")),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("k", name=op.f("pk_attempt_log")),
    )
    for name in ("ref", "at", "plan", "patient"):
        op.create_index(op.f(f"ix_attempt_log_{name}"), "attempt_log", [name], unique=False)
