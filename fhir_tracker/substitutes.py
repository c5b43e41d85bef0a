"""Who has a piece of work instead: the plan's primary owner, or the substitute of somebody who is away."""

from __future__ import annotations

from datetime import datetime

from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import staff, work_items
from fhir_tracker.storage.database import Tx

_LONGEST_CHAIN = 5


def primary_of(tx: Tx, item: WorkItem) -> str | None:
    """The owner of the plan that the item belongs to."""
    plan = work_items.find(tx, RULE_WORKER, item.plan) if item.plan else None
    return plan.owner if plan else None


def stand_in(tx: Tx, person: str | None, now: datetime) -> str | None:
    """Who has the work of somebody who is away now: the substitute, or theirs when they are away as well.

    None when the person is there, has no substitute, or everybody in the chain is away or gone.
    """
    seen: set[str] = set()
    while person is not None and person not in seen and len(seen) < _LONGEST_CHAIN:
        seen.add(person)
        known = staff.people(tx, [person], now).get(person)
        away = known.away(now) if known else None
        if away is None:
            return person if len(seen) > 1 and (known is None or known.active) else None
        person = away.substitute
    return None
