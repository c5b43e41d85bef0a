"""Expected documents, results and forms: what each is expected after, and which filed one belongs to which expectation.

A document that names the event, or an Encounter of it, belongs to it alone; one that names something else does not count,
and one that names nothing goes to the latest such event at or before it that has none yet. A document counts from the
start of the local day of the event, for its date may have no time. What is expected after a discharge may be filed under
any later Encounter, for a summary from outside often is; never under one that ended before that day. One that names
another patient's Encounter belongs to nothing here. What fits by code and time and was filed elsewhere is a near miss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import ExpectedDocument, Match, Program
from fhir_tracker.model.work import Event
from fhir_tracker.rules.calendar import day_start, later
from fhir_tracker.rules.events import fits, in_order, named_match, service_codes
from fhir_tracker.rules.moments import ENROLMENT
from fhir_tracker.rules.predicate import begin

NEAR = "near misses"
MOST_NEAR = 3
"""How many near misses of one expectation are told."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One event a document is expected after: its reference (empty for a moment of the plan), from when, until when."""

    ref: str
    opens: datetime
    after: datetime
    due: datetime


@dataclass(frozen=True, kw_only=True)
class NearMiss:
    """What would have satisfied an expectation, had it not been filed under something else: `named` says under what."""

    ref: str
    title: str
    named: tuple[str, ...]
    stranger: bool = False
    under: str = ""
    """Whose record it is in, where that is another patient's."""

    def __str__(self) -> str:
        where = ", ".join(self.named)
        if self.under:
            return f"{self.ref} names {where} and was filed in the record of {self.under}"
        return f"{self.ref} was filed under {where}" + (", which is another patient's" if self.stranger else "")


def near_misses(program: Program, facts: Facts, document: ExpectedDocument) -> Mapping[str, tuple[NearMiss, ...]]:
    """For each expectation that is not satisfied: what fits it by code and time and names something else."""
    found = satisfied(program, facts, document)
    used = {one.ref for one in found.values()}
    missed: dict[str, tuple[NearMiss, ...]] = {}
    for each in expectations(program, facts, document):
        if each.ref not in found:
            near = [
                NearMiss(
                    ref=one.ref,
                    title=one.detail.get("title", ""),
                    named=tuple(ref for ref in one.about if ref != each.ref),
                    stranger=bool(facts.strangers.intersection(one.about)),
                )
                for one in _filed(program, facts, document)
                if one.ref not in used and one.began >= each.opens
            ]
            near += in_other_records(program, facts, document.satisfied_by, each.ref, each.opens)
            missed[each.ref] = tuple(one for one in near if one.named)
    return {ref: some for ref, some in missed.items() if some}


def in_other_records(program: Program, facts: Facts, match: Match, ref: str, since: datetime) -> list[NearMiss]:
    """What would fit, names the event `ref` (any of the patient's where it is empty) and is in another patient's record."""
    mine = {one.ref: one for one in facts.events}
    found = []
    for one in facts.misfiled:
        named = tuple(each for each in one.about if each in mine)
        is_of_it = not ref or any(ref == each or ref in mine[each].about for each in named)
        if named and is_of_it and one.began >= since and fits(match, one, calendar=program.calendar):
            whose = f"Patient/{one.patient}" if one.patient else "another patient"
            found.append(NearMiss(ref=one.ref, title=one.detail.get("title", ""), named=named, under=whose))
    return found


def near_facts(near: Sequence[NearMiss]) -> dict[str, str]:
    """What a verdict tells of them: how many, and which."""
    if not near:
        return {}
    return {NEAR: str(len(near)), "filed elsewhere": ", ".join(one.ref for one in near[:10])}


def expectations(program: Program, facts: Facts, document: ExpectedDocument) -> tuple[Expectation, ...]:
    """Every moment in the plan's life after which the document is expected, oldest first."""
    calendar = program.calendar
    anchors = facts.plan.anchors if facts.plan else {}
    started = facts.plan.started if facts.plan else facts.item.created_at
    if document.after in anchors or document.after == ENROLMENT:
        at = anchors.get(document.after, started)
        return (_expected(program, document, "", at, at),)
    match = named_match(program, document.after, service_codes(program, document.service or ""))
    if match is None:
        return ()
    events = (one for one in in_order(facts.events) if one.at >= begin(facts))
    found = (one for one in events if fits(match, one, calendar=calendar))
    return tuple(_expected(program, document, one.ref, one.began, one.at) for one in found)


def satisfied(program: Program, facts: Facts, document: ExpectedDocument) -> Mapping[str, Event]:
    """The document that satisfies each expectation, by the expectation's event reference."""
    expected = expectations(program, facts, document)
    known = {one.ref: one for one in facts.events}
    filed = _filed(program, facts, document)
    answers = {one.ref: {each.ref: _belongs(facts, known, document, one, each) for each in expected} for one in filed}
    found: dict[str, Event] = {}
    for one in filed:
        for each in expected:
            if answers[one.ref][each.ref]:
                found.setdefault(each.ref, one)
    for one in filed:
        mine = answers[one.ref]
        free = [each for each in expected if each.ref not in found and mine[each.ref] is None and one.at >= each.opens]
        if free and not any(mine.values()):
            found[free[-1].ref] = one
    return found


def _filed(program: Program, facts: Facts, document: ExpectedDocument) -> list[Event]:
    return [one for one in in_order(facts.events) if fits(document.satisfied_by, one, calendar=program.calendar)]


def _belongs(
    facts: Facts, known: Mapping[str, Event], document: ExpectedDocument, filed: Event, expected: Expectation
) -> bool | None:
    """Whether the document says that it is of this event; None when it does not say."""
    if expected.ref and expected.ref in filed.about:
        return True
    if facts.strangers.intersection(filed.about):
        return False
    named = [known[ref] for ref in filed.about if ref in known]
    stays = [one for one in named if one.type == "Encounter" and (one.start or one.end)]
    booked = {ref for one in stays for ref in one.about if ref in known}
    booked |= {one.ref for one in named if one.type == "Appointment"}
    if not expected.ref:
        return None if document.after == ENROLMENT else _of_a_stay(stays, expected)
    if booked or stays:
        return expected.ref in booked or (not booked and any(_is_on(one, expected) for one in stays))
    return None


def _of_a_stay(stays: list[Event], expected: Expectation) -> bool | None:
    if any(_is_on(one, expected) for one in stays):
        return True
    return False if stays and all(one.at < expected.opens for one in stays) else None


def _is_on(stay: Event, expected: Expectation) -> bool:
    """Whether an Encounter touches the local day of the event; one that goes on has no end yet."""
    starts = stay.began
    return starts < expected.opens + timedelta(days=1) and (stay.end is None or stay.end >= expected.opens)


def _expected(program: Program, document: ExpectedDocument, ref: str, start: datetime, at: datetime) -> Expectation:
    due = later(program.calendar, at, document.within)
    return Expectation(ref=ref, opens=day_start(program.calendar, start), after=at, due=due)
