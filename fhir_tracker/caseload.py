"""Choosing who gets a piece of work: by turns, by load or the plan's own, within a cap, and never somebody who is away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fhir_tracker import substitutes
from fhir_tracker.model.program import Ownership
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import caseloads, staff
from fhir_tracker.storage.database import Tx


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Who gets the work and why; nobody (`person` None) for what `reason` says.

    `nobody_at_all`: the role has no one who could have any work, and a person must see to that.
    """

    person: str | None
    reason: str
    nobody_at_all: bool = False


def choose(tx: Tx, item: WorkItem, policy: Ownership, now: datetime) -> Choice:
    """Who of the item's role gets it now. Two workers choose for a role one after the other."""
    role = item.role or ""
    tx.wait_for_others(f"caseload:{role}")
    if policy.assign == "primary":
        primary = _primary(tx, item, policy, now)
        if primary is not None:
            return primary
    there = [one for one in staff.members(tx, role, now) if one.away(now) is None]
    if not there:
        return Choice(person=None, reason=f"nobody who is active and there has the role {role}", nobody_at_all=True)
    loads = caseloads.open_counts(tx, RULE_WORKER, [one.ref for one in there])
    free = [ref for ref in sorted(loads) if policy.cap is None or loads[ref] < policy.cap]
    if not free:
        return Choice(person=None, reason=f"everybody of the role {role} has {policy.cap} pieces of open work")
    if policy.assign == "least-loaded":
        chosen = min(free, key=lambda ref: (loads[ref], ref))
        return Choice(person=chosen, reason=f"least open work of the role {role}: {loads[chosen]}")
    last = staff.turn(tx, role) or ""
    chosen = next((ref for ref in free if ref > last), free[0])
    staff.take_turn(tx, role, chosen)
    return Choice(person=chosen, reason=f"next in turn of the role {role}")


def _primary(tx: Tx, item: WorkItem, policy: Ownership, now: datetime) -> Choice | None:
    """The plan's own person, or who stands in; None where there is nobody to be had so, and turns decide."""
    person, why = substitutes.primary_of(tx, item, now), "primary owner of the plan"
    if person is None:
        return None
    known = staff.people(tx, [person], now).get(person)
    if known is not None and known.away(now):
        person, why = substitutes.stand_in(tx, person, now), "stands in for the primary owner of the plan"
    elif known is not None and not known.active:
        person = None
    if person is None:
        return None
    load = caseloads.open_counts(tx, RULE_WORKER, [person])[person]
    if policy.cap is not None and load >= policy.cap:
        return None
    return Choice(person=person, reason=why)
