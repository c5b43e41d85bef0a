"""What each EHR server still bears: how many requests were taken, and whether its circuit is open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.roster_tables import budget


def find(tx: Tx, connection: str) -> Mapping[str, Any]:
    """The state of a connection's budget; empty before the first request."""
    row = tx.first(select(budget.c.state).where(budget.c.connection == connection))
    return dict(row["state"]) if row else {}


def hold(tx: Tx, connection: str) -> dict[str, Any]:
    """The state, kept from other processes until the end of the transaction."""
    new = tx.insert(budget).values(connection=connection, turn=0, state={})
    tx.execute(new.on_conflict_do_update(index_elements=["connection"], set_={"turn": budget.c.turn + 1}))
    return dict(find(tx, connection))


def save(tx: Tx, connection: str, state: Mapping[str, Any]) -> None:
    """Write the state that `hold` gave and that was changed."""
    new = tx.insert(budget).values(connection=connection, turn=0, state=state)
    tx.execute(new.on_conflict_do_update(index_elements=["connection"], set_={"state": state}))


def forget(tx: Tx, connection: str) -> None:
    """Begin anew."""
    tx.execute(delete(budget).where(budget.c.connection == connection))
