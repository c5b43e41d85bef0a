"""Where outreach stands: the account of one task for its page and the API, and of many for a queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fhir_tracker import gathering, programs
from fhir_tracker.errors import NotFound
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules.best_time import BestTime, best_time
from fhir_tracker.rules.outreach_standing import Standing, objection, standing, standing_words
from fhir_tracker.storage import work_items
from fhir_tracker.storage.database import Tx


@dataclass(frozen=True, kw_only=True)
class Account:
    """One task's outreach: its standing, in words, the patient's best time, and what speaks against trying right now."""

    standing: Standing
    words: str
    best: BestTime | None
    now_against: str

    def as_parameters(self) -> Resource:
        """The account as a FHIR Parameters resource."""
        found = self.standing
        rows: list[Resource] = [
            {"name": "summary", "valueString": self.words},
            {"name": "attempts", "valueInteger": found.attempts},
            {"name": "attemptsRequired", "valueInteger": found.policy.attempts},
            *({"name": "channelUsed", "valueCode": one} for one in found.channels if one),
            {"name": "channelsRequired", "valueInteger": found.policy.on_channels},
            {"name": "usedUp", "valueBoolean": found.is_used_up},
        ]
        if found.next_at is not None:
            rows.append({"name": "nextContact", "valueDateTime": instant(found.next_at)})
            rows.append({"name": "nextChannel", "valueCode": found.next_channel})
        if found.next_number:
            rows.append({"name": "nextNumber", "valueString": found.next_number})
        for channel, why in found.closed_to.items():
            parts = [{"name": "channel", "valueCode": channel}, {"name": "why", "valueString": why}]
            rows.append({"name": "closed", "part": parts})
        if found.settled:
            rows.append({"name": "settled", "valueString": found.settled})
        if self.best:
            rows.append({"name": "bestTime", "valueString": str(self.best)})
        if self.now_against:
            rows.append({"name": "againstNow", "valueString": self.now_against})
        return {"resourceType": "Parameters", "parameter": rows}


def account_of(program: Program | None, facts: Facts, now: datetime) -> Account | None:
    """The account of a task of the program; None for one without an outreach policy."""
    found = standing(program, facts) if program else None
    if program is None or found is None:
        return None
    against = objection(program, found.policy, facts, found.next_channel or "phone", now)
    return Account(
        standing=found,
        words=standing_words(program, found),
        best=best_time(facts.events, facts.zone or program.calendar.of(*facts.places).zone),
        now_against="" if found.settled else against,
    )


def account(tx: Tx, viewer: Viewer, ref: str, now: datetime) -> Account:
    """The account of `Task/<id>`; raises NotFound for no such task and for one without an outreach policy."""
    item = work_items.find(tx, viewer, ref)
    found = accounts(tx, viewer, [item], now).get(ref) if item else None
    if found is None:
        raise NotFound(f"{ref} has no outreach policy." if item else f"There is no {ref}.")
    return found


def accounts(tx: Tx, viewer: Viewer, items: Sequence[WorkItem], now: datetime) -> dict[str, Account]:
    """Task reference -> account, for the items that have an outreach policy; a fixed number of queries."""
    found: dict[str, Account] = {}
    for facts in gathering.gather_outreach(tx, viewer, items):
        program = programs.load(tx, facts.item.program, facts.item.program_version) if facts.item.program else None
        if one := account_of(program, facts, now):
            found[facts.item.ref] = one
    return found
