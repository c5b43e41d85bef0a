"""`next_contact: {due: 4 business hours}`: the moment at which the patient should be tried next has passed that long ago.

The moment comes from the task's outreach policy: spacing after the last try, quiet hours where the patient lives, the
site's hours and the channels that the patient can be reached on. `next_contact: none` holds when the policy wants more
tries and no channel is left for them.
"""

from __future__ import annotations

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import Duration
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.outreach_standing import Standing, standing, standing_words
from fhir_tracker.rules.predicate import Args, Case, Predicate, duration, no
from fhir_tracker.rules.source import Node, Text, choice_of, fields


def _read(node: Node, draft: Draft) -> Args | None:
    if isinstance(node, Text):
        return {"none": True} if choice_of(node, ("none",), draft.problems, "answer") else None
    given = fields(node, draft.problems, ("due",))
    due = given.duration("due") if given else None
    return {"none": False, "due": due} if due else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    found = standing(case.program, case.facts)
    if found is None:
        return no("the work has no outreach policy", {"task": case.facts.item.code})
    told, used = standing_words(case.program, found), _used(found) | {"task": case.facts.item.code}
    if args["none"]:
        holds = not found.settled and found.next_at is None
        return (Verdict(holds=holds, why=told, facts=used),)
    if found.next_at is None:
        return no(told, used)
    begins = max(found.next_at, later(case.program.calendar, found.next_at, duration(args, "due")))
    if case.now < begins:
        return no(told, used, begins)
    return (Verdict(holds=True, why=told, facts=used, since=begins),)


def _used(found: Standing) -> dict[str, str]:
    used = {"attempts": str(found.attempts), "channels": ", ".join(found.channels) or "none"}
    if found.next_at is not None:
        used |= {"next": instant(found.next_at), "by": found.next_channel}
    return used | {f"not by {channel}": why for channel, why in found.closed_to.items()}


def _describe(args: Args) -> str:
    if args["none"]:
        return "no channel is left to try the patient on"
    late = args["due"]
    by = f" for {late}" if isinstance(late, Duration) and late.amount else ""
    return f"the next attempt to reach the patient has been due{by}"


PREDICATE = Predicate(
    name="next_contact",
    takes="{due: a duration}, or none",
    says="the next attempt by the task's `outreach` has been due that long; `none`: it wants one and no channel is left",
    subjects=("task",),
    read=_read,
    judge=_judge,
    describe=_describe,
)
