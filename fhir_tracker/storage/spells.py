"""Spells: the transition log in the form that measures read. Each is written once, when it ends, and never changed."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from sqlalchemy import func, select

from fhir_tracker.model.spell import Spell
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.buffer import Bulk
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.measure_tables import spell
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.types import microseconds

_SPELL = Bulk(spell, tuple(column.name for column in spell.c))


def add(tx: Tx, over: Spell) -> None:
    """Write down a spell that ended."""
    values = (tx.keys.take() if name == "k" else getattr(over, name) for name in _SPELL.columns)
    tx.added.add(_SPELL, tuple(microseconds(one) if isinstance(one, datetime) else one for one in values))


def of_item(tx: Tx, viewer: Viewer, item: str) -> list[Spell]:
    """The spells of an item that are over, oldest first."""
    chosen = select(spell).where(spell.c.item == item, row_scope(viewer, spell))
    return [from_row(Spell, row) for row in tx.rows(chosen.order_by(spell.c.until, spell.c.since, spell.c.k))]


def last_end(tx: Tx, item: str) -> datetime | None:
    """When the last of an item's spells ended, or None."""
    return cast(datetime | None, tx.value(select(func.max(spell.c.until)).where(spell.c.item == item)))
