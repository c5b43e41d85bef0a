"""`reason: [prior-auth-pending]`: the present status, or the plan's present stage, was chosen for one of these reasons."""

from __future__ import annotations

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Facts, Verdict
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, no, words
from fhir_tracker.rules.source import Node, texts_of
from fhir_tracker.rules.words import listed, named


def read_reasons(node: Node, draft: Draft) -> tuple[str, ...]:
    """Codes of the program's `reasons`; of any, with a problem noted, where it has none."""
    known = tuple(one.code for one in draft.reasons)
    codes = tuple(draft.reference(text, "reason", known) for text in texts_of(node, draft.problems))
    return codes if all(codes) else ()


def reason_now(facts: Facts) -> str:
    """The coded reason of the item's last change of status or stage; "" when none was chosen."""
    rows = [one for one in facts.log if one.what in ("status", "stage")]
    last = max(rows, key=lambda one: (one.effective_at, one.recorded_at), default=None)
    return (last.reason_code or "") if last else ""


def _read(node: Node, draft: Draft) -> Args | None:
    codes = read_reasons(node, draft)
    return {"codes": codes} if codes else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    code, item = reason_now(case.facts), case.facts.item
    used = {"reason": code or "none", "status": item.status}
    if code not in words(args, "codes"):
        return no(f"{named(case.program, item)} is {item.status} for {code or 'no coded reason'}", used)
    title = next((one.title for one in case.program.reasons if one.code == code), "") or code
    used["since"] = instant(item.status_since)
    return (Verdict(holds=True, why=f"the reason is {title.lower()}", facts=used, since=item.status_since),)


PREDICATE = Predicate(
    name="reason",
    takes="the code of one of the program's `reasons`, or a list of them",
    says="the present status, or the plan's stage, was chosen for one of these reasons",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=lambda args: f"the reason is {listed(words(args, 'codes'), 'or')}",
)
