"""`appointment: {state: booked, service: visit, ahead: 2 days}`: there is such an appointment.

`ahead`: it starts within that long from now; `within`: it was at most that long ago; without either, whenever since the
plan began. Each appointment is a case of its own, and one that is moved to another time a new one.
"""

from __future__ import annotations

from datetime import datetime

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import Duration
from fhir_tracker.model.work import Event
from fhir_tracker.rules.calendar import later, sooner
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.events import APPOINTMENT_STATES, WAITING, has_code
from fhir_tracker.rules.predicate import Args, Case, Predicate, begin, earliest, listed_facts, no, word, words
from fhir_tracker.rules.source import Node, fields
from fhir_tracker.rules.words import event_named, moment

STATES = {**APPOINTMENT_STATES, "booked": ("booked",), "waiting": WAITING, "any": ()}


def _read(node: Node, draft: Draft) -> Args | None:
    given = fields(node, draft.problems, ("state",), ("service", "ahead", "within"))
    if given is None:
        return None
    state = given.choice("state", tuple(STATES), "")
    services = given.texts("service")
    codes = tuple(code for text in services for code in draft.service_codes(text))
    ahead, within = given.duration("ahead"), given.duration("within")
    if ahead and within:
        draft.problems.add(given.table.keys["within"], 'give "ahead" or "within"')
    for key, span in (("ahead", ahead), ("within", within)):
        if span and not span.amount:
            draft.problems.add(given.table.keys[key], f'"{key}" needs more than nothing')
    service = ", ".join(text.value for text in services)
    return {"state": state, "service": service, "codes": codes, "ahead": ahead, "within": within} if state else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    codes, states, first = words(args, "codes"), STATES[word(args, "state")], begin(case.facts)
    visits = [
        one
        for one in case.facts.by_type.get("Appointment", ())
        if one.status != "entered-in-error"
        and (not states or one.status in states)
        and (not codes or has_code(one, codes))
        and one.began >= first
    ]
    spans = [(one, *_span(case, args, one)) for one in visits]
    change = earliest(case.now, (edge for _, *edges in spans for edge in edges))
    used = {"state": word(args, "state"), "service": word(args, "service") or "any", "found": listed_facts(visits)}
    now = [
        (one, since)
        for one, since, end in spans
        if (since is None or since <= case.now) and (end is None or case.now < end)
    ]
    if not now:
        return no(f"there is no such appointment ({_describe(args)})", used, change)
    return tuple(
        Verdict(
            holds=True,
            why=f"{event_named(one)} on {moment(case.program.calendar, one.began)}",
            facts=used,
            since=since or one.seen_at,
            next_change=change,
            occurrence=f"{one.ref}#{instant(one.began)}",
        )
        for one, since in now
    )


def _span(case: Case, args: Args, visit: Event) -> tuple[datetime | None, datetime | None]:
    """From when to when the appointment counts; None for always."""
    ahead, within, calendar = args["ahead"], args["within"], case.program.calendar
    if isinstance(ahead, Duration):
        return sooner(calendar, visit.began, ahead), visit.began
    if isinstance(within, Duration):
        return visit.at, later(calendar, visit.at, within)
    return None, None


def _describe(args: Args) -> str:
    service = f" for {word(args, 'service')}" if args.get("service") else ""
    when = (
        f" in the next {args['ahead']}" if args["ahead"] else f" in the last {args['within']}" if args["within"] else ""
    )
    state = "an appointment" if word(args, "state") == "any" else f"an appointment that is {word(args, 'state')}"
    return f"there is {state}{service}{when}"


PREDICATE = Predicate(
    name="appointment",
    takes=f"{{state: one of {', '.join(STATES)}, service: one or more, ahead: a duration, or within: a duration}}",
    says="there is an appointment in that state, ahead or past; each is a case, and a moved one a new one",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=_describe,
)
