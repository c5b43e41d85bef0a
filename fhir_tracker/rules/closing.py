"""Work that moves by itself: closed by its evidence (`done_by`), or back from a hold that ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.effects import SetStatus
from fhir_tracker.model.facts import Facts, Finding, Verdict
from fhir_tracker.model.program import DoneBy, Program, TaskTemplate
from fhir_tracker.model.work import Event, FiringKey, WorkItem
from fhir_tracker.rules.calendar import day_start
from fhir_tracker.rules.documents import expectations, satisfied
from fhir_tracker.rules.events import WAITING, fits, in_order, named_match
from fhir_tracker.rules.words import event_named, moment, span

FILED = ("DiagnosticReport", "DocumentReference", "Observation", "QuestionnaireResponse")
"""What bears the day it was written, and often arrives after the work was made because it was missing."""
DONE_BY = "done-by"
HOLD_END = "hold-end"


def done_by(program: Program, facts: Facts) -> tuple[SetStatus, Finding] | None:
    """The closing of a task by its evidence and why; None when it has no `done_by` or nothing matches yet.

    The evidence must be from the work's time: after the task's creation, or after the moment its due time counts from or
    the event it is about when that is earlier. An appointment counts by its start, an attempt only when it is about the
    task, a document or result of work that does not recur from the day of the plan's first anchor on; a document that the
    program expects closes the work that misses it, and no other. After a reopening only what arrived since then counts.
    """
    template = program.task(facts.item.code)
    if template is None or template.done_by is None:
        return None
    reopened = _reopened_at(program, facts)
    document = next((one for one in program.documents if one.satisfied_by == template.done_by.match), None)
    awaited = {one.ref: one.due for one in expectations(program, facts, document)} if document else {}
    if document and (ref := facts.item.focus or "") in awaited:
        fresh = tuple(one for one in facts.events if one.type != document.satisfied_by.type or _is_new(one, reopened))
        evidence = satisfied(program, replace(facts, events=fresh), document).get(ref)
    else:
        evidence = _happened(program, facts, template, template.done_by, reopened)
    if evidence is None:
        return None
    due = awaited.get(facts.item.focus or "") if document else None
    return _closed(facts, template.done_by.status, evidence, due)


def _happened(
    program: Program, facts: Facts, template: TaskTemplate, done: DoneBy, reopened: datetime | None
) -> Event | None:
    begin = _begin(program, facts, template)
    for event in in_order(facts.events):
        if _is_evidence(program, done, facts.item, event) and event.began >= begin and _is_new(event, reopened):
            return event
    return None


def _is_new(event: Event, reopened: datetime | None) -> bool:
    return reopened is None or event.seen_at > reopened


def hold_end(program: Program, facts: Facts, now: datetime) -> tuple[SetStatus, Finding] | None:
    """The return from a hold whose time or event has come, and why; None while it lasts or when there is none."""
    item, status = facts.item, program.status(facts.item.status)
    paused = status.clock == "paused" if status else item.clock == "paused"
    if not paused:
        return None
    evidence = _hold_event(program, facts)
    if evidence is None and (item.hold_until is None or now < item.hold_until):
        return None
    until = moment(program.calendar, item.hold_until) if item.hold_until else ""
    why = f"the hold ended: {event_named(evidence)} arrived" if evidence else f"the hold ended: it was until {until}"
    key = FiringKey(item=item.ref, rule=HOLD_END, cycle=f"{item.cycle}:{instant(item.status_since)}", level=0)
    refs = (evidence.ref,) if evidence else ()
    effect = SetStatus(key=key, status=_before_hold(program, facts), reason=why, evidence=refs)
    return effect, _finding(HOLD_END, "End of hold", why, effect)


def _is_evidence(program: Program, done: DoneBy, item: WorkItem, event: Event) -> bool:
    if not fits(done.match, event, calendar=program.calendar):
        return False
    if event.ref == item.focus:
        return _has_moved_on(item, event)
    return event.type != "Communication" or item.ref in event.about


def _has_moved_on(item: WorkItem, event: Event) -> bool:
    """Whether the appointment that made the work has since been moved to a later time, or taken place after all."""
    if event.type != "Appointment" or event.seen_at <= item.created_at:
        return False
    return event.status not in WAITING or event.began > item.created_at


def _begin(program: Program, facts: Facts, template: TaskTemplate) -> datetime:
    moments = [facts.item.created_at]
    dated = template.done_by is not None and template.done_by.match.type in FILED
    if facts.plan and dated and template.on != "cadence" and facts.item.focus is None:
        moments.extend(day_start(program.calendar, one) for one in facts.plan.anchors.values())
    if template.due and facts.plan and template.due.anchor in facts.plan.anchors:
        moments.append(facts.plan.anchors[template.due.anchor])
    about = (one for one in facts.events if one.ref == facts.item.focus)
    moments.extend(min(one.began, one.seen_at) for one in about)
    return min(moments)


def _reopened_at(program: Program, facts: Facts) -> datetime | None:
    moments = [
        one.effective_at
        for one in facts.log
        if one.what == "status" and program.clock_in(one.before or "") == "stopped"
    ]
    return max(moments, default=None)


def _closed(facts: Facts, status: str, event: Event, due: datetime | None) -> tuple[SetStatus, Finding]:
    """The closing; what arrived after it was due is said to be late, in the row and in a note on the work."""
    is_late = due is not None and event.seen_at > due
    late = f", which arrived {span(event.seen_at - due)} late" if due is not None and is_late else ""
    why = f"done: {event_named(event)}{late}"
    key = FiringKey(item=facts.item.ref, rule=DONE_BY, cycle=f"{facts.item.cycle}:{event.ref}", level=0)
    effect = SetStatus(key=key, status=status, reason=why, evidence=(event.ref,), note=why if is_late else "")
    return effect, _finding(DONE_BY, "Done by itself", why, effect)


def _hold_event(program: Program, facts: Facts) -> Event | None:
    status = program.status(facts.item.status)
    name = facts.item.hold_event or (status.hold_event if status else "")
    match = named_match(program, name) if name else None
    if match is None:
        return None
    arrived = (one for one in in_order(facts.events) if one.seen_at > facts.item.status_since)
    return next((one for one in arrived if fits(match, one, calendar=program.calendar)), None)


def _before_hold(program: Program, facts: Facts) -> str:
    """The last running status before the hold, by the log; else where tasks of this kind start."""
    for one in sorted(facts.log, key=lambda row: row.effective_at, reverse=True):
        status = program.status(one.before or "") if one.what == "status" else None
        if status and status.clock == "running":
            return status.code
    template = program.task(facts.item.code)
    first = program.status(template.initial) if template else None
    running = (one for one in (first, *program.statuses) if one and one.clock == "running")
    return next(running, program.statuses[0]).code


def _finding(rule: str, title: str, why: str, effect: SetStatus) -> Finding:
    facts = {"status": effect.status, "evidence": ", ".join(effect.evidence) or "none"}
    return Finding(rule=rule, title=title, verdict=Verdict(holds=True, why=why, facts=facts))
