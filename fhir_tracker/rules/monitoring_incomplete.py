"""`monitoring_incomplete: {Observation: {code: "85354-9"}, at_least: 12, every: 14 days}`: too few home readings came.

Time is cut into windows of `every`, counted from `after` (the enrolment). Once a window is over, and `grace` with it, it
is a case of its own, named by its number, while fewer than `at_least` readings fall into it; with `by: day` a local day
counts once. Only the last window that is over is looked at; one in which the patient was in hospital asks for nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import Duration, Match
from fhir_tracker.rules.calendar import END, later, local
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.events import fits
from fhir_tracker.rules.match_words import describe_match
from fhir_tracker.rules.matches import read_test
from fhir_tracker.rules.moments import own_moment, read_moment
from fhir_tracker.rules.predicate import Args, Case, Predicate, duration, listed_facts, no, number, word
from fhir_tracker.rules.source import Node
from fhir_tracker.rules.stays import stays
from fhir_tracker.rules.words import moment

KINDS = ("Observation", "QuestionnaireResponse", "Communication", "DocumentReference")
_NOTHING = Duration(amount=0, unit="hours")


def _read(node: Node, draft: Draft) -> Args | None:
    found = read_test(node, draft, KINDS, ("at_least", "every", "after", "grace", "by"))
    if found is None:
        return None
    match, given = found
    every, after = given.duration("every"), given.node("after")
    for key in ("at_least", "every"):
        if given.node(key) is None:
            draft.problems.add(given.place, f'"{key}" is missing')
    if every and (every.working or not every.amount):
        draft.problems.add(given.table.keys["every"], 'windows are of calendar time, such as "14 days"')
        return None
    if match.within:
        draft.problems.add(given.place, 'the window is "every": leave "within" out')
    name = read_moment(after, draft, events=False) if after else "enrolment"
    if every is None or not name:
        return None
    least = given.number("at_least", 1, most=10_000)
    by_day = given.choice("by", ("reading", "day"), "reading") == "day"
    grace = given.duration("grace") or _NOTHING
    return {"match": match, "at_least": least, "every": every, "after": name, "by_day": by_day, "grace": grace}


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    start, calendar = own_moment(case.facts, word(args, "after")), case.program.calendar
    match = cast(Match, args["match"])
    if start is None:
        return no(f"{word(args, 'after')} has not been", {"after": word(args, "after")})
    last = _last_over(case, args, start)
    following = _judged_at(case, args, start, last + 1)
    change = following if following < END else None
    if last < 0:
        return no("no window is over yet", {"from": instant(start)}, change)
    opens, closes = _edge(case, args, start, last), _edge(case, args, start, last + 1)
    stay = next((one for one in stays(case.facts.events) if one.start < closes and (one.end or END) > opens), None)
    when = f"{moment(calendar, opens)} to {moment(calendar, closes)}"
    if stay is not None:
        return no(f"the patient was in hospital between {when}", {"stay": ", ".join(stay.refs)}, change)
    found = [
        one
        for one in case.facts.by_type.get(match.type, ())
        if opens <= one.began < closes and fits(match, one, calendar=calendar)
    ]
    count = len({local(calendar, one.began).date() for one in found}) if args["by_day"] else len(found)
    used = {"window": f"{instant(opens)}/{instant(closes)}", "readings": listed_facts(found[:20]), "count": str(count)}
    unit = "days with " if args["by_day"] else ""
    said = f"{count} of {number(args, 'at_least')} {unit}{describe_match(match)} from {when}"
    if count >= number(args, "at_least"):
        return no(said, used, change)
    judged = _judged_at(case, args, start, last)
    return (
        Verdict(holds=True, why=f"only {said}", facts=used, since=judged, next_change=change, occurrence=f"window-{last + 1}"),
    )  # fmt: skip


def _edge(case: Case, args: Args, start: datetime, number_: int) -> datetime:
    """When window `number_`, counted from 0, begins: on the wall clock, each counted from the start."""
    every = duration(args, "every")
    return later(case.program.calendar, start, Duration(amount=every.amount * number_, unit=every.unit))


def _judged_at(case: Case, args: Args, start: datetime, number_: int) -> datetime:
    return later(case.program.calendar, _edge(case, args, start, number_ + 1), duration(args, "grace"))


def _last_over(case: Case, args: Args, start: datetime) -> int:
    """The number of the last window that is over, -1 for none, by halving."""
    low, high = -1, 1
    while _judged_at(case, args, start, high) <= case.now:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if _judged_at(case, args, start, middle) <= case.now:
            low = middle
        else:
            high = middle
    return low


def _describe(args: Args) -> str:
    unit = "days with " if args["by_day"] else ""
    match = describe_match(cast(Match, args["match"]))
    return f"fewer than {number(args, 'at_least')} {unit}{match} came in {duration(args, 'every')}"


PREDICATE = Predicate(
    name="monitoring_incomplete",
    takes="one resource type with its test, at_least: a number, every: the length of a window, by: reading or day, after: a "
    "moment (enrolment), grace: a duration",
    says="too few readings came in the last window that is over; each window is a case, none while in hospital",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=_describe,
)
