"""`document_missing: tcm-note`: an expected document of the program is not there in time.

Each event it is expected after is a case of its own, named by that event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Verdict
from fhir_tracker.model.program import ExpectedDocument
from fhir_tracker.model.work import Event
from fhir_tracker.rules.documents import Expectation, NearMiss, expectations, near_facts, near_misses, satisfied
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, no, word
from fhir_tracker.rules.source import Node
from fhir_tracker.rules.words import moment, span


def _read(node: Node, draft: Draft) -> Args | None:
    code = draft.reference(node, "document", draft.documents)
    return {"document": code} if code else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    document = case.program.document(word(args, "document"))
    if document is None:
        return no(f"the program expects no document {word(args, 'document')}", {"document": word(args, "document")})
    expected = expectations(case.program, case.facts, document)
    found = satisfied(case.program, case.facts, document)
    open_ = [one for one in expected if one.ref not in found]
    next_change = min((one.due for one in open_ if one.due > case.now), default=None)
    late = [one for one in open_ if one.due <= case.now]
    if not late:
        return no(_nothing(case, document, expected, open_), _used(document, expected, found.values()), next_change)
    near = near_misses(case.program, case.facts, document)
    return tuple(_missing(case, document, one, near.get(one.ref, ()), next_change) for one in late)


def _missing(
    case: Case,
    document: ExpectedDocument,
    one: Expectation,
    near: tuple[NearMiss, ...],
    next_change: datetime | None,
) -> Verdict:
    due, after = moment(case.program.calendar, one.due), one.ref or document.after
    why = f"{document.title} is missing for {span(case.now - one.due)}: expected by {due}, within {document.within}"
    return Verdict(
        holds=True,
        why="; ".join(
            (f"{why} after {after}", *(str(miss) if miss.under else f"{miss}, not here" for miss in near[:3]))
        ),
        facts={"document": document.code, "after": after, "due": instant(one.due)} | near_facts(near),
        since=one.due,
        next_change=next_change,
        occurrence=one.ref,
    )


def _nothing(case: Case, document: ExpectedDocument, expected: Iterable[Expectation], open_: list[Expectation]) -> str:
    if open_:
        return f"{document.title} is expected by {moment(case.program.calendar, min(one.due for one in open_))}"
    return f"{document.title} is there" if list(expected) else f"nothing has happened yet that needs {document.title}"


def _used(document: ExpectedDocument, expected: tuple[Expectation, ...], found: Iterable[Event]) -> Mapping[str, str]:
    refs = ", ".join(sorted(one.ref for one in found)) or "none"
    return {"document": document.code, "expected": str(len(expected)), "found": refs}


PREDICATE = Predicate(
    name="document_missing",
    takes="the code of one of the program's `documents`",
    says="the document is expected after something that happened, its time is over and no matching one was filed",
    subjects=("task", "plan"),
    read=_read,
    judge=_judge,
    describe=lambda args: f"the document {word(args, 'document')} is missing",
)
