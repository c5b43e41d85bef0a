"""`appointment_missed: {service: tcm-visit, grace: 2 hours}`: a visit was missed or cancelled and no later one stands.

A chain of misses is one case, named by its first appointment; it ends when a later appointment of the service is
booked, arrived or fulfilled; after a cancellation, later than when it was cancelled. With `grace`, a booked appointment
without an outcome counts as missed that long after its end. Once the work made for a case is closed, an appointment
missed after that opens a new case, also the same one moved to another time. Appointments before the plan began do not
count.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fhir_tracker.model.facts import Facts, Verdict
from fhir_tracker.model.program import Duration
from fhir_tracker.model.work import Event
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.events import APPOINTMENT_STATES, WAITING, has_code
from fhir_tracker.rules.predicate import Args, Case, Predicate, begin, earliest, listed_facts, no, word, words
from fhir_tracker.rules.source import Node, Text, fields
from fhir_tracker.rules.words import event_named, moment


def _read(node: Node, draft: Draft) -> Args | None:
    if isinstance(node, Text):
        return {"service": node.value, "codes": draft.service_codes(node), "grace": None}
    given = fields(node, draft.problems, (), ("service", "grace"))
    if given is None:
        return None
    service = given.texts("service")
    codes = tuple(code for text in service for code in draft.service_codes(text))
    name = ", ".join(text.value for text in service)
    return {"service": name, "codes": codes, "grace": given.duration("grace")}


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    codes = words(args, "codes")
    visits = visits_of(case, codes)
    lapses = {one.ref: lapse(case, args, one) for one in visits}
    missed, name = open_chain(visits, lapses, case)
    next_change = earliest(case.now, lapses.values())
    service = f" for {word(args, 'service')}" if args.get("service") else ""
    if not missed:
        return no(
            f"no missed appointment{service} is without a later one",
            {"appointments": listed_facts(visits)},
            next_change,
        )
    first, last = missed[0], missed[-1]
    when = moment(case.program.calendar, last.began)
    more = f", the last of {len(missed)} in a row" if len(missed) > 1 else ""
    return (
        Verdict(
            holds=True,
            why=f"the appointment{service} on {when} was {_outcome(last)}{more}, and no later one is booked",
            facts={
                "appointment": event_named(last),
                "first missed": first.ref,
                "appointments": listed_facts(visits),
            },
            since=lapses[first.ref] or first.seen_at,
            next_change=next_change,
            occurrence=name,
        ),
    )


def visits_of(case: Case, codes: tuple[str, ...]) -> list[Event]:
    """The appointments of a service since the plan began, in the order in which they count."""
    first = begin(case.facts)
    found = case.facts.by_type.get("Appointment", ())
    return sorted((one for one in found if (not codes or has_code(one, codes)) and one.began >= first), key=_order)


def _order(visit: Event) -> tuple[datetime, str]:
    """A cancellation counts from when it was seen: the visit booked instead may come before the cancelled one."""
    start = visit.began
    return (min(start, visit.seen_at) if visit.status == "cancelled" else start), visit.ref


def lapse(case: Case, args: Args, visit: Event) -> datetime | None:
    """When a booked appointment without an outcome starts to count as missed."""
    grace = args.get("grace")
    if not isinstance(grace, Duration) or visit.status not in WAITING:
        return None
    return later(case.program.calendar, visit.at, grace)


def open_chain(visits: list[Event], lapses: Mapping[str, datetime | None], case: Case) -> tuple[list[Event], str]:
    """The missed visits in a row that no later one made good, and the name of their case."""
    chain: list[Event] = []
    name, closed = "", _closed_cases(case.facts)
    for one in visits:
        lapsed = lapses[one.ref]
        if one.status in APPOINTMENT_STATES["missed"] or (lapsed is not None and lapsed <= case.now):
            if chain and name in closed and one.seen_at > closed[name]:
                chain = []
            name = name if chain else _case_named(one, closed)
            chain.append(one)
        elif one.status in APPOINTMENT_STATES["booked"]:
            chain = []
    return chain, name


def _case_named(first: Event, closed: Mapping[str, datetime]) -> str:
    """Its first appointment; `#2` when that one was moved and missed again after the work for it was closed."""
    name, number = first.ref, 1
    while name in closed and min(first.seen_at, first.began) > closed[name]:
        number += 1
        name = f"{first.ref}#{number}"
    return name


def _closed_cases(facts: Facts) -> Mapping[str, datetime]:
    """The occurrences whose work is done, and since when."""
    done_at = {one.ref: one.status_since for one in facts.tasks if not one.open}
    closed: dict[str, datetime] = {}
    for firing in facts.fired:
        _, _, occurrence = firing.key.cycle.partition(":")
        at = done_at.get(firing.task or "") or (firing.fired_at if firing.state == "resolved" else None)
        if occurrence and at is not None:
            closed[occurrence] = min(at, closed.get(occurrence, at))
    return closed


def _outcome(visit: Event) -> str:
    outcomes = {"noshow": "a no-show", "cancelled": "cancelled"}
    return outcomes.get(visit.status, "never marked as attended")


PREDICATE = Predicate(
    name="appointment_missed",
    takes="a service, or {service: one or more, grace: a duration after which a booked visit without outcome counts}",
    says="the latest appointment was a no-show or cancelled and no later one of the service stands; one case a chain",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=lambda args: f"an appointment{' for ' + word(args, 'service') if args.get('service') else ''} was missed",
)
