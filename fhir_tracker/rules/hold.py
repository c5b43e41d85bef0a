"""`hold: {for: 14 days, reason: prior-auth-pending}`: the work is paused, for that long, for that reason.

`without_end: true`: no time and no event ends it; `ends_within`: its time is over so soon.
"""

from __future__ import annotations

from datetime import datetime

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import Duration
from fhir_tracker.rules.calendar import later, sooner
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, no, words
from fhir_tracker.rules.reason import read_reasons, reason_now
from fhir_tracker.rules.sla import clock_of
from fhir_tracker.rules.source import Node, Text, choice_of, fields
from fhir_tracker.rules.words import listed, moment, named, span, status_named


def _read(node: Node, draft: Draft) -> Args | None:
    if isinstance(node, Text):
        return {"for": None, "ends": None, "without_end": False} if choice_of(node, ("true",), draft.problems) else None
    given = fields(node, draft.problems, (), ("for", "reason", "without_end", "ends_within"))
    if given is None:
        return None
    reason = given.node("reason")
    codes = read_reasons(reason, draft) if reason else ()
    without = given.choice("without_end", ("true", "false"), "false") == "true"
    if without and given.node("ends_within"):
        draft.problems.add(given.table.keys["ends_within"], 'a hold "without_end" ends at no time')
    return {
        "for": given.duration("for"),
        "ends": given.duration("ends_within"),
        "without_end": without,
        "reason": codes,
    }


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    program, facts, now = case.program, case.facts, case.now
    item, calendar = facts.item, program.calendar
    code, status = reason_now(facts), program.status(item.status)
    event = item.hold_event or (status.hold_event if status else "")
    used = {
        "status": item.status,
        "reason": code or "none",
        "since": instant(item.status_since),
        "until": instant(item.hold_until) if item.hold_until else "none",
        "event": event or "none",
    }
    if clock_of(program, facts) != "paused":
        return no(f"{named(program, item)} is {status_named(program, item.status)}, not on hold", used)
    if (wanted := words(args, "reason")) and code not in wanted:
        return no(f"{named(program, item)} is on hold for {code or 'no coded reason'}", used)
    if args["without_end"] and (item.hold_until or event):
        return no(
            f"the hold ends {'on ' + moment(calendar, item.hold_until) if item.hold_until else 'with ' + event}", used
        )
    begins = _begins(case, args)
    if begins is None:
        return no("the hold ends at no time", used)
    if now < begins:
        return no(f"{named(program, item)} is on hold since {moment(calendar, item.status_since)}", used, begins)
    until = (
        f", until {moment(calendar, item.hold_until)}" if item.hold_until else ", without an end" if not event else ""
    )
    why = f"{named(program, item)} has been {status_named(program, item.status)} for {span(now - item.status_since)}{until}"
    return (Verdict(holds=True, why=why, facts=used, since=begins),)


def _begins(case: Case, args: Args) -> datetime | None:
    """When it begins to hold, as far as time decides; None for never."""
    item, calendar = case.facts.item, case.program.calendar
    for_, ends, begins = args["for"], args["ends"], item.status_since
    if isinstance(for_, Duration):
        begins = later(calendar, begins, for_)
    if isinstance(ends, Duration):
        if item.hold_until is None:
            return None
        begins = max(begins, sooner(calendar, item.hold_until, ends))
    return begins


def _describe(args: Args) -> str:
    why = f" for {listed(words(args, 'reason'), 'or')}" if words(args, "reason") else ""
    for_ = f" for {args['for']} or longer" if args["for"] else ""
    end = " without an end" if args["without_end"] else f", which ends within {args['ends']}" if args["ends"] else ""
    return f"it is on hold{why}{for_}{end}"


PREDICATE = Predicate(
    name="hold",
    takes="true, or {for: a duration, reason: a coded reason or a list, without_end: true, ends_within: a duration}",
    says="the work is on hold: for that long, for one of these reasons, without an end, or with one that comes so soon",
    subjects=("task",),
    read=_read,
    judge=_judge,
    describe=_describe,
)
