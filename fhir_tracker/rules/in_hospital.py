"""`in_hospital: true`, or `{for: 2 days}`: the patient is in hospital now, by the Encounters of a stay.

Each stay is a case of its own; a transfer belongs to the stay it goes on from.
"""

from __future__ import annotations

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import Duration
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, duration, earliest, no
from fhir_tracker.rules.source import Node, Text, choice_of, fields
from fhir_tracker.rules.stays import stays
from fhir_tracker.rules.words import moment, span

_AT_ONCE = Duration(amount=0, unit="hours")


def _read(node: Node, draft: Draft) -> Args | None:
    if isinstance(node, Text):
        return {"for": _AT_ONCE} if choice_of(node, ("true",), draft.problems, "answer") else None
    given = fields(node, draft.problems, ("for",))
    for_ = given.duration("for") if given else None
    return {"for": for_} if for_ else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    known, calendar = stays(case.facts.events), case.program.calendar
    begins = [(one, later(calendar, one.start, duration(args, "for"))) for one in known]
    change = earliest(case.now, (at for one, since in begins for at in (since, one.end)))
    stay, since = next(((one, since) for one, since in begins if one.covers(case.now)), (None, None))
    if stay is None or since is None:
        return no("the patient is not in hospital", {"stays": str(len(known))}, change)
    used = {
        "stay": ", ".join(stay.refs),
        "start": instant(stay.start),
        "end": instant(stay.end) if stay.end else "none",
    }
    if case.now < since:
        return no(f"the patient is in hospital since {moment(calendar, stay.start)}", used, change)
    why = f"the patient has been in hospital for {span(case.now - stay.start)}, since {moment(calendar, stay.start)}"
    return (Verdict(holds=True, why=why, facts=used, since=since, next_change=change, occurrence=stay.refs[0]),)


def _describe(args: Args) -> str:
    for_ = duration(args, "for")
    return f"the patient is in hospital{f' for {for_}' if for_.amount else ''}"


PREDICATE = Predicate(
    name="in_hospital",
    takes="true, or {for: a duration}",
    says="the patient is in hospital (inpatient, observation or short stay), for that long; each stay is a case",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=_describe,
)
