"""Who comes into a program: its eligibility rule over a patient's events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from fhir_tracker.model.effects import Enrol
from fhir_tracker.model.program import Condition, Eligibility, Match, Program
from fhir_tracker.model.work import Event
from fhir_tracker.rules.events import fits, in_order, matched_codes
from fhir_tracker.rules.moments import ENROLMENT
from fhir_tracker.rules.words import event_named, listed


@dataclass(frozen=True, kw_only=True)
class _Answer:
    holds: bool
    events: tuple[Event, ...] = ()


def enrolments(program: Program, patient: str, events: Sequence[Event], now: datetime) -> tuple[Enrol, ...]:
    """The plans the patient's events call for: empty when the program has no rule or it does not hold.

    One at most, whose trigger is the latest matched Encounter, else the earliest matched event (so that a later one of
    the same kind does not enrol again); it is empty where the program takes each patient once. With `once: each` every
    matched event of the type that the program names first opens one. Enrolling the same trigger twice is for the caller
    to refuse.
    """
    if program.eligible is None:
        return ()
    answer = _judge(program, program.eligible.condition, [one for one in events if one.patient == patient], now)
    if not answer.holds or not answer.events:
        return ()
    matched = in_order(answer.events)
    if program.eligible.once == "each":
        kind = _first_type(program.eligible.condition)
        each = {one.ref: one for one in matched if one.type == kind}
        return tuple(_enrol(program, program.eligible, patient, one, [one], now) for one in each.values())
    encounters = [one for one in matched if one.type == "Encounter"]
    return (_enrol(program, program.eligible, patient, encounters[-1] if encounters else matched[0], matched, now),)


def types_asked(program: Program) -> frozenset[str]:
    """The types of events that the eligibility rule looks at; no other can bring a patient in or keep one out."""
    return frozenset(one.type for one in _matches(program.eligible.condition)) if program.eligible else frozenset()


def turns_with_time(program: Program) -> bool:
    """Whether the passing of time alone can change the rule's answer."""
    return program.eligible is not None and any(one.within for one in _matches(program.eligible.condition))


def _matches(condition: Condition) -> Iterator[Match]:
    if condition.match is not None:
        yield condition.match
    for child in condition.children:
        yield from _matches(child)


def _enrol(
    program: Program, eligible: Eligibility, patient: str, trigger: Event, matched: Sequence[Event], now: datetime
) -> Enrol:
    """The enrolment by `trigger`; an anchor of its own is at that event, `enrolment` is when the patient comes in."""
    others = dict.fromkeys(event_named(one) for one in matched if one.ref != trigger.ref and one.type != "Encounter")
    names = [event_named(trigger), *list(others)[:3]]
    return Enrol(
        program=program.code,
        version=program.version,
        patient=patient,
        trigger="" if eligible.once == "patient" else trigger.ref,
        anchor=eligible.anchor,
        anchor_at=now if eligible.anchor == ENROLMENT else trigger.at,
        reason=f"Eligible for {program.title}: {listed(names)}",
    )


def _first_type(condition: Condition) -> str:
    """The resource type named first among what can bring a patient in."""
    if condition.match is not None:
        return condition.match.type
    found = (_first_type(child) for child in condition.children if child.op != "not")
    return next((kind for kind in found if kind), "")


def _judge(program: Program, condition: Condition, events: Sequence[Event], now: datetime) -> _Answer:
    if condition.match is not None:
        found = tuple(one for one in events if fits(condition.match, one, calendar=program.calendar, now=now))
        return _Answer(holds=_count(condition.match, found) >= condition.match.count, events=found)
    answers = [_judge(program, child, events, now) for child in condition.children]
    if condition.op == "not":
        return _Answer(holds=not answers[0].holds)
    holds = all(one.holds for one in answers) if condition.op == "all" else any(one.holds for one in answers)
    return _Answer(holds=holds, events=tuple(event for one in answers if one.holds for event in one.events))


def _count(match: Match, found: Sequence[Event]) -> int:
    if not match.codes:
        return len(found)
    return (
        len(frozenset().union(*(matched_codes(one, match.codes) for one in found))) if match.count > 1 else len(found)
    )
