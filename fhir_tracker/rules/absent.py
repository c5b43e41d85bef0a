"""`absent: {expect: {Observation: {code: "4548-4"}}, after: discharge, within: 7 days}`: what should have come has not.

Each moment it is expected after is a case of its own, named by its event. What names that event belongs to it alone,
other things go to the latest moment, from its local day on, that still wants some. It ends when enough has come,
however late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import Match
from fhir_tracker.model.work import Event
from fhir_tracker.rules.calendar import day_start, later
from fhir_tracker.rules.documents import MOST_NEAR, NearMiss, in_other_records, near_facts
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.events import fits
from fhir_tracker.rules.match_words import describe_match
from fhir_tracker.rules.matches import read_one_match
from fhir_tracker.rules.moments import Moment, moments, moments_of, read_moment
from fhir_tracker.rules.predicate import Args, Case, Predicate, duration, earliest, listed_facts, no, number, word
from fhir_tracker.rules.source import Node, Table, fields
from fhir_tracker.rules.words import moment, span


def _read(node: Node, draft: Draft) -> Args | None:
    given = fields(node, draft.problems, ("expect", "after", "within"), ("service", "times"))
    expect, after = (given.node("expect"), given.node("after")) if given else (None, None)
    if given is None or expect is None or after is None:
        return None
    match, within = read_one_match(expect, draft), given.duration("within")
    trigger = read_one_match(after, draft) if isinstance(after, Table) else None
    name = "" if isinstance(after, Table) else read_moment(after, draft)
    for text in given.texts("service"):
        draft.service_codes(text)
        if not name.startswith("appointment."):
            draft.problems.add(text.place, "a service belongs to what is expected after an appointment")
    for one, place in ((match, expect.place), (trigger, after.place)):
        if one and (one.within or one.count > 1):
            draft.problems.add(place, 'write "within" and "times" beside "expect"')
    if match is None or within is None or (trigger is None and not name):
        return None
    times = given.number("times", 1)
    return {
        "match": match, "trigger": trigger, "after": name, "within": within, "times": times, "service": given.text("service"),
    }  # fmt: skip


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    match, times, calendar = cast(Match, args["match"]), number(args, "times"), case.program.calendar
    trigger = args.get("trigger")
    if isinstance(trigger, Match):
        starts = moments_of(case.program, case.facts, trigger)
    else:
        starts = moments(case.program, case.facts, word(args, "after"), word(args, "service"))
    filed = [one for one in case.facts.by_type.get(match.type, ()) if fits(match, one, calendar=calendar)]
    came = _shared(case, starts, filed, times)
    dues = [later(calendar, one.at, duration(args, "within")) for one in starts]
    short = [(one, due) for number_, (one, due) in enumerate(zip(starts, dues, strict=True)) if came[number_] < times]
    change = earliest(case.now, (due for _, due in short))
    used = {"expected": describe_match(match), "after": _after(args), "found": listed_facts(filed)}
    late = [(one, due) for one, due in short if due <= case.now]
    if late:
        return tuple(_missing(case, args, one, due, used, change) for one, due in late)
    if short:
        first = moment(calendar, min(due for _, due in short))
        return no(f"{describe_match(match)} is expected by {first}", used, change)
    what = f"{describe_match(match)} is there" if starts else f"nothing has happened yet that wants {match.type}"
    return no(what, used, change)


def _missing(
    case: Case, args: Args, start: Moment, due: datetime, used: Mapping[str, str], change: datetime | None
) -> Verdict:
    match, calendar, after = cast(Match, args["match"]), case.program.calendar, start.ref or _after(args)
    near = _elsewhere(case, match, start)
    why = f"{describe_match(match)} is missing for {span(case.now - due)}: expected by {moment(calendar, due)}"
    return Verdict(
        holds=True,
        why="; ".join((f"{why}, within {duration(args, 'within')} after {after}", *map(str, near[:MOST_NEAR]))),
        facts={**used, "after": after, "due": instant(due), **near_facts(near)},
        since=due,
        next_change=change,
        occurrence=start.ref,
    )


def _elsewhere(case: Case, match: Match, start: Moment) -> list[NearMiss]:
    """Where somebody asks: what would have been enough, had it not been filed in another patient's record."""
    since = day_start(case.program.calendar, start.opens)
    return in_other_records(case.program, case.facts, match, start.ref, since) if case.facts.misfiled else []


def _shared(case: Case, starts: Sequence[Moment], filed: Sequence[Event], times: int) -> Mapping[int, int]:
    """How many of what was filed belong to each moment."""
    opens = [day_start(case.program.calendar, one.opens) for one in starts]
    came = dict.fromkeys(range(len(starts)), 0)
    for one in filed:
        named = [index for index, start in enumerate(starts) if start.ref and start.ref in one.about]
        at = one.began
        fitting = named or [index for index in came if opens[index] <= at and came[index] < times]
        if fitting:
            came[fitting[-1]] += 1
    return came


def _after(args: Args) -> str:
    trigger = args.get("trigger")
    return describe_match(trigger) if isinstance(trigger, Match) else word(args, "after")


def _describe(args: Args) -> str:
    times = f"{number(args, 'times')} times " if number(args, "times") > 1 else ""
    expected = f"{times}{describe_match(cast(Match, args['match']))}"
    service = f" ({word(args, 'service')})" if args.get("service") else ""
    return f"{expected} is missing {duration(args, 'within')} after {_after(args)}{service}"


PREDICATE = Predicate(
    name="absent",
    takes="{expect: one resource type with its test, after: a moment, an event or one resource type with its test, within: "
    "a duration, times: a number (1), service: of an appointment}",
    says="what is expected after something that happened has not come in time; one case for each time it happened",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=_describe,
)
