"""`outreach: {outcome: [declined, wrong-number], times: 2, within: 30 days}`: tries of the patient came out like that.

Tries are those that `outreach_failed` counts, since the patient was last reached; `reached` counts every one.
"""

from __future__ import annotations

from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import Duration
from fhir_tracker.model.vocabulary import CHANNELS, OUTCOMES
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.outreach_failed import REACHED, attempts, failed_since_reached, last_reached
from fhir_tracker.rules.predicate import Args, Case, Predicate, earliest, listed_facts, no, number, words
from fhir_tracker.rules.source import Node, fields
from fhir_tracker.rules.words import listed, moment


def _read(node: Node, draft: Draft) -> Args | None:
    given = fields(node, draft.problems, (), ("outcome", "channel", "times", "within"))
    if given is None:
        return None
    outcomes = tuple(draft.reference(text, "outcome", tuple(OUTCOMES)) for text in given.texts("outcome"))
    channels = tuple(draft.reference(text, "channel", tuple(CHANNELS)) for text in given.texts("channel"))
    if not all(outcomes) or not all(channels):
        return None
    times, within = given.number("times", 1), given.duration("within")
    return {"outcome": outcomes, "channel": channels, "times": times, "within": within}


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    outcomes, channels, within = words(args, "outcome"), words(args, "channel"), args["within"]
    calendar, times = case.program.calendar, number(args, "times")
    every = attempts(case.facts) if REACHED in outcomes else failed_since_reached(case.facts)
    found = [
        one
        for one in every
        if (not outcomes or one.detail.get("outcome") in outcomes)
        and (not channels or one.detail.get("channel") in channels)
    ]
    ends = [later(calendar, one.began, within) if isinstance(within, Duration) else None for one in found]
    fresh = [(one, end) for one, end in zip(found, ends, strict=True) if end is None or case.now < end]
    used = {"tries": str(len(every)), "found": listed_facts(one for one, _ in fresh)}
    said = f"{len(fresh)} tries ({listed(outcomes or ('any outcome',), 'or')})"
    if len(fresh) < times:
        return no(f"{said}, {times} are wanted", used)
    last, reached = fresh[-1][0], last_reached(case.facts)
    change = sorted(end for _, end in fresh if end is not None)[-times:][:1]
    return (
        Verdict(
            holds=True,
            why=f"{said}, the last on {moment(calendar, last.began)}",
            facts=used,
            since=fresh[times - 1][0].began,
            next_change=earliest(case.now, change),
            occurrence=reached.ref if reached and REACHED not in outcomes else "",
        ),
    )


def _describe(args: Args) -> str:
    outcome = f" came out {listed(words(args, 'outcome'), 'or')}" if words(args, "outcome") else " were made"
    channel = f" by {listed(words(args, 'channel'), 'or')}" if words(args, "channel") else ""
    within = f" within {args['within']}" if args["within"] else ""
    return f"{number(args, 'times')} tries{channel}{outcome}{within}"


PREDICATE = Predicate(
    name="outreach",
    takes="{outcome: one or more, channel: one or more, times: a number (1), within: a duration}",
    says="that many tries since the patient was last reached came out so",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=_describe,
)
