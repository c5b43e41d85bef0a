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


def begin(tx: Tx) -> None:
    """Hold back from now on."""
    tx.here[_KEY] = HeldBack()


def held(tx: Tx) -> HeldBack | None:
    """What is held back so far; None when everything is written at once."""
    return cast("HeldBack | None", tx.here.get(_KEY))


def end(tx: Tx) -> HeldBack:
    """What was held back; from now on everything is written at once again."""
    return cast(HeldBack, tx.here.pop(_KEY))
