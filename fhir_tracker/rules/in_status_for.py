"""`in_status_for: {status: calling, for: 2 business days}`: the work stays too long in a status."""

from __future__ import annotations

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, duration, no, words
from fhir_tracker.rules.source import Node, fields
from fhir_tracker.rules.words import listed, moment, named, span, status_named


def _read(node: Node, draft: Draft) -> Args | None:
    given = fields(node, draft.problems, ("for",), ("status",))
    if given is None:
        return None
    codes = tuple(draft.reference(text, "status", draft.statuses) for text in given.texts("status"))
    for_ = given.duration("for")
    return {"status": codes, "for": for_} if for_ and all(codes) else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    program, facts, now = case.program, case.facts, case.now
    item, wanted = facts.item, words(args, "status")
    used = {"status": item.status, "since": instant(item.status_since), "allowed": str(args["for"])}
    state = status_named(program, item.status)
    if wanted and item.status not in wanted:
        return no(f"{named(program, item)} is {state}", used)
    too_long = later(program.calendar, item.status_since, duration(args, "for"))
    if now < too_long:
        until = moment(program.calendar, too_long)
        return no(f"{named(program, item)} is {state}, allowed until {until}", used, too_long)
    since = moment(program.calendar, item.status_since)
    why = f"{named(program, item)} has been {state} for {span(now - item.status_since)}, since {since}"
    return (Verdict(holds=True, why=why, facts=used, since=too_long),)


def _describe(args: Args) -> str:
    status = listed(words(args, "status"), "or")
    return f"it has been {status or 'in one status'} for {duration(args, 'for')}"


PREDICATE = Predicate(
    name="in_status_for",
    takes="{status: a code or a list (any when left out), for: a duration}",
    says="the work has been in one of these statuses for at least that long",
    subjects=("task",),
    read=_read,
    judge=_judge,
    describe=_describe,
)
