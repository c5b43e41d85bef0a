"""Audit rows: who did what to which reference, with what outcome; only ever added to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.audit_rows import NO_SIGNER, SIGNER, Access, values_of
from fhir_tracker.storage.bulks import AUDIT
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.running_tables import audit
from fhir_tracker.storage.scope import row_scope


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """One access or change; `action` is a word such as `read`, `search`, `create`, `transition`.

    `kind` is the way in, `patients` are those whose data a search or list returned, `query` are its parameters as they came.
    """

    seq: int
    at: datetime
    who: str
    action: str
    ref: str
    patient: str | None
    outcome: str
    request_id: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    kind: str = ""
    name: str = ""
    roles: frozenset[str] = frozenset()
    client: str = ""
    issuer: str = ""
    address: str = ""
    session: str = field(default="", repr=False)
    purpose: str = ""
    version: int | None = None
    patients: tuple[str, ...] = ()
    query: str | None = field(default=None, repr=False)


def add(
    tx: Tx,
    *,
    at: datetime,
    viewer: Viewer,
    action: str,
    ref: str = "",
    patient: str | None = None,
    outcome: str = "success",
    request_id: str = "",
    detail: Mapping[str, Any] | None = None,
    patients: Sequence[str] = (),
    kind: str = "",
    version: int | None = None,
    query: str | None = None,
) -> None:
    """Write one audit row, in the transaction of what it tells; the words are those of `audit_rows.Access`."""
    told = Access(
        at, viewer, action, ref, patient, outcome, request_id, detail or {}, patients, kind, version, query
    )  # fmt: skip
    add_access(tx, told)


def add_access(tx: Tx, access: Access) -> None:
    """As `add`, of a row that was put together before."""
    tx.added.add(AUDIT, values_of(access, tx.kept.get(SIGNER, NO_SIGNER)))


def list(  # noqa: A001 - read as audit.list
    tx: Tx, viewer: Viewer, *, patient: str | None = None, before: int | None = None, limit: int = 100
) -> Sequence[AuditRow]:
    """The latest rows, of one patient or all, newest first; `before` goes on from an earlier page."""
    chosen = select(audit).where(row_scope(viewer, audit))
    if patient is not None:
        chosen = chosen.where(audit.c.patient == patient)
    if before is not None:
        chosen = chosen.where(audit.c.seq < before)
    return [row_of(row) for row in tx.rows(chosen.order_by(audit.c.seq.desc()).limit(limit))]


def row_of(row: RowMapping) -> AuditRow:
    """A row of the table as a value."""
    given: dict[str, Any] = {name: row[name] for name in AuditRow.__dataclass_fields__}
    patients = tuple(json.loads(given["patients"])) if given["patients"] else ()
    return AuditRow(**{**given, "roles": frozenset(given["roles"].split()), "patients": patients})
