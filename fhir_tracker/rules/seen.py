"""`seen: {Encounter: {status: finished, class: EMER, within: 30 days}, times: 2}`: something has happened.

Any type that rules see can be asked for. It holds while at least `times` resources fit, `within` that long ago and, with
`after`, since a moment of the plan or the item. With `each: true` every one that fits is a case of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import Match
from fhir_tracker.model.work import Event
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.events import TYPES, fits
from fhir_tracker.rules.match_words import describe_match
from fhir_tracker.rules.matches import read_test
from fhir_tracker.rules.moments import own_moment, read_moment
from fhir_tracker.rules.predicate import Args, Case, Predicate, first_known, listed_facts, no, number, word
from fhir_tracker.rules.source import Node
from fhir_tracker.rules.words import event_named, moment


def _read(node: Node, draft: Draft) -> Args | None:
    found = read_test(node, draft, TYPES, ("times", "after", "each"))
    if found is None:
        return None
    match, given = found
    after = given.node("after")
    name = read_moment(after, draft, events=False) if after else ""
    each = given.choice("each", ("true", "false"), "false") == "true"
    times = given.number("times", 1)
    if each and times > 1:
        draft.problems.add(given.table.keys["times"], '"each" makes every one a case: leave "times" out')
    return {"match": match, "times": times, "after": name, "each": each}


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    match, times = cast(Match, args["match"]), number(args, "times")
    ends = _fresh(case, match, word(args, "after"))
    fresh = tuple(one for one, _ in ends)
    used = {"looked for": describe_match(match), "found": listed_facts(fresh)}
    if len(fresh) < times:
        wanted = f"; {times} are wanted" if times > 1 else ""
        return no(f"{len(fresh) or 'no'} {describe_match(match)} was found{wanted}", used)
    if args["each"]:
        return tuple(_one(case, one, end, used, occurrence=one.ref) for one, end in ends)
    known = sorted(first_known(one) for one in fresh)[times - 1]
    gone = sorted(end for _, end in ends if end is not None)
    change = gone[len(fresh) - times] if gone else None
    more = f", the last of {len(fresh)}" if len(fresh) > 1 else ""
    return (_one(case, fresh[-1], change, used, since=known, more=more),)


def _fresh(case: Case, match: Match, after: str) -> tuple[tuple[Event, datetime | None], ...]:
    """The events that fit now, and when each is too long ago."""
    first = own_moment(case.facts, after) if after else None
    if after and first is None:
        return ()
    calendar = case.program.calendar
    found: list[tuple[Event, datetime | None]] = []
    for one in case.facts.by_type.get(match.type, ()):
        if fits(match, one, calendar=calendar) and (first is None or one.began >= first):
            end = later(calendar, one.at, match.within) if match.within else None
            if end is None or case.now < end:
                found.append((one, end))
    return tuple(found)


def _one(
    case: Case,
    event: Event,
    change: datetime | None,
    used: Mapping[str, str],
    *,
    since: datetime | None = None,
    occurrence: str = "",
    more: str = "",
) -> Verdict:
    when = moment(case.program.calendar, event.began)
    return Verdict(
        holds=True,
        why=f"{event_named(event)} on {when}{more}",
        facts=used,
        since=since or first_known(event),
        next_change=change,
        occurrence=occurrence,
    )


def _describe(args: Args) -> str:
    times, after = number(args, "times"), word(args, "after")
    each = "each " if args["each"] else f"{times} times " if times > 1 else ""
    return f"there was {each}{describe_match(cast(Match, args['match']))}{f' after {after}' if after else ''}"


PREDICATE = Predicate(
    name="seen",
    takes="one resource type with its test (status, code, outcome, value, `within`), and times: a number (1), after: a "
    "moment of the plan or task, each: true",
    says="that many matching resources have been seen; with `each` every one is a case of its own",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=_describe,
)
