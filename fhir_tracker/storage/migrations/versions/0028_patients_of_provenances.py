"""Provenances that an earlier program wrote are those of the patient whose records they tell of."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0026"
branch_labels = None
depends_on = None

_AT_ONCE = 500


def upgrade() -> None:
    bind = op.get_bind()
    asked = sa.text(
        "SELECT k, body FROM resource WHERE patient IS NULL AND type = 'Provenance' AND k > :after ORDER BY k LIMIT :some"
    )
    after = -(2**63)
    while rows := bind.execute(asked, {"after": after, "some": _AT_ONCE}).fetchall():
        after = rows[-1][0]
        targets = {k: _targets(body) for k, body in rows}
        owners = _owners({one for some in targets.values() for one in some})
        for k, some in targets.items():
            patients = {owners.get(one) for one in some}
            if len(patients) == 1 and (patient := patients.pop()) is not None:
                _set(k, patient)


def _targets(body: str) -> list[tuple[str, str]]:
    """Type and id of each of our resources that a Provenance is of."""
    try:
        told: Any = json.loads(body).get("target", [])
        references = [one.get("reference", "") for one in told]
        return [(parts[0], parts[1]) for parts in (one.split("/") for one in references) if len(parts) in (2, 4)]
    except (ValueError, AttributeError, TypeError):
        return []


def _owners(targets: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str | None] = {}
    by_type: dict[str, list[str]] = {}
    for type_, id_ in targets:
        by_type.setdefault(type_, []).append(id_)
    asked = sa.text("SELECT id, patient FROM resource WHERE type = :type AND id IN :ids").bindparams(
        sa.bindparam("ids", expanding=True)
    )
    for type_, ids in by_type.items():
        rows = op.get_bind().execute(asked, {"type": type_, "ids": ids}).fetchall()
        found |= {(type_, id_): id_ if type_ == "Patient" else patient for id_, patient in rows}
    return {key: patient for key, patient in found.items() if patient is not None}


def _set(k: int, patient: str) -> None:
    for table in ("resource", "resource_version", "change"):
        change = sa.text(f"UPDATE {table} SET patient = :patient WHERE k = :k AND patient IS NULL")  # noqa: S608
        op.get_bind().execute(change, {"k": k, "patient": patient})
