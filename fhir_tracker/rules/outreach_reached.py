"""`outreach_reached: true`: the last try reached the patient; each such try is a case of its own.

Tries are those that `outreach_failed` counts.
"""

from __future__ import annotations

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.outreach_failed import REACHED, attempts
from fhir_tracker.rules.predicate import Args, Case, Predicate, listed_facts, no
from fhir_tracker.rules.source import Node, choice_of
from fhir_tracker.rules.words import moment


def _read(node: Node, draft: Draft) -> Args | None:
    return {} if choice_of(node, ("true",), draft.problems, "answer") else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    tries = attempts(case.facts)
    used = {"attempts": listed_facts(tries)}
    if not tries or tries[-1].detail.get("outcome") != REACHED:
        return no("the last try did not reach the patient" if tries else "nobody has tried to reach the patient", used)
    last = tries[-1]
    at = last.began
    why = f"the patient was reached on {moment(case.program.calendar, at)}"
    return (Verdict(holds=True, why=why, facts=used | {"reached": instant(at)}, since=at, occurrence=last.ref),)


PREDICATE = Predicate(
    name="outreach_reached",
    takes="true",
    says="the last outreach attempt reached the patient; each one that does is a case of its own",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=lambda _: "the patient was reached",
)
