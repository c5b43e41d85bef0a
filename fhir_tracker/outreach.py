"""Outreach attempts: each try to reach a patient is a Communication about its Task.

https://hl7.org/fhir/R4/communication.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fhir_tracker import provenance, records
from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.model.vocabulary import CHANNEL_SYSTEM, CHANNELS, OUTCOME_SYSTEM, OUTCOMES, WORK_SYSTEM
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

REACHED = "reached"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try: `channel` of CHANNELS, `outcome` of OUTCOMES, `at` when it was made (never in the future)."""

    channel: str
    outcome: str
    at: datetime
    note: str = ""


def log_attempt(tx: Tx, item: WorkItem, attempt: Attempt, author: Author, *, if_match: int | None = None) -> Stored:
    """Write the attempt; raises Incorrect for an unknown channel or outcome or a moment still to come, and
    VersionConflict when `if_match` is not the Task's present version, which an attempt leaves as it is.
    """
    _check(attempt, author.at)
    records.check_match(resources.find(tx, author.viewer, "Task", item.ref.partition("/")[2]), if_match)
    resource: Resource = {
        "resourceType": "Communication",
        "meta": {"source": CANONICAL},
        "basedOn": [{"reference": item.ref}],
        "status": "completed" if attempt.outcome == REACHED else "not-done",
        "statusReason": concept(OUTCOME_SYSTEM, attempt.outcome, OUTCOMES[attempt.outcome]),
        "category": [concept(WORK_SYSTEM, "outreach", "Outreach attempt")],
        "medium": [concept(CHANNEL_SYSTEM, attempt.channel, CHANNELS[attempt.channel])],
        **({"subject": {"reference": f"Patient/{item.patient}"}} if item.patient else {}),
        "about": [{"reference": item.ref}, *([{"reference": item.plan}] if item.plan else [])],
        "sent": instant(attempt.at),
        "sender": _sender(author),
        **({"note": [{"text": attempt.note, "time": instant(author.at)}]} if attempt.note else {}),
    }
    stored = records.create(tx, resource, author)
    provenance.record(tx, [stored], author, activity="CREATE")
    return stored


def _check(attempt: Attempt, now: datetime) -> None:
    if attempt.channel not in CHANNELS:
        raise Incorrect(f"The channel must be one of {', '.join(CHANNELS)}.", expression="Communication.medium")
    if attempt.outcome not in OUTCOMES:
        raise Incorrect(f"The outcome must be one of {', '.join(OUTCOMES)}.", expression="Communication.statusReason")
    if attempt.at > now:
        raise Incorrect("An attempt cannot lie in the future.", expression="Communication.sent")


def _sender(author: Author) -> Resource:
    who = {"reference": author.viewer.who} if author.viewer.who.startswith("Practitioner") else {}
    return who | {"display": author.viewer.name or author.viewer.who}
