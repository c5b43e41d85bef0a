"""Small states of the running product, such as whether the mass-escalation brake is on."""

from __future__ import annotations

from sqlalchemy import delete, select

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.running_tables import setting


def get(tx: Tx, key: str) -> str | None:
    """The value of a state, or None when it was never put."""
    found = tx.value(select(setting.c.value).where(setting.c.key == key))
    return found if isinstance(found, str) else None


def put(tx: Tx, key: str, value: str | None) -> None:
    """Set a state; None forgets it."""
    if value is None:
        tx.execute(delete(setting).where(setting.c.key == key))
        return
    new = tx.insert(setting).values(key=key, value=value)
    tx.execute(new.on_conflict_do_update(index_elements=["key"], set_={"value": value}))


def starting(tx: Tx, start: str, end: str) -> list[str]:
    """The values of all states whose key starts and ends so, by key."""
    rows = tx.rows(select(setting).where(setting.c.key.startswith(start, autoescape=True)).order_by(setting.c.key))
    return [row["value"] for row in rows if row["key"].endswith(end)]
