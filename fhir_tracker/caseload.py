"""Choosing who gets a piece of work: by turns, by load or the plan's own, within a cap, and never somebody who is away."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir_tracker import substitutes
from fhir_tracker.errors import RuleBroken
from fhir_tracker.model.program import Ownership
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules.ownership_section import MOST_WORK
from fhir_tracker.storage import caseloads, settings, staff
from fhir_tracker.storage.database import Tx

_CAPS: Final = "staff-caps"


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
    caps = caps_of_people(tx)
    free = [ref for ref in sorted(loads) if _has_room(ref, loads[ref], policy, caps)]
    if not free:
        most = f"{policy.cap} pieces of open work" if not caps.keys() & loads.keys() else "as much work as they may"
        return Choice(person=None, reason=f"everybody of the role {role} has {most}")
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
    return Choice(person=person, reason=why) if _has_room(person, load, policy, caps_of_people(tx)) else None


def _has_room(person: str, load: int, policy: Ownership, caps: Mapping[str, int]) -> bool:
    """Whether they may get more: the program's cap and their own count alike."""
    return all(load < cap for cap in (policy.cap, caps.get(person)) if cap is not None)


def caps_of_people(tx: Tx) -> Mapping[str, int]:
    """Who has a cap of their own, over all programs: `Practitioner/<id>` -> how much open work at most."""
    found = json.loads(settings.get(tx, _CAPS) or "{}")
    return {str(ref): int(cap) for ref, cap in found.items()}


def set_cap(tx: Tx, person: str, cap: int | None) -> None:
    """Give somebody a cap of their own, 0 for no work by itself at all; None takes it away. Raises RuleBroken."""
    if not person.startswith("Practitioner/") or not person.removeprefix("Practitioner/"):
        raise RuleBroken(f"{person} is nobody of the staff: write Practitioner/ID.")
    if cap is not None and not 0 <= cap <= MOST_WORK:
        raise RuleBroken(f"A cap is between 0 and {MOST_WORK}.")
    tx.wait_for_others(_CAPS)
    caps = {ref: one for ref, one in caps_of_people(tx).items() if ref != person}
    caps |= {person: cap} if cap is not None else {}
    settings.put(tx, _CAPS, json.dumps(caps, sort_keys=True) if caps else None)
