"""Poisoned items: work that rules could not be asked about or whose effects failed, why, how often and until when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.slices import slices
from fhir_tracker.storage.work_tables import poisoned_item


@dataclass(frozen=True, kw_only=True)
class Poisoned:
    """One item (its reference, of no patient by itself); `since` the first failure, `until` the next try."""

    ref: str
    program: str
    reason: str
    times: int
    since: datetime
    until: datetime


def save(tx: Tx, failed: Poisoned) -> None:
    """Write down how the item stands, in place of what was there."""
    row = to_row(failed)
    tx.execute(tx.insert(poisoned_item).values(row).on_conflict_do_update(index_elements=["ref"], set_=row))


def find(tx: Tx, ref: str) -> Poisoned | None:
    """How one item stands, or None."""
    row = tx.first(select(poisoned_item).where(poisoned_item.c.ref == ref))
    return from_row(Poisoned, row) if row else None


def drop(tx: Tx, refs: Sequence[str]) -> None:
    """Forget these."""
    if refs and tx.first(select(poisoned_item.c.ref).limit(1)):
        for some in slices(refs):
            tx.execute(delete(poisoned_item).where(poisoned_item.c.ref.in_(some)))


def all(tx: Tx) -> list[Poisoned]:  # noqa: A001 - read as poisoned.all
    """Every one, the longest known first."""
    rows = tx.rows(select(poisoned_item).order_by(poisoned_item.c.since, poisoned_item.c.ref))
    return [from_row(Poisoned, row) for row in rows]


def counts(tx: Tx) -> dict[str, int]:
    """Program -> how many of its items are put off."""
    chosen = select(poisoned_item.c.program, func.count().label("count")).group_by(poisoned_item.c.program)
    return {row["program"]: row["count"] for row in tx.rows(chosen)}
