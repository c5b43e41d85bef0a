"""`priority: [urgent, stat]`: the work has one of these priorities."""

from __future__ import annotations

from typing import Final

from fhir_tracker.model.facts import Verdict
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, no, words
from fhir_tracker.rules.source import Node, texts_of
from fhir_tracker.rules.words import listed

PRIORITIES: Final = ("routine", "urgent", "asap", "stat")
"""Task.priority: https://hl7.org/fhir/R4/valueset-request-priority.html"""


def _read(node: Node, draft: Draft) -> Args | None:
    codes = tuple(draft.reference(text, "priority", PRIORITIES) for text in texts_of(node, draft.problems))
    return {"codes": codes} if codes and all(codes) else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    facts = case.facts
    item, used = facts.item, {"priority": facts.item.priority}
    if item.priority not in words(args, "codes"):
        return no(f"the priority is {item.priority}", used)
    set_at = (one.effective_at for one in facts.log if one.what == "priority" and one.after == item.priority)
    since = max(set_at, default=item.created_at)
    return (Verdict(holds=True, why=f"the priority is {item.priority}", facts=used, since=since),)


PREDICATE = Predicate(
    name="priority",
    takes=f"one of {', '.join(PRIORITIES)}, or a list of them",
    says="the work has one of these priorities",
    subjects=("task",),
    read=_read,
    judge=_judge,
    describe=lambda args: f"its priority is {listed(words(args, 'codes'), 'or')}",
)
