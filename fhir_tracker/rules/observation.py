"""`observation: {code: "8480-6", above: "150 mm[Hg]", times: 2, within: 14 days}`: what was measured is out of bounds.

It holds while the last `times` readings all fit (`of: latest`), or any `times` of them (`of: any`), each `within` that
long ago. Readings in a unit that cannot be compared fit nothing. Readings that fit, one after another, are one case,
named by its first: with `of: latest` a reading that does not fit ends it, with `of: any` a time of `within` without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import cast

from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import Duration, Match
from fhir_tracker.model.values import ValueTest, said
from fhir_tracker.model.work import Event
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.events import fits
from fhir_tracker.rules.match_words import describe_match, describe_value
from fhir_tracker.rules.matches import MATCH_KEYS, match_of
from fhir_tracker.rules.predicate import Args, Case, Predicate, earliest, listed_facts, no, number
from fhir_tracker.rules.source import Node, fields
from fhir_tracker.rules.words import moment

SAID = ("final", "amended", "corrected", "preliminary")
"""The statuses of a reading that says something."""


def _read(node: Node, draft: Draft) -> Args | None:
    keys = tuple(key for key in MATCH_KEYS if key != "outcome")
    given = fields(node, draft.problems, (), (*keys, "within", "times", "of"))
    if given is None:
        return None
    match = match_of("Observation", given, draft)
    if not match.codes:
        draft.problems.add(given.place, '"code" is missing: say which Observation')
    if match.value is None:
        draft.problems.add(given.place, "says nothing of the value: add at_least, above, at_most, below or value")
    within, of = match.within, given.choice("of", ("latest", "any"), "latest")
    times = given.number("times", 1)
    if of == "any" and within is None:
        draft.problems.add(given.place, '"of: any" needs "within"')
    if not match.codes or match.value is None or (of == "any" and within is None):
        return None
    match = replace(match, within=None, status=match.status or SAID)
    return {"match": match, "within": within, "times": times, "of": of}


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    match, times = cast(Match, args["match"]), number(args, "times")
    every = replace(match, value=None)
    readings = [
        one for one in case.facts.by_type.get("Observation", ()) if fits(every, one, calendar=case.program.calendar)
    ]
    known = [one for one in readings if one.began <= case.now]
    ahead = earliest(case.now, (one.began for one in readings))
    run = _run(case, args, known)
    ends = [_end(case, args, one) for one in run]
    fresh = [(one, end) for one, end in zip(run, ends, strict=True) if end is None or case.now < end]
    test = cast(ValueTest, match.value)
    used = {"readings": listed_facts(known[-10:]), "fitting": listed_facts(one for one, _ in fresh)}
    if known:
        used["last"] = said(test, known[-1].detail) or "no value"
    if len(fresh) < times:
        wanted = f"{len(fresh)} of {times} readings {describe_value(test)}" if known else "no reading"
        return no(f"{describe_match(replace(every, status=()))}: {wanted}", used, ahead)
    counted = fresh[-times:]
    last = counted[-1][0]
    more = f", {len(run)} readings running" if len(run) > 1 else ""
    return (
        Verdict(
            holds=True,
            why=f"{said(test, last.detail)} on {moment(case.program.calendar, last.began)}, {describe_value(test)}{more}",
            facts=used,
            since=run[min(times, len(run)) - 1].began,
            next_change=earliest(case.now, (ahead, counted[0][1])),
            occurrence=run[0].ref,
        ),
    )


def _run(case: Case, args: Args, known: Sequence[Event]) -> list[Event]:
    """The last case: readings that fit, up to the last."""
    match = cast(Match, args["match"])
    fitting = [fits(match, one, calendar=case.program.calendar) for one in known]
    if args["of"] == "any":
        return _cluster(case, args, [one for one, fit in zip(known, fitting, strict=True) if fit])
    begins = max((index + 1 for index, fit in enumerate(fitting) if not fit), default=0)
    return list(known[begins:])


def _cluster(case: Case, args: Args, found: Sequence[Event]) -> list[Event]:
    within = cast(Duration, args["within"])
    begins = 0
    for index, (one, following) in enumerate(pairwise(found)):
        if later(case.program.calendar, one.began, within) <= following.began:
            begins = index + 1
    return list(found[begins:])


def _end(case: Case, args: Args, reading: Event) -> datetime | None:
    within = args.get("within")
    return later(case.program.calendar, reading.began, within) if isinstance(within, Duration) else None


def _describe(args: Args) -> str:
    match = cast(Match, args["match"])
    which = "the last " if args["of"] == "latest" else "any "
    times = f"{number(args, 'times')} readings" if number(args, "times") > 1 else "reading"
    within = f" within {args['within']}" if args.get("within") else ""
    value = describe_value(cast(ValueTest, match.value))
    return f"{which}{times} of {describe_match(replace(match, value=None, status=()))} {value}{within}"


PREDICATE = Predicate(
    name="observation",
    takes="{code, component, at_least, above, at_most or below: a value with its UCUM unit, value: a code, interpretation, "
    "times: a number (1), of: latest or any, within: a duration}",
    says="the last readings, or any, are as said; readings that fit one after another are one case",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=_describe,
)
