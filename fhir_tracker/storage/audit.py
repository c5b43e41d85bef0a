"""Audit rows: who did what to which reference, with what outcome; only ever added to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from fhir_tracker.fhir.body import write_json
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.bulks import AUDIT
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.running_tables import audit
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.types import microseconds


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """One access or change; `action` is a word such as `read`, `search`, `create`, `transition`."""

    seq: int
    at: datetime
    who: str
    action: str
    ref: str
    patient: str | None
    outcome: str
    request_id: str
    detail: Mapping[str, Any] = field(default_factory=dict)


def add(
    tx: Tx,
    *,
    at: datetime,
    who: str,
    action: str,
    ref: str,
    patient: str | None = None,
    outcome: str = "success",
    request_id: str = "",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write one audit row, in the transaction of what it tells."""
    told = write_json(detail) if detail else "{}"
    tx.added.add(AUDIT, (microseconds(at), who, action, ref, patient, outcome, request_id, told))


def list(  # noqa: A001 - read as audit.list
    tx: Tx, viewer: Viewer, *, patient: str | None = None, before: int | None = None, limit: int = 100
) -> Sequence[AuditRow]:
    """The latest rows, of one patient or all, newest first; `before` goes on from an earlier page."""
    chosen = select(audit).where(row_scope(viewer, audit))
    if patient is not None:
        chosen = chosen.where(audit.c.patient == patient)
    if before is not None:
        chosen = chosen.where(audit.c.seq < before)
    return [from_row(AuditRow, row) for row in tx.rows(chosen.order_by(audit.c.seq.desc()).limit(limit))]
