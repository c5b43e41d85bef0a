"""`exception: [prior-auth-denied]`: somebody, or a rule, has flagged the plan's patient with that exception.

Unlike `flag`, each Flag that is put up is a case of its own.
"""

from __future__ import annotations

from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.vocabulary import EXCEPTIONS, FLAG_SYSTEM
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, earliest, flags_up, no, words
from fhir_tracker.rules.source import Node, texts_of
from fhir_tracker.rules.words import listed, moment


def _read(node: Node, draft: Draft) -> Args | None:
    codes = tuple(draft.reference(text, "exception", tuple(EXCEPTIONS)) for text in texts_of(node, draft.problems))
    return {"codes": codes} if codes and all(codes) else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    codes = words(args, "codes")
    up = flags_up(case.facts, tuple(f"{FLAG_SYSTEM}|{code}" for code in codes), case.now)
    used = {"exception": ", ".join(one.ref for one in up) or "none"}
    change = earliest(case.now, (one.end for one in up))
    if not up:
        return no(f"the patient is not flagged {listed(codes, 'or')}", used)
    return tuple(
        Verdict(
            holds=True,
            why=f"flagged {_named(one.codes)} on {moment(case.program.calendar, one.start or one.seen_at)} ({one.ref})",
            facts=used,
            since=one.start or one.seen_at,
            next_change=change,
            occurrence=one.ref,
        )
        for one in up
    )


def _named(codes: tuple[str, ...]) -> str:
    mine = (one.rpartition("|")[2] for one in codes if one.startswith(f"{FLAG_SYSTEM}|"))
    return EXCEPTIONS.get(next(mine, ""), "an exception").lower()


PREDICATE = Predicate(
    name="exception",
    takes=f"one of {', '.join(EXCEPTIONS)}, or a list of them",
    says="the patient is flagged with that exception, by hand or by a rule; each Flag is a case of its own",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=lambda args: f"the patient is flagged with the exception {listed(words(args, 'codes'), 'or')}",
)
