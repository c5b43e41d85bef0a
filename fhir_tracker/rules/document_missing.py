"""`document_missing: tcm-note`: an expected document of the program is not there in time.

Each event it is expected after is a case of its own, named by that event. A document that names the event belongs to it
alone; others go to the latest such event at or before them that has none yet. A document counts from the start of the
local day of the event, for its date may have no time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.facts import Facts, Verdict
from fhir_tracker.model.program import ExpectedDocument, Program
from fhir_tracker.model.work import Event
from fhir_tracker.rules.calendar import add, day_start
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.events import fits, in_order, named_match, service_codes
from fhir_tracker.rules.predicate import Args, Case, Predicate, begin, no, word
from fhir_tracker.rules.source import Node
from fhir_tracker.rules.words import moment, span


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One event a document is expected after: its reference (empty for a moment of the plan), from when, until when."""

    ref: str
    opens: datetime
    after: datetime
    due: datetime


def expectations(program: Program, facts: Facts, document: ExpectedDocument) -> tuple[Expectation, ...]:
    """Every moment in the plan's life after which the document is expected, oldest first."""
    calendar = program.calendar
    anchors = facts.plan.anchors if facts.plan else {}
    started = facts.plan.started if facts.plan else facts.item.created_at
    if document.after in anchors or document.after == "enrolment":
        at = anchors.get(document.after, started)
        return (_expected(program, document, "", at, at),)
    match = named_match(program, document.after, service_codes(program, document.service or ""))
    if match is None:
        return ()
    events = (one for one in in_order(facts.events) if one.at >= begin(facts))
    found = (one for one in events if fits(match, one, calendar=calendar))
    return tuple(_expected(program, document, one.ref, one.start or one.at, one.at) for one in found)


def satisfied(program: Program, facts: Facts, document: ExpectedDocument) -> Mapping[str, Event]:
    """The document that satisfies each expectation, by the expectation's event reference."""
    expected = expectations(program, facts, document)
    by_ref = {one.ref: one for one in expected}
    filed = [one for one in in_order(facts.events) if fits(document.satisfied_by, one, calendar=program.calendar)]
    found: dict[str, Event] = {}
    for one in filed:
        named = [ref for ref in one.about if ref in by_ref]
        for ref in named:
            found.setdefault(ref, one)
    for one in filed:
        if not by_ref.keys() & set(one.about):
            free = [each for each in expected if each.ref not in found and one.at >= each.opens]
            if free:
                found[free[-1].ref] = one
    return found


def _expected(program: Program, document: ExpectedDocument, ref: str, start: datetime, at: datetime) -> Expectation:
    due = add(program.calendar, at, document.within)
    return Expectation(ref=ref, opens=day_start(program.calendar, start), after=at, due=due)


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
    return tuple(_missing(case, document, one, next_change) for one in late)


def _missing(case: Case, document: ExpectedDocument, one: Expectation, next_change: datetime | None) -> Verdict:
    due, after = moment(case.program.calendar, one.due), one.ref or document.after
    why = f"{document.title} is missing for {span(case.now - one.due)}: expected by {due}, within {document.within}"
    return Verdict(
        holds=True,
        why=f"{why} after {after}",
        facts={"document": document.code, "after": after, "due": instant(one.due)},
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
