"""Moments that a test counts from: of the plan, of the task, or of each event of a kind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Match, Program
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.events import NAMES, fits, named_match, service_codes
from fhir_tracker.rules.predicate import begin
from fhir_tracker.rules.source import Node, choice_of

ENROLMENT: Final = "enrolment"
OWN: Final = ("created", "status")
"""Moments of the item itself: when it was made, and when it came into its present status."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One moment; `ref` is the event it is of, empty for those of the plan and the item."""

    ref: str
    at: datetime
    opens: datetime
    """When it began: what is expected after a stay may bear the date of any of its days."""


def read_moment(node: Node, draft: Draft, *, events: bool = True) -> str:
    """The name of a moment; "" with a problem noted. `events`: those of events too."""
    named = (*NAMES, *(f"document.{code}" for code in draft.documents)) if events else ()
    return choice_of(node, (*draft.anchors, *OWN, *named), draft.problems, "moment")


def own_moment(facts: Facts, name: str) -> datetime | None:
    """A moment of the plan or of the item; None when it has not been."""
    if name in OWN:
        return facts.item.created_at if name == "created" else facts.item.status_since
    if facts.plan is None:
        return facts.item.created_at if name == ENROLMENT else None
    return facts.plan.anchors.get(name, facts.plan.started if name == ENROLMENT else None)


def moments(program: Program, facts: Facts, name: str, service: str = "") -> tuple[Moment, ...]:
    """Every moment of that name in the plan's life, oldest first; events before it began do not count."""
    at = own_moment(facts, name)
    if at is not None:
        return (Moment(ref="", at=at, opens=at),)
    match = named_match(program, name, service_codes(program, service))
    return () if match is None else moments_of(program, facts, match)


def moments_of(program: Program, facts: Facts, match: Match) -> tuple[Moment, ...]:
    """The moment of each event since the plan began that fits, oldest first."""
    first = begin(facts)
    found = (one for one in facts.by_type.get(match.type, ()) if one.at >= first)
    return tuple(
        Moment(ref=one.ref, at=one.at, opens=one.began) for one in found if fits(match, one, calendar=program.calendar)
    )
