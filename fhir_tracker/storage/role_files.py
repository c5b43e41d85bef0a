"""The files of roles that a practice has loaded: each is kept, with who loaded it and when, and none is ever changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy import func, insert, select

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.role_tables import role_file


@dataclass(frozen=True, kw_only=True)
class RoleFile:
    """One loaded file: `source` is its text, `digest` the SHA-256 of that, `loaded_by` who it was."""

    number: int
    source: str
    digest: str
    loaded_at: datetime
    loaded_by: str
    reason: str | None = None


def all(tx: Tx) -> Sequence[RoleFile]:  # noqa: A001 - read as role_files.all
    """Every file, in the order loaded."""
    return [from_row(RoleFile, row) for row in tx.rows(select(role_file).order_by(role_file.c.number))]


def digests(tx: Tx) -> tuple[str, ...]:
    """What each file is known by, in the order loaded: two databases with the same digests have the same roles."""
    return tuple(str(row["digest"]) for row in tx.rows(select(role_file.c.digest).order_by(role_file.c.number)))


def add(tx: Tx, source: str, *, at: datetime, by: str, reason: str | None = None) -> RoleFile:
    """Keep one more file; who loads at the same time waits."""
    tx.wait_for_others("roles")
    number = int(tx.value(select(func.coalesce(func.max(role_file.c.number), 0)))) + 1
    digest = sha256(source.encode()).hexdigest()
    made = RoleFile(number=number, source=source, digest=digest, loaded_at=at, loaded_by=by, reason=reason)
    tx.execute(insert(role_file).values(**to_row(made)))
    return made
