"""Records that are restricted by their own labels, and whose the bodies in quarantine are."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_CODES = frozenset({"R", "V", "42CFRPart2", "ETH", "ETHUD", "HIV", "OPIOIDUD", "PSYTHPN", "SUD"})
_SYSTEMS = ("/v3-Confidentiality", "/v3/Confidentiality", "2.16.840.1.113883.5.25")
_FURTHER = ("/v3-ActCode", "/v3/ActCode", "2.16.840.1.113883.5.4")


def upgrade() -> None:
    op.create_table(
        "restricted_record",
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("ref", name=op.f("pk_restricted_record")),
    )
    op.create_index(op.f("ix_restricted_record_patient"), "restricted_record", ["patient"], unique=False)
    op.add_column("quarantine", sa.Column("patient", sa.Text(), nullable=True))
    op.add_column("quarantine", sa.Column("restricted", sa.Boolean(), nullable=False, server_default=sa.false()))
    _fill()


def _fill() -> None:
    labelled = sa.text("SELECT type, id, patient, body FROM resource WHERE body LIKE '%\"security\"%'")
    for type_, id_, patient, body in op.get_bind().execute(labelled).fetchall():
        if not _is_restricted(body):
            continue
        if type_ == "Patient":
            new = "INSERT INTO restricted_patient (patient) VALUES (:id) ON CONFLICT DO NOTHING"
            op.get_bind().execute(sa.text(new), {"id": id_})
        else:
            new = "INSERT INTO restricted_record (ref, patient) VALUES (:ref, :patient)"
            op.get_bind().execute(sa.text(new), {"ref": f"{type_}/{id_}", "patient": patient})


def _is_restricted(body: str) -> bool:
    try:
        meta: Any = json.loads(body).get("meta", {})
        labels = [one for one in meta.get("security", []) if isinstance(one, dict)]
    except (ValueError, AttributeError):
        return False
    return any(
        one.get("code") in _CODES and str(one.get("system", _SYSTEMS[0])).endswith((*_SYSTEMS, *_FURTHER))
        for one in labels
    )
