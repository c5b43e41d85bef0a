"""`untouched_for: 2 business days`: nobody has done anything about the work for that long.

What people change of it (status, owner, due time, priority, a note) is a touch, and so is an outreach attempt about it;
what a rule changes is none, but the end of a pause begins the time anew. Never while the clock is paused.
"""

from __future__ import annotations

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import Program
from fhir_tracker.model.work import Transition
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.outreach_failed import attempts
from fhir_tracker.rules.predicate import Args, Case, Predicate, duration, earliest, no
from fhir_tracker.rules.sla import clock_changes, clock_of, clock_said, pauses
from fhir_tracker.rules.source import Node, duration_of
from fhir_tracker.rules.words import moment, named, span, status_named


def _read(node: Node, draft: Draft) -> Args | None:
    for_ = duration_of(node, draft.problems)
    return {"for": for_} if for_ else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    program, facts, now = case.program, case.facts, case.now
    item, calendar = facts.item, program.calendar
    tries = attempts(facts)
    tried = [one.began for one in tries]
    rows = [one.effective_at for one in facts.log if _is_touch(program, one)]
    ended = [end for _, end in pauses(program, facts) if end is not None]
    known = (item.created_at, *(at for at in (*tried, *rows, *ended) if at <= now))
    last = max(known)
    used = {"touched": instant(last), "status": item.status, "allowed": str(args["for"])}
    if by := [one.ref for one in tries if one.began == last]:
        used["by"] = " ".join(by)
    changes = earliest(now, (clock_changes(program, facts, now), *tried, *rows, *ended))
    if clock_of(program, facts, now) != "running":
        return no(clock_said(program, facts, now, status_named(program, item.status)), used, changes)
    too_long = later(calendar, last, duration(args, "for"))
    if now < too_long:
        until = moment(calendar, too_long)
        why = f"{named(program, item)} was touched on {moment(calendar, last)}, allowed until {until}"
        return no(why, used, earliest(now, (too_long, changes)))
    why = f"nobody has touched {named(program, item)} for {span(now - last)}, since {moment(calendar, last)}"
    return (Verdict(holds=True, why=why, facts=used, since=too_long, next_change=changes),)


def _is_touch(program: Program, row: Transition) -> bool:
    before = program.status(row.before or "") if row.what == "status" else None
    return row.rule is None or (before is not None and before.clock == "paused")


PREDICATE = Predicate(
    name="untouched_for",
    takes="a duration",
    says="nobody has changed the work or tried the patient about it for at least that long; never while the clock is paused",
    subjects=("task",),
    read=_read,
    judge=_judge,
    describe=lambda args: f"nobody has touched it for {duration(args, 'for')}",
)
