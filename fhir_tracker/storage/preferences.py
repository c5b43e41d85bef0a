"""How each person likes their pages: kept by account, for the next launch as well."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.visiting_tables import preference


@dataclass(frozen=True, kw_only=True)
class Preference:
    """`density` is `comfortable` or `compact`, `keys` whether single keys do something."""

    account: str
    density: str
    keys: bool


def find(tx: Tx, account: str) -> Preference | None:
    """What that account prefers; None for what everybody gets."""
    row = tx.first(select(preference).where(preference.c.account == account))
    return from_row(Preference, row) if row else None


def save(tx: Tx, one: Preference) -> None:
    """Keep it in the place of what was preferred before."""
    row = to_row(one)
    tx.execute(tx.insert(preference).values(row).on_conflict_do_update(index_elements=["account"], set_=row))
