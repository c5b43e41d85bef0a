"""`outreach_failed: {attempts: 3, over: 2 business days, channels: 2}`: the patient was tried and not reached.

It holds once at least `attempts` tries have failed since the patient was last reached, on at least `channels` different
channels, and `over` has passed since the first of them: quick calls in a row do not exhaust a policy of two days. Tries
are Communications (completed or not-done) about the task, or for a plan about the plan or any of its tasks; every
outcome but `reached` is a failure. Each time the patient is reached a new case begins, so a policy can be exhausted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Facts, Verdict
from fhir_tracker.model.program import Duration
from fhir_tracker.model.work import Event
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.events import in_order
from fhir_tracker.rules.predicate import Args, Case, Predicate, duration, listed_facts, no, number
from fhir_tracker.rules.source import Node, fields
from fhir_tracker.rules.words import moment

REACHED: Final = "reached"


def attempts(facts: Facts) -> tuple[Event, ...]:
    """The attempts that count for this item, oldest first."""
    about = {facts.item.ref}
    if facts.item.kind == "plan":
        about |= {one.ref for one in facts.tasks}
    return in_order(
        one
        for one in facts.events
        if one.type == "Communication" and one.status in ("completed", "not-done") and about.intersection(one.about)
    )


def last_reached(facts: Facts) -> Event | None:
    """The last attempt that reached the patient."""
    return next((one for one in reversed(attempts(facts)) if one.detail.get("outcome") == REACHED), None)


def failed_since_reached(facts: Facts) -> tuple[Event, ...]:
    """The failed attempts after the last one that reached the patient."""
    failed: list[Event] = []
    for one in attempts(facts):
        if one.detail.get("outcome") == REACHED:
            failed = []
        else:
            failed.append(one)
    return tuple(failed)


def _read(node: Node, draft: Draft) -> Args | None:
    given = fields(node, draft.problems, ("attempts",), ("over", "channels"))
    if given is None:
        return None
    over = given.duration("over") or Duration(amount=0, unit="hours")
    tries, channels = given.number("attempts", 1), given.number("channels", 1, most=10)
    if channels > tries:
        draft.problems.add(given.place, f"{channels} channels cannot be tried in {tries} attempts")
    return {"attempts": tries, "over": over, "channels": channels}


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    failed = failed_since_reached(case.facts)
    channels = sorted({channel for one in failed if (channel := one.detail.get("channel", ""))})
    used = {
        "failed attempts": str(len(failed)),
        "channels": ", ".join(channels) or "none",
        "attempts": listed_facts(attempts(case.facts)),
    }
    said = f"{len(failed)} failed attempts on {len(channels)} channels since the patient was last reached"
    wanted = f"{number(args, 'attempts')} on {number(args, 'channels')}"
    if len(failed) < number(args, "attempts") or len(channels) < number(args, "channels"):
        return no(f"{said}; the policy is {wanted}", used)
    first = failed[0].began
    used["first attempt"] = instant(first)
    over = later(case.program.calendar, first, duration(args, "over"))
    enough = max(over, _made(failed, number(args, "attempts"), number(args, "channels")).began)
    if case.now < enough:
        until = moment(case.program.calendar, enough)
        return no(f"{said}; the policy gives {duration(args, 'over')}, until {until}", used, enough)
    why = f"{said}, first on {moment(case.program.calendar, first)}; the policy was {wanted} channels"
    reached = last_reached(case.facts)
    return (Verdict(holds=True, why=why, facts=used, since=enough, occurrence=reached.ref if reached else ""),)


def _made(failed: Sequence[Event], tries: int, channels: int) -> Event:
    """The try with which there were enough of them, on enough channels."""
    used: set[str] = set()
    for count, one in enumerate(failed, start=1):
        used.add(one.detail.get("channel", ""))
        if count >= tries and len(used - {""}) >= channels:
            return one
    return failed[-1]


def _describe(args: Args) -> str:
    over = f" over {duration(args, 'over')}" if duration(args, "over").amount else ""
    tries, channels = number(args, "attempts"), number(args, "channels")
    on = f" on {channels} channels" if channels > 1 else ""
    return f"{tries} outreach attempts{over}{on} have failed"


PREDICATE = Predicate(
    name="outreach_failed",
    takes="{attempts: a number, over: a duration (none when left out), channels: a number (1)}",
    says="that many attempts on that many channels failed since the patient was last reached, and `over` has passed",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=_describe,
)
