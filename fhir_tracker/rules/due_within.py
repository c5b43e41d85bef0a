"""`due_within: 1 business day`: the work is due soon and not yet late."""

from __future__ import annotations

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.rules.calendar import sooner
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, duration, earliest, no
from fhir_tracker.rules.sla import clock_changes, clock_of, clock_said, sla_due
from fhir_tracker.rules.source import Node, duration_of
from fhir_tracker.rules.words import moment, named, span, status_named


def _read(node: Node, draft: Draft) -> Args | None:
    within = duration_of(node, draft.problems)
    if within and not within.amount:
        draft.problems.add(node.place, "due_within needs more than nothing, such as 1 business day")
    return {"within": within} if within and within.amount else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    program, facts, now = case.program, case.facts, case.now
    due, item = sla_due(program, facts, now), facts.item
    if due is None:
        return no(f"{named(program, item)} has no due time", {"due": "none"})
    used = {"due": instant(due), "status": item.status, "within": str(duration(args, "within"))}
    changes = clock_changes(program, facts, now)
    if clock_of(program, facts, now) != "running":
        return no(clock_said(program, facts, now, status_named(program, item.status)), used, changes)
    soon, when = sooner(program.calendar, due, duration(args, "within")), moment(program.calendar, due)
    if not soon <= now < due:
        state = "is late already" if now >= due else f"is due {when}, not soon"
        return no(f"{named(program, item)} {state}", used, earliest(now, (soon, due, changes)))
    why = f"{named(program, item)} is due in {span(due - now)}: {when}, still {status_named(program, item.status)}"
    return (Verdict(holds=True, why=why, facts=used, since=soon, next_change=earliest(now, (due, changes))),)


PREDICATE = Predicate(
    name="due_within",
    takes="a duration",
    says="the due time comes within that long and has not passed; never while the clock is paused",
    subjects=("task",),
    read=_read,
    judge=_judge,
    describe=lambda args: f"it is due within {duration(args, 'within')}",
)
