"""What one transaction holds back about work items, to write many of them with few statements at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage.database import Tx

_KEY = "held back"


@dataclass
class HeldBack:
    """Items that wait: those with a new version, in order, and those that changes of others are about."""

    saved: list[tuple[WorkItem, Author, Why | None]] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    depth: int = 1


def begin(tx: Tx) -> None:
    """Hold back from now on, until as many `end`."""
    before = held(tx)
    if before is None:
        tx.here[_KEY] = HeldBack()
    else:
        before.depth += 1


def held(tx: Tx) -> HeldBack | None:
    """What is held back so far; None when everything is written at once."""
    return cast("HeldBack | None", tx.here.get(_KEY))


def end(tx: Tx) -> HeldBack | None:
    """What was held back; from now on everything is written at once again. None inside another holding back."""
    before = held(tx)
    if before is not None and before.depth > 1:
        before.depth -= 1
        return None
    return cast(HeldBack, tx.here.pop(_KEY))
