"""Absences: what an EHR left out of an answer that should have held it, and how often in a row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.roster_tables import absence
from fhir_tracker.storage.slices import slices


@dataclass(frozen=True, kw_only=True)
class Absence:
    """One resource; `misses` full answers in a row without it, after `gone` of which a read said 404 or 410, in a row."""

    connection: str
    type: str
    remote_id: str
    misses: int
    gone: int
    last_at: datetime


def find(tx: Tx, connection: str, type_: str, remote_ids: Iterable[str]) -> dict[str, Absence]:
    """Remote id -> absence, for those there are."""
    wanted = sorted(set(remote_ids))
    found: dict[str, Absence] = {}
    for some in slices(wanted):
        is_one = absence.c.remote_id.in_(some)
        rows = tx.rows(select(absence).where(absence.c.connection == connection, absence.c.type == type_, is_one))
        found |= {row["remote_id"]: from_row(Absence, row) for row in rows}
    return found


def count(tx: Tx, connection: str, type_: str) -> int:
    """How many of a type are missing now."""
    return int(tx.value(select(func.count()).where(absence.c.connection == connection, absence.c.type == type_)) or 0)


def save(tx: Tx, one: Absence) -> None:
    """Write one as it is now."""
    row = to_row(one)
    keys = ["connection", "type", "remote_id"]
    tx.execute(tx.insert(absence).values(row).on_conflict_do_update(index_elements=keys, set_=row))


def drop(tx: Tx, connection: str, type_: str, remote_id: str) -> None:
    """It is there again, or gone for good."""
    mine = (absence.c.connection == connection, absence.c.type == type_, absence.c.remote_id == remote_id)
    tx.execute(delete(absence).where(*mine))


def forget(tx: Tx, connection: str) -> None:
    """Drop all of a connection."""
    tx.execute(delete(absence).where(absence.c.connection == connection))
