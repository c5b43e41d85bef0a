"""`plan_for: 30 days`, or `{after: discharge, for: 30 days}`: the plan has gone on for that long."""

from __future__ import annotations

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.moments import own_moment
from fhir_tracker.rules.predicate import Args, Case, Predicate, duration, no, word
from fhir_tracker.rules.source import Node, Text, choice_of, duration_of, fields
from fhir_tracker.rules.words import moment, span


def _read(node: Node, draft: Draft) -> Args | None:
    if isinstance(node, Text):
        for_ = duration_of(node, draft.problems)
        return {"for": for_, "after": "enrolment"} if for_ else None
    given = fields(node, draft.problems, ("for",), ("after",))
    after = given.node("after") if given else None
    for_ = given.duration("for") if given else None
    name = choice_of(after, draft.anchors, draft.problems, "moment") if after else "enrolment"
    return {"for": for_, "after": name} if for_ and name else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    name, calendar = word(args, "after"), case.program.calendar
    start = own_moment(case.facts, name)
    if start is None:
        return no(f"{name} has not been", {name: "none"})
    used = {name: instant(start), "for": str(duration(args, "for"))}
    begins = later(calendar, start, duration(args, "for"))
    if case.now < begins:
        until = moment(calendar, begins)
        return no(f"{name} was on {moment(calendar, start)}, {duration(args, 'for')} are over on {until}", used, begins)
    why = f"{name} was {span(case.now - start)} ago, on {moment(calendar, start)}"
    return (Verdict(holds=True, why=why, facts=used, since=begins),)


PREDICATE = Predicate(
    name="plan_for",
    takes="a duration, or {for: a duration, after: a moment of the plan (enrolment)}",
    says="at least that long has passed since the enrolment, or another moment of the plan",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=lambda args: f"{duration(args, 'for')} have passed since {word(args, 'after')}",
)
