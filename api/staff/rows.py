"""One work item as a row of a queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import blake2b

from api.staff import words
from api.staff.names import Names, role_named, status_chip
from api.staff.next_step import next_step, page_of
from api.staff.shapes import Person, Row
from api.staff.words import Tone
from fhir_tracker.model.patient import PatientSummary
from fhir_tracker.model.program import Move, Program
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.vocabulary import OUTCOMES
from fhir_tracker.model.work import WorkItem
from fhir_tracker.outreach_account import Account
from fhir_tracker.rules.answering import ANSWERS_ALL, may_answer
from fhir_tracker.rules.calendar import local
from fhir_tracker.rules.moves import allowed_moves, default_moves
from fhir_tracker.rules.parties import BOTH, parties_of
from fhir_tracker.rules.status_section import ESCALATION_MOVES

_SEXES = {"female": "F", "male": "M", "other": "other", "unknown": "unknown"}


def row_of(
    item: WorkItem,
    patient: PatientSummary | None,
    names: Names,
    viewer: Viewer,
    now: datetime,
    version: int | None,
    about: WorkItem | None = None,
    tries: Account | None = None,
) -> Row:
    """The row of one item; `version` is what its step is checked against, `about` the work an escalation is about, whose
    due time it shows, `tries` where its outreach stands."""
    calendar = names.calendar_of(item)
    program = names.program(item)
    tone, state = state_of(item, now, names)
    row = Row(
        key=short_hash(item.ref),
        digest="",
        href=page_of(item),
        title=item.title,
        program=names.program_title(item.program) if item.program else _origin(item),
        icon={"": "open"}.get(tone, tone),
        tone=tone,
        state=state,
        chip=status_chip(item, program),
        action=next_step(item, viewer.who, program, moves_for(item, program, viewer), version),
        person=person_of(patient, item.patient, now),
        due=words.due(item.due_at, now, calendar) if item.due_at else None,
        owner=names.person(item.owner) if item.owner else None,
        team=role_named(item.role) if item.role else "",
        priority="" if item.priority == "routine" else item.priority,
        escalation=f"Escalated, level {item.escalation_level}: {in_short(item.escalation_reason)}"
        if item.escalation_reason
        else "",
        outreach=outreach(item),
        outreach_when=words.ago(item.last_attempt_at, now, calendar) if item.last_attempt_at else None,
        waiting=words.waiting(item.created_at, now) if item.open else "",
        hold=f"until {words.ahead(item.hold_until, now, calendar).words}" if item.hold_until else "",
    )
    if row.due and not (item.open and item.clock == "running"):
        row = replace(row, due=replace(row.due, words=words.ahead(_due(item), now, calendar).words, tone=""))
    if about and about.due_at and item.open and not item.due_at:
        row = replace(row, about=about.title, due=words.due(about.due_at, now, names.calendar_of(about)))
    upcoming = tries.words.partition("; ")[2] if tries and item.open else ""
    return replace(row, digest=digest(item, tone), next_contact=upcoming)


def moves_for(item: WorkItem, program: Program | None, viewer: Viewer) -> Sequence[Move]:
    """The moves the viewer may make; of an escalation those that its role may (its page knows what the ladder says)."""
    if item.kind in ("outside", "plan"):
        return ()
    if item.kind == "escalation":
        mine = may_answer((item.role or "", ANSWERS_ALL), item.owner, viewer)
        return default_moves(item.fhir_status, table=ESCALATION_MOVES) if mine else ()
    parties = parties_of(item, item.owner, None, viewer) if item.owner != viewer.who else BOTH
    return allowed_moves(program, item, viewer.roles) if program else default_moves(item.fhir_status, parties)


def state_of(item: WorkItem, now: datetime, names: Names) -> tuple[Tone, str]:
    """The tone of an item and the word for it: late, due today, on hold, escalated, done, open."""
    if not item.open:
        return "done", "closed"
    if item.clock == "paused":
        return "hold", "on hold"
    if item.due_at and item.due_at < now:
        return "late", "late"
    if item.kind == "escalation" or item.escalation_level:
        return "escalated", "escalated"
    calendar = names.calendar_of(item)
    if item.due_at and local(calendar, item.due_at).date() == local(calendar, now).date():
        return "today", "due today"
    return "", "open"


def person_of(patient: PatientSummary | None, id_: str | None, now: datetime) -> Person | None:
    """The patient of a row or banner; one we hold no summary of is named by the id."""
    if patient is None:
        return Person(id=id_, name=f"Patient/{id_}") if id_ else None
    return Person(
        id=patient.patient,
        name=patient.name,
        born=words.born(patient.birth_date),
        born_year=words.birth_year(patient.birth_date),
        age="" if patient.deceased else words.age(patient.birth_date, now.date()),
        sex=_SEXES.get(patient.gender or "", ""),
        mrn=patient.mrn or "",
        phone=patient.phone or "",
        language=patient.language or "",
        flags=tuple(flag.replace("-", " ") for flag in patient.flags),
        deceased=patient.deceased,
    )


def in_short(reason: str) -> str:
    """The rule's title, with which every reason begins."""
    return reason.partition(":")[0]


def outreach(item: WorkItem) -> str:
    """`2 attempts, no answer`."""
    if not item.attempts:
        return ""
    outcome = OUTCOMES.get(item.last_attempt_outcome or "", item.last_attempt_outcome or "")
    return words.counted(item.attempts, "attempt") + (f", {outcome.lower()}" if outcome else "")


def digest(item: WorkItem, tone: str) -> str:
    """Changes whenever what the row shows changes, by a person's hand, a rule or the passing of its due time."""
    shown = (item.status, item.owner, item.role, item.due_at, item.priority, item.escalation_level, item.attempts, tone)
    return short_hash("|".join(map(str, shown)))


def short_hash(text: str) -> str:
    """An opaque name for the script."""
    return blake2b(text.encode(), digest_size=6).hexdigest()


def _due(item: WorkItem) -> datetime:
    return item.due_at or item.created_at


def _origin(item: WorkItem) -> str:
    return {"outside": "From the EHR", "escalation": "Escalation"}.get(item.kind, "Outside programs")
