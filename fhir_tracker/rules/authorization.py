"""`authorization: {is: pending, for: 5 business days}`: what the payer last said to a request for prior authorisation.

Each request (by what the ClaimResponse answers) is a case of its own, and only its last answer counts. A Flag
`prior-auth-pending` or `prior-auth-denied` that is put up by hand says the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from fhir_tracker.model.authorizations import ANSWERS
from fhir_tracker.model.facts import Facts, Verdict
from fhir_tracker.model.program import Duration
from fhir_tracker.model.vocabulary import FLAG_SYSTEM
from fhir_tracker.model.work import Event
from fhir_tracker.rules.calendar import later
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, duration, earliest, marks_up, no, words
from fhir_tracker.rules.source import Node, Table, fields, texts_of
from fhir_tracker.rules.words import listed, moment, span

_AT_ONCE = Duration(amount=0, unit="hours")
Answer = tuple[str, str, datetime, str]
"""The answer, its case, since when it is so, and what says it."""


def _read(node: Node, draft: Draft) -> Args | None:
    given = fields(node, draft.problems, ("is",), ("for",)) if isinstance(node, Table) else None
    if isinstance(node, Table) and given is None:
        return None
    texts = given.texts("is") if given else texts_of(node, draft.problems)
    codes = tuple(draft.reference(text, "answer", ANSWERS) for text in texts)
    for_ = (given.duration("for") if given else None) or _AT_ONCE
    return {"is": codes, "for": for_} if codes and all(codes) else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    known = [*_answers(case.facts), *_marks(case.facts, case.now)]
    used = {f"authorization {name}": f"{answer} ({ref})" for answer, name, _, ref in known} or {"authorization": "none"}
    begins = [
        (one, later(case.program.calendar, one[2], duration(args, "for")))
        for one in known
        if one[0] in words(args, "is")
    ]
    ends = (one.end for code in ("pending", "denied") for one in _flags(case.facts, code, case.now))
    change = earliest(case.now, (*(at for _, at in begins), *ends))
    now = [(one, at) for one, at in begins if at <= case.now]
    if not now:
        said = listed(sorted({one[0] for one in known}), "and")
        return no(f"prior authorisation is {said or 'not asked for'}", used, change)
    return tuple(
        Verdict(
            holds=True,
            why=f"prior authorisation is {one[0]} for {span(case.now - one[2])}, "
            f"since {moment(case.program.calendar, one[2])} ({one[3]})",
            facts=used,
            since=at,
            next_change=change,
            occurrence=one[1],
        )
        for one, at in now
    )


def _answers(facts: Facts) -> Iterator[Answer]:
    """The last answer to each request, and since when it has been the same."""
    requests: dict[str, list[Event]] = {}
    for one in facts.by_type.get("ClaimResponse", ()):
        if one.status == "active" and one.detail.get("authorization"):
            requests.setdefault(next(iter(one.about), one.ref), []).append(one)
    for some in requests.values():
        last = some[-1].detail["authorization"]
        same = len(some) - 1
        while same and some[same - 1].detail["authorization"] == last:
            same -= 1
        yield last, some[0].ref, some[same].start or some[same].seen_at, some[-1].ref


def _marks(facts: Facts, now: datetime) -> Iterator[Answer]:
    for answer in ("pending", "denied"):
        for one in _flags(facts, answer, now):
            yield answer, one.ref, one.start or one.seen_at, one.ref


def _flags(facts: Facts, answer: str, now: datetime) -> tuple[Event, ...]:
    return marks_up(facts, (f"{FLAG_SYSTEM}|prior-auth-{answer}",), now)


def _describe(args: Args) -> str:
    for_ = duration(args, "for")
    return f"prior authorisation is {listed(words(args, 'is'), 'or')}{f' for {for_}' if for_.amount else ''}"


PREDICATE = Predicate(
    name="authorization",
    takes=f"one of {', '.join(ANSWERS)} or a list of them, or {{is: these, for: a duration}}",
    says="a payer's last answer to a request for prior authorisation (ClaimResponse), or a Flag put up by hand, is that; "
    "each request is a case",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=_describe,
)
