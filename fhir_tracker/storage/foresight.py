"""What a transaction that does many things at once asked for beforehand, so that each of them needs no statement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_tracker.model.work import Event, WorkItem


@dataclass(kw_only=True)
class Foresight:
    """What was there: items, those that are about each, whole records read without a lock, and events of some types.

    An entry goes when the transaction writes what it is of; `written` are the items that it wrote and the patients it
    wrote something of. `in_step` writes what was held back of items; whatever reads items or their rows from the database
    calls it first, but for items that are not `pending`.
    """

    in_step: Callable[[], None]
    items: dict[str, WorkItem] = field(default_factory=dict)
    about: dict[str, list[WorkItem]] = field(default_factory=dict)
    records: dict[tuple[str, str], Any] = field(default_factory=dict)
    events: dict[str, tuple[Event, ...]] = field(default_factory=dict)
    event_types: frozenset[str] = frozenset()
    written: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)

    def knows(self, patients: Sequence[str], types: Sequence[str]) -> bool:
        """Whether the events of these types of all these patients are there."""
        return self.event_types.issuperset(types) and all(one in self.events for one in patients)

    def forget(self, refs: Sequence[str]) -> None:
        """These items are written."""
        self.written.update(refs)
        self.pending.update(refs)
        for ref in refs:
            self.items.pop(ref, None)
