"""What the answers of a form come to: a score, or why there is none, and what has to change because of it.

The latest response counts; one that is being written, was stopped or was entered in error counts for nothing. An answer is
known by the code or the words of a choice, else by its number; one that the question does not have is no answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Final

from fhir_tracker.model.answers import Answer, from_text
from fhir_tracker.model.effects import ClearFlag, Effect, RaiseFlag, RecordScore
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.forms import Form, FormItem
from fhir_tracker.model.program import Program
from fhir_tracker.model.work import Event, Firing, FiringKey
from fhir_tracker.rules.calendar import START
from fhir_tracker.rules.events import in_order
from fhir_tracker.rules.form_section import questionnaire_url
from fhir_tracker.rules.predicate import begin

COUNTS: Final = ("completed", "amended")
BEFORE: Final = timedelta(days=30)
"""How long before the plan began a form may have been filled in and still count for it."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One response: `score` None where too little was answered; `wrong` the items whose answer is none of theirs."""

    ref: str
    at: datetime
    score: Decimal | None
    answers: dict[str, Decimal]
    answered: int
    missing: tuple[str, ...]
    wrong: tuple[str, ...]


def responses(program: Program, facts: Facts, form: Form) -> tuple[Event, ...]:
    """The responses to a form that concern the plan, in any status, oldest first."""
    names = {questionnaire_url(program.code, form.code), *form.same_as}
    since = max(begin(facts), START + BEFORE) - BEFORE
    return in_order(
        one
        for one in facts.events
        if one.type == "QuestionnaireResponse"
        and one.detail.get("form", "").partition("|")[0] in names
        and one.began >= since
    )


def latest(program: Program, facts: Facts, form: Form) -> Scored | None:
    """The score of the latest response that counts."""
    counting = [one for one in responses(program, facts, form) if one.status in COUNTS]
    return scored(form, counting[-1]) if counting else None


def scored(form: Form, response: Event) -> Scored:
    """What one response comes to."""
    given, codes = from_text(response.detail.get("answers", "")), answer_codes(form)
    found: dict[str, Decimal] = {}
    wrong: list[str] = []
    for item in form.items:
        mine = [one for one in given if one.link == item.code or one.link in item.links]
        weights = {_weight(item, one, codes) for one in mine}
        if len(weights) == 1 and (weight := next(iter(weights))) is not None:
            found[item.code] = weight
        elif mine:
            wrong.append(item.code)
    counted = [one.code for one in form.scored if one.code in found]
    enough = bool(counted) and len(counted) >= form.needs
    return Scored(
        ref=response.ref,
        at=response.began,
        score=sum((found[code] for code in counted), Decimal()) if enough else None,
        answers=found,
        answered=len(counted),
        missing=tuple(one.code for one in form.scored if one.code not in found),
        wrong=tuple(wrong),
    )


def score_words(form: Form, found: Scored | None) -> str:
    """`PHQ-9 scored 12 on 9 of 9 answers`, or why there is no score."""
    if found is None:
        return f"{form.title} was not filled in"
    told = f"{found.answered} of {len(form.scored)} answers"
    wrong = f"; no answer of theirs: {', '.join(found.wrong)}" if found.wrong else ""
    if found.score is None:
        return f"{form.title} has no score: {told}, it needs {form.needs}{wrong}"
    return f"{form.title} scored {found.score} on {told}{wrong}"


def wanted(program: Program, facts: Facts) -> Iterator[Effect]:
    """The flags to put up or take down and the scores to write down, because of what forms say now; each once."""
    for form in program.forms:
        found = latest(program, facts, form)
        yield from _flags(program, facts, form, found)
        if form.score_code:
            yield from _scores(program, facts, form)


def _weight(item: FormItem, answer: Answer, known_as: Mapping[str, str]) -> Decimal | None:
    by_code = [
        one.weight for one in item.choices if answer.code and _is_code(answer.code, one.codes, known_as[one.text])
    ]
    by_text = [one.weight for one in item.choices if answer.text and one.text.casefold() == answer.text.casefold()]
    number = answer.number if answer.number is not None else answer.weight
    known = (*by_code, *by_text, *([number] if number is not None and item.weigh(number) else []))
    return next(iter(known), None)


def _is_code(code: str, codes: tuple[str, ...], own: str) -> bool:
    bare = code.rpartition("|")[2]
    return code in codes or bare in codes or bare == own


def answer_codes(form: Form) -> dict[str, str]:
    """The words of each answer -> its code in our own Questionnaire; no two answers of a form have one code.

    It is the words in small Latin letters; those that have none, or that others share, get a digest of the whole.
    """
    plain = {choice.text: _slug(choice.text) for item in form.items for choice in item.choices}
    often = Counter(plain.values())
    return {text: code if code and often[code] == 1 else _told_apart(code, text) for text, code in plain.items()}


def _slug(text: str) -> str:
    words = "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in text.casefold()).split()
    return "-".join(words)[:60].rstrip("-")


def _told_apart(code: str, text: str) -> str:
    return f"{code[:47].rstrip('-') or 'answer'}-{sha256(text.encode()).hexdigest()[:12]}"


def _flags(program: Program, facts: Facts, form: Form, found: Scored | None) -> Iterator[Effect]:
    rule = f"form:{form.code}"
    for index, flag in enumerate(form.flags):
        prior = _prior(facts, rule, index)
        last = prior[-1] if prior else None
        is_up = last is not None and last.kind == "raise-flag"
        number = (found.answers.get(flag.item) if flag.item else found.score) if found else None
        holds = number is not None and flag.holds(number)
        about = found.ref if found else ""
        is_told = last is not None and last.key.cycle.partition(":")[2] == about
        key = FiringKey(item=facts.item.ref, rule=rule, cycle=f"{len(prior)}:{about}", level=index)
        cause, why = f"{program.code}#{rule}", score_words(form, found)
        if holds and not (is_up and is_told):
            yield RaiseFlag(key=key, code=flag.code, reason=why, cause=cause)
        elif is_up and not holds and not _is_unclear(form, found, flag.item):
            yield ClearFlag(key=key, code=flag.code, reason=why, cause=cause)


def _is_unclear(form: Form, found: Scored | None, item: str) -> bool:
    """Whether a half-answered form leaves open what an earlier, whole one has said."""
    return found is not None and (item not in found.answers if item else found.score is None)


def _scores(program: Program, facts: Facts, form: Form) -> Iterator[Effect]:
    rule = f"form:{form.code}:score"
    for response in responses(program, facts, form):
        score = scored(form, response).score if response.status in COUNTS else None
        prior = [one for one in _prior(facts, rule, 0) if one.key.cycle.split(":")[0] == response.ref]
        said = prior[-1].key.cycle.split(":")[2] if prior else ""
        told = "" if score is None else str(score)
        if told == said:
            continue
        cycle = f"{response.ref}:{len(prior)}:{told}"
        yield RecordScore(
            key=FiringKey(item=facts.item.ref, rule=rule, cycle=cycle, level=0),
            form=form.code,
            response=response.ref,
            score=score,
            at=response.began,
            reason=f"{form.title}: {told or 'no score any more'}",
        )


def _prior(facts: Facts, rule: str, level: int) -> list[Firing]:
    mine = [one for one in facts.fired if one.key.rule == rule and one.key.level == level]
    return sorted(mine, key=lambda one: (one.fired_at, _number(one.key.cycle)))


def _number(cycle: str) -> int:
    return next((int(part) for part in cycle.split(":") if part.isdigit()), 0)
