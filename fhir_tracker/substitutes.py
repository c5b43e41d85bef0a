"""Who has a piece of work instead: the plan's primary owner, or the substitute of somebody who is away."""

from __future__ import annotations

from datetime import datetime

from fhir_tracker import care_team, records
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import resources, staff
from fhir_tracker.storage.database import Tx

_LONGEST_CHAIN = 5


def primary_of(tx: Tx, item: WorkItem, now: datetime) -> str | None:
    """Whose the plan that the item belongs to is: its author, else the primary member of its care team."""
    stored = resources.find(tx, RULE_WORKER, *item.plan.split("/")) if item.plan else None
    if stored is None or stored.deleted:
        return None
    return care_team.owner_of(tx, RULE_WORKER, records.resource_of(stored), "primary", now=now)


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
