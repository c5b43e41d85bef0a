"""`unassigned_for: 4 business hours`: nobody owns the work, for at least that long."""

from __future__ import annotations

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, duration, no
from fhir_tracker.rules.source import Node, duration_of
from fhir_tracker.rules.words import moment, named, span


def _read(node: Node, draft: Draft) -> Args | None:
    for_ = duration_of(node, draft.problems)
    return {"for": for_} if for_ else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    program, facts, now = case.program, case.facts, case.now
    item = facts.item
    if item.owner is not None:
        return no(f"{named(program, item)} has an owner", {"owner": item.owner})
    released = (one.effective_at for one in facts.log if one.what == "owner" and not one.after)
    since = max((item.created_at, *released))
    used = {"owner": "none", "role": item.role or "none", "since": instant(since), "allowed": str(args["for"])}
    too_long = later(program.calendar, since, duration(args, "for"))
    if now < too_long:
        until = moment(program.calendar, too_long)
        return no(f"{named(program, item)} has no owner yet, allowed until {until}", used, too_long)
    where = f" in the queue of {item.role}" if item.role else ""
    why = f"{named(program, item)} has had no owner for {span(now - since)}{where}"
    return (Verdict(holds=True, why=why, facts=used, since=too_long),)


PREDICATE = Predicate(
    name="unassigned_for",
    takes="a duration",
    says="nobody has owned the work for at least that long",
    subjects=("task",),
    read=_read,
    judge=_judge,
    describe=lambda args: f"nobody has owned it for {duration(args, 'for')}",
)
