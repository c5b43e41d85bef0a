"""`task: first-call`: the work is of one of these kinds."""

from __future__ import annotations

from fhir_tracker.model.facts import Verdict
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, no, words
from fhir_tracker.rules.source import Node, texts_of
from fhir_tracker.rules.words import listed


def _read(node: Node, draft: Draft) -> Args | None:
    codes = tuple(draft.reference(text, "task", draft.tasks) for text in texts_of(node, draft.problems))
    return {"codes": codes} if codes and all(codes) else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    facts = case.facts
    item, facts_used = facts.item, {"task": facts.item.code}
    if item.code not in words(args, "codes"):
        return no(f"the work is {item.code or 'of no kind'}, not {listed(words(args, 'codes'), 'or')}", facts_used)
    why = f"the work is {item.code}"
    return (Verdict(holds=True, why=why, facts=facts_used, since=item.created_at, background=True),)


PREDICATE = Predicate(
    name="task",
    takes="a task code or a list of them",
    says="the work is of one of these kinds",
    subjects=("task",),
    read=_read,
    judge=_judge,
    describe=lambda args: f"the task is {listed(words(args, 'codes'), 'or')}",
)
