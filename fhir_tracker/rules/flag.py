"""`flag: high-risk`: the patient carries an active Flag with one of these codes."""

from __future__ import annotations

from fhir_tracker.model.facts import Verdict
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.events import has_code, in_order
from fhir_tracker.rules.predicate import Args, Case, Predicate, earliest, no, words
from fhir_tracker.rules.source import Node, texts_of
from fhir_tracker.rules.words import listed


def _read(node: Node, draft: Draft) -> Args | None:
    codes = tuple(text.value for text in texts_of(node, draft.problems))
    return {"codes": codes} if codes else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    facts, now = case.facts, case.now
    codes = words(args, "codes")
    flags = [
        one
        for one in in_order(facts.events)
        if one.type == "Flag" and one.status == "active" and has_code(one, codes) and (one.end is None or now < one.end)
    ]
    if not flags:
        return no(f"the patient has no active flag {listed(codes, 'or')}", {"flag": "none"})
    first = flags[0]
    return (
        Verdict(
            holds=True,
            why=f"the patient has the active flag {listed(codes, 'or')} ({first.ref})",
            facts={"flag": first.ref},
            since=first.start or first.seen_at,
            next_change=earliest(now, (one.end for one in flags)),
        ),
    )


PREDICATE = Predicate(
    name="flag",
    takes="a flag's code (system|code or code) or a list of them",
    says="the patient has an active Flag with one of these codes",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=lambda args: f"the patient has the flag {listed(words(args, 'codes'), 'or')}",
)
