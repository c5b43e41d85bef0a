"""`overdue_by: 4 business hours`: the work is late by at least that much; `0 hours` is late at all."""

from __future__ import annotations

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, duration, earliest, no
from fhir_tracker.rules.sla import clock_changes, clock_of, clock_said, sla_due
from fhir_tracker.rules.source import Node, duration_of
from fhir_tracker.rules.words import moment, named, span, status_named


def _read(node: Node, draft: Draft) -> Args | None:
    by = duration_of(node, draft.problems)
    return {"by": by} if by else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    program, facts, now = case.program, case.facts, case.now
    due, item = sla_due(program, facts, now), facts.item
    if due is None:
        return no(f"{named(program, item)} has no due time", {"due": "none"})
    used = {"due": instant(due), "status": item.status, "allowed": str(duration(args, "by"))}
    when = moment(program.calendar, due)
    changes = clock_changes(program, facts, now)
    if clock_of(program, facts, now) != "running":
        return no(clock_said(program, facts, now, status_named(program, item.status)), used, changes)
    late = later(program.calendar, due, duration(args, "by"))
    if now < late:
        return no(
            f"{named(program, item)} is due {when}, late from {moment(program.calendar, late)}",
            used,
            earliest(now, (late, changes)),
        )
    why = f"{named(program, item)} is {span(now - due)} late: due {when}, still {status_named(program, item.status)}"
    return (Verdict(holds=True, why=why, facts=used, since=late, next_change=changes),)


def _describe(args: Args) -> str:
    by = duration(args, "by")
    return f"it is overdue by {by} or more" if by.amount else "it is overdue"


PREDICATE = Predicate(
    name="overdue_by",
    takes="a duration",
    says="the due time, moved by pauses, passed at least that long ago; never while the clock is paused",
    subjects=("task",),
    read=_read,
    judge=_judge,
    describe=_describe,
)
