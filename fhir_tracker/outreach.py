"""Outreach attempts: each try to reach a patient is a Communication about its Task, whoever writes it.

https://hl7.org/fhir/R4/communication.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from fhir_tracker import gathering, programs, provenance, reach, records
from fhir_tracker.errors import Incorrect, RuleBroken
from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import moment_at, objects_at, references_at
from fhir_tracker.model.attempts import channel_of, contact_used
from fhir_tracker.model.author import Author
from fhir_tracker.model.contact import Contact, contact_of
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import CANONICAL, OutreachPolicy, Program
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.vocabulary import (
    CHANNEL_SYSTEM,
    CHANNELS,
    CONTACT_USED,
    OUT_OF_HOURS,
    OUTCOME_SYSTEM,
    OUTCOMES,
    TIME_SPENT,
    WORK_SYSTEM,
)
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules.outreach_standing import best_number, objection
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

REACHED = "reached"
LONGEST: Final = timedelta(hours=12)
"""No attempt takes longer; what says so is a slip."""
_READER = worker_viewer("outreach")
_POINTS = {"phone": "phone", "sms": "sms", "email": "email"}


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try: `channel` of CHANNELS, `outcome` of OUTCOMES, `at` when it was made (never in the future).

    `spent` is the staff's time, which ended at `at`; `contact` the number or address that was tried, the preferred one
    when it is left out.
    """

    channel: str
    outcome: str
    at: datetime
    note: str = ""
    spent: timedelta | None = None
    contact: str = ""


def log_attempt(tx: Tx, item: WorkItem, attempt: Attempt, author: Author, *, if_match: int | None = None) -> Stored:
    """Write the attempt; raises Incorrect for an unknown channel or outcome or a moment still to come, RuleBroken for one
    that the program's policy refuses, and VersionConflict when `if_match` is not the Task's present version, which an
    attempt leaves as it is.
    """
    _check(attempt, author.at)
    reach.require_new(author, "Communication")
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
    extensions = _extensions(attempt)
    stored = records.create(tx, heeded(tx, resource | extensions, author), author)
    provenance.record(tx, [stored], author, activity="CREATE")
    return stored


def heeded(tx: Tx, resource: Resource, author: Author) -> Resource:
    """The Communication as it is kept: with the number that was tried, and marked when the policy of its work would not
    have had it made. Raises RuleBroken where that policy refuses it. What is about no work with a policy stays as it is.
    """
    item = _item_of(tx, resource)
    program = programs.load(tx, item.program, item.program_version) if item and item.program else None
    template = program.task(item.code) if program and item else None
    if item is None or program is None or template is None or template.outreach is None or not item.patient:
        return resource
    if resource.get("status") not in ("completed", "not-done"):
        return resource
    facts = gathering.outreach_facts(tx, _READER, [item])[0]
    return _judged(resource, program, template.outreach, replace(facts, contact=_contact(tx, item.patient)), author)


def _judged(resource: Resource, program: Program, policy: OutreachPolicy, facts: Facts, author: Author) -> Resource:
    channel, at = channel_of(resource), moment_at(resource, "sent") or author.at
    why = objection(program, policy, facts, channel, at)
    if why and policy.outside == "refuse":
        raise RuleBroken(f"The outreach policy refuses this attempt. {why}.", expression="Communication.medium")
    kept = [one for one in objects_at(resource, "extension") if one.get("url") != OUT_OF_HOURS]
    if why:
        kept.append({"url": OUT_OF_HOURS, "valueString": why})
    number = "" if contact_used(resource) else best_number(facts.contact, facts.events, channel, at)
    if number:
        kept.append(_used(channel, number))
    rest = {name: value for name, value in resource.items() if name != "extension"}
    return rest | ({"extension": kept} if kept else {})


def _item_of(tx: Tx, resource: Resource) -> WorkItem | None:
    named = (ref for path in ("basedOn", "about", "partOf") for ref in references_at(resource, path))
    refs = list(dict.fromkeys(ref for ref in named if ref.startswith("Task/")))[:20]
    found = work_items.find_many(tx, _READER, refs)
    return next((found[ref] for ref in refs if ref in found and found[ref].kind == "task"), None)


def _contact(tx: Tx, patient: str) -> Contact | None:
    stored = resources.find(tx, _READER, "Patient", patient)
    if stored is None or stored.deleted:
        return None
    return contact_of(records.resource_of(stored), as_of=stored.updated_at)


def _extensions(attempt: Attempt) -> Resource:
    found: list[Resource] = []
    if attempt.spent:
        period = {"start": instant(attempt.at - attempt.spent), "end": instant(attempt.at)}
        found.append({"url": TIME_SPENT, "valuePeriod": period})
    if attempt.contact:
        found.append(_used(attempt.channel, attempt.contact))
    return {"extension": found} if found else {}


def _used(channel: str, number: str) -> Resource:
    return {"url": CONTACT_USED, "valueContactPoint": {"system": _POINTS.get(channel, "other"), "value": number}}


def _check(attempt: Attempt, now: datetime) -> None:
    if attempt.channel not in CHANNELS:
        raise Incorrect(f"The channel must be one of {', '.join(CHANNELS)}.", expression="Communication.medium")
    if attempt.outcome not in OUTCOMES:
        raise Incorrect(f"The outcome must be one of {', '.join(OUTCOMES)}.", expression="Communication.statusReason")
    if attempt.at > now:
        raise Incorrect("An attempt cannot lie in the future.", expression="Communication.sent")
    if attempt.spent is not None and not timedelta() < attempt.spent <= LONGEST:
        raise Incorrect("The time spent must be from 1 minute to 12 hours.", expression="Communication.extension")


def _sender(author: Author) -> Resource:
    who = {"reference": author.viewer.who} if author.viewer.who.startswith("Practitioner") else {}
    return who | {"display": author.viewer.name or author.viewer.who}
