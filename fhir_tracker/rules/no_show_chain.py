"""`no_show_chain: {service: visit, times: 2, within: 90 days}`: the patient did not come that often, one after another.

A chain is one case, named by its first appointment; it ends when a later appointment of the service is booked, arrived or
fulfilled. A cancelled appointment neither adds to it nor ends it. With `grace`, a booked appointment without an outcome
counts as a no-show that long after its end.
"""

from __future__ import annotations

from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import Duration
from fhir_tracker.rules.appointment_missed import lapse, open_chain, visits_of
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, earliest, listed_facts, no, number, word, words
from fhir_tracker.rules.source import Node, fields
from fhir_tracker.rules.words import moment


def _read(node: Node, draft: Draft) -> Args | None:
    given = fields(node, draft.problems, ("times",), ("service", "within", "grace"))
    if given is None:
        return None
    service = given.texts("service")
    codes = tuple(code for text in service for code in draft.service_codes(text))
    name = ", ".join(text.value for text in service)
    times, within = given.number("times", 1), given.duration("within")
    return {"service": name, "codes": codes, "times": times, "within": within, "grace": given.duration("grace")}


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    within, calendar, times = args["within"], case.program.calendar, number(args, "times")
    visits = [one for one in visits_of(case, words(args, "codes")) if one.status != "cancelled"]
    lapses = {one.ref: lapse(case, args, one) for one in visits}
    chain, name = open_chain(visits, lapses, case)
    ends = [later(calendar, one.at, within) if isinstance(within, Duration) else None for one in chain]
    fresh = [(one, end) for one, end in zip(chain, ends, strict=True) if end is None or case.now < end]
    used = {
        "no-shows": listed_facts(chain),
        "appointments": listed_facts(visits),
        "service": word(args, "service") or "any",
    }
    change = earliest(case.now, (*lapses.values(), *ends))
    service = f" for {word(args, 'service')}" if args.get("service") else ""
    if len(fresh) < times:
        return no(f"{len(fresh) or 'no'} no-shows in a row{service}, {times} make a chain", used, change)
    last = fresh[-1][0]
    turned = fresh[times - 1][0]
    why = f"{len(fresh)} no-shows in a row{service}, the last on {moment(calendar, last.began)}; none is booked"
    since = lapses[turned.ref] or turned.seen_at
    return (Verdict(holds=True, why=why, facts=used, since=since, next_change=change, occurrence=name),)


def _describe(args: Args) -> str:
    service = f" for {word(args, 'service')}" if args.get("service") else ""
    within = f" within {args['within']}" if args["within"] else ""
    return f"{number(args, 'times')} appointments{service} in a row{within} were no-shows"


PREDICATE = Predicate(
    name="no_show_chain",
    takes="{times: a number, service: one or more, within: a duration, grace: a duration after which a booked visit without "
    "outcome counts}",
    says="the patient did not come to that many appointments in a row and none is booked; one case a chain",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=_describe,
)
