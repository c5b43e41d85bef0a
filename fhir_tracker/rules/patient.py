"""`patient: deceased`: what the record says of the patient: deceased, inactive, moved, or merged into another record.

A Flag with the code of the exception, put up by hand, says the same as the record. `moved` counts after the plan began,
by the home addresses of the record and their periods.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Facts, Verdict
from fhir_tracker.model.vocabulary import FLAG_SYSTEM
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, begin, earliest, marks_up, no, words
from fhir_tracker.rules.source import Node, texts_of
from fhir_tracker.rules.words import listed, moment

STATES: Final = ("deceased", "inactive", "moved", "merged")
_SAID: Final = {
    "deceased": "the patient has died",
    "inactive": "the patient's record is inactive",
    "moved": "the patient has moved",
    "merged": "the patient's record was merged into another",
}
Found = tuple[str, datetime | None, str]
"""State, since when (None: not known), and what says so."""


def _read(node: Node, draft: Draft) -> Args | None:
    codes = tuple(draft.reference(text, "state", STATES) for text in texts_of(node, draft.problems))
    return {"states": codes} if codes and all(codes) else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    wanted = words(args, "states")
    found = [one for one in _states(case.facts) if one[0] in wanted]
    marks = {state: marks_up(case.facts, (f"{FLAG_SYSTEM}|{state}",), case.now) for state in wanted}
    found += [(state, one.start or one.seen_at, one.ref) for state, up in marks.items() for one in up]
    ends = [end for up in marks.values() for one in up if (end := one.end)]
    now = [one for one in found if one[1] is None or one[1] <= case.now]
    used = {"patient": case.facts.patient.ref if case.facts.patient else case.facts.item.patient or "none"}
    used |= {state: ref if since is None else f"{ref} since {instant(since)}" for state, since, ref in found}
    change = earliest(case.now, (*(since for _, since, _ in found), *ends))
    if not now:
        return no(f"the record does not say that the patient is {listed(wanted, 'or')}", used, change)
    state, since, ref = min(now, key=lambda one: (one[1] is not None, str(one[1]), one[0]))
    when = f" ({moment(case.program.calendar, since)})" if since else ""
    return (Verdict(holds=True, why=f"{_SAID[state]}{when}: {ref}", facts=used, since=since, next_change=change),)


def _states(facts: Facts) -> Iterator[Found]:
    known = facts.patient
    if known is None:
        if facts.deceased:
            yield "deceased", None, f"Patient/{facts.item.patient}"
        return
    if known.deceased_at or facts.deceased:
        yield "deceased", known.deceased_at, known.ref
    if known.inactive_since:
        yield "inactive", known.inactive_since, known.ref
    if known.merged_at:
        yield "merged", known.merged_at, f"Patient/{known.merged_into}" if known.merged_into else known.ref
    if known.moved_at and known.moved_at >= begin(facts):
        yield "moved", known.moved_at, known.ref


PREDICATE = Predicate(
    name="patient",
    takes=f"one of {', '.join(STATES)}, or a list of them",
    says="the record, or a Flag put up by hand, says that the patient has died, left, moved since the plan began, or was "
    "merged into another record",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=lambda args: f"the patient is {listed(words(args, 'states'), 'or')}",
)
