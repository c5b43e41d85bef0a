"""`stage: active`: the plan is in one of these stages."""

from __future__ import annotations

from fhir_tracker.model.facts import Verdict
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, no, words
from fhir_tracker.rules.source import Node, texts_of
from fhir_tracker.rules.words import listed


def _read(node: Node, draft: Draft) -> Args | None:
    codes = tuple(draft.reference(text, "stage", draft.stages) for text in texts_of(node, draft.problems))
    return {"codes": codes} if codes and all(codes) else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    facts = case.facts
    item = facts.item
    stage = facts.plan.stage if facts.plan else item.status if item.kind == "plan" else ""
    used = {"stage": stage or "none"}
    if stage not in words(args, "codes"):
        return no(f"the plan's stage is {stage or 'unknown'}", used)
    moved = (one.effective_at for one in facts.log if one.what == "stage" and one.after == stage)
    since = max(moved, default=facts.plan.started if facts.plan else item.created_at)
    return (Verdict(holds=True, why=f"the plan's stage is {stage}", facts=used, since=since),)


PREDICATE = Predicate(
    name="stage",
    takes="a stage's code or a list of them",
    says="the plan is in one of these stages",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=lambda args: f"the plan's stage is {listed(words(args, 'codes'), 'or')}",
)
