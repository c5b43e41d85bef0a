"""The audit rows of many answers at a time, durable when the call returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from fhir_tracker.storage.database import Database
from fhir_tracker.storage.failures import translated
from fhir_tracker.storage.running_tables import audit
from fhir_tracker.storage.types import microseconds

_INSERT = (
    b"INSERT INTO audit (at, who, action, ref, patient, outcome, request_id, detail)"
    b" SELECT * FROM json_to_recordset($1::json) AS given"
    b"(at bigint, who text, action text, ref text, patient text, outcome text, request_id text, detail text)"
)


class Access(NamedTuple):
    """One audit row to come, as in `audit.AuditRow`."""

    at: datetime
    who: str
    action: str
    ref: str
    patient: str | None
    outcome: str
    request_id: str
    detail: Mapping[str, object]


def add(database: Database, rows: Sequence[Access]) -> None:
    """Write the rows in a transaction of their own; raises Busy or Unavailable when that cannot be done now.

    Raises Incorrect when one of them cannot be held.
    """
    if database.dialect == "postgresql":
        with translated():
            given = msgspec.json.encode([_given(row) for row in rows]).decode()
        with database.drivers.take() as driver:
            driver.run(_INSERT, [given])
        return
    with database.begin() as tx:
        tx.execute(audit.insert(), [row._asdict() for row in rows])


def _given(row: Access) -> Mapping[str, object]:
    detail = msgspec.json.encode(row.detail).decode()
    return row._asdict() | {"at": microseconds(row.at), "detail": detail}
