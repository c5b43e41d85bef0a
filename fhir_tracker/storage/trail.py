"""The audit rows of many answers at a time, durable when the call returns."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fhir_tracker.storage.audit_rows import COLUMNS, Access, values_of
from fhir_tracker.storage.buffer import inserts
from fhir_tracker.storage.bulks import AUDIT
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.failures import translated

__all__ = ["Access", "add"]
_KINDS = {"at": "bigint", "version": "bigint"}
_GIVEN = ", ".join(f"{name} {_KINDS.get(name, 'text')}" for name in COLUMNS)
_INSERT = (
    f"INSERT INTO audit ({', '.join(COLUMNS)}) SELECT * FROM json_to_recordset($1::json) AS given({_GIVEN})"  # noqa: S608
).encode()


def add(database: Database, rows: Sequence[Access]) -> None:
    """Write the rows in a transaction of their own; raises Busy or Unavailable when that cannot be done now.

    Raises Incorrect when one of them cannot be held.
    """
    with translated():
        values = [values_of(row, database.signer) for row in rows]
    with database.writing() as driver:
        if database.dialect == "postgresql":
            with translated():
                given = msgspec.json.encode([dict(zip(COLUMNS, one, strict=True)) for one in values]).decode()
            driver.run(_INSERT, [given])
        else:
            driver.run_together(inserts(AUDIT, values))
    database.seen.add(values)
