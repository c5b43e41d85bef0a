"""Judges a tree of predicates: `all`, `any` and `not` keep the three answers whole. Closed work never holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice, product
from typing import Final

from fhir_tracker.errors import Fault
from fhir_tracker.model.facts import Facts, Verdict
from fhir_tracker.model.program import Condition, Program
from fhir_tracker.rules.catalog import PREDICATES
from fhir_tracker.rules.predicate import Case

MAX_OCCURRENCES: Final = 100
"""The most cases one rule looks at on one item; the earliest come first."""


def judge(program: Program, facts: Facts, condition: Condition, now: datetime) -> tuple[Verdict, ...]:
    """One Verdict for each occurrence that holds, or exactly one that does not; `next_change` is the earliest."""
    if not facts.item.open:
        return (Verdict(holds=False, why="the work is closed", facts={"status": facts.item.status}),)
    return _judge(Case(program=program, facts=facts, now=now), condition)


def asks(program: Program, name: str) -> bool:
    """Whether any rule of the program uses the predicate of that name."""
    return any(_uses(rule.when, name) for rule in program.rules)


def _uses(condition: Condition, name: str) -> bool:
    return condition.name == name or any(_uses(child, name) for child in condition.children)


def _judge(case: Case, condition: Condition) -> tuple[Verdict, ...]:
    if condition.op == "predicate":
        return PREDICATES[condition.name].judge(case, condition.args)
    answers = [_judge(case, child) for child in condition.children]
    if condition.op == "all":
        return _all(answers)
    if condition.op == "any":
        return _any(answers)
    if condition.op == "not":
        return (_not(answers[0]),)
    raise Fault(f"a rule cannot test {condition.op}")


def _all(answers: Sequence[tuple[Verdict, ...]]) -> tuple[Verdict, ...]:
    """What fails can hold only once the last of its failing parts does; never, when time alone changes one of them not."""
    failing = [answer[0] for answer in answers if not answer[0].holds]
    if failing:
        changes = [one.next_change for one in failing if one.next_change is not None]
        return (_joined(failing, holds=False, change=max(changes) if len(changes) == len(failing) else None),)
    change = _earliest(one.next_change for answer in answers for one in answer)
    return tuple(
        _joined(combined, holds=True, change=change) for combined in islice(product(*answers), MAX_OCCURRENCES)
    )


def _any(answers: Sequence[tuple[Verdict, ...]]) -> tuple[Verdict, ...]:
    change = _earliest(one.next_change for answer in answers for one in answer)
    holding = [one for answer in answers for one in answer if one.holds]
    if not holding:
        return (_joined([answer[0] for answer in answers], holds=False, change=change),)
    cases: dict[str, list[Verdict]] = {}
    for one in holding[:MAX_OCCURRENCES]:
        cases.setdefault(one.occurrence, []).append(one)
    return tuple(_joined(group, holds=True, change=change, first=True) for group in cases.values())


def _not(answer: tuple[Verdict, ...]) -> Verdict:
    change = _earliest(one.next_change for one in answer)
    why = "; ".join(one.why for one in answer)
    facts = {name: text for one in answer for name, text in one.facts.items()}
    return Verdict(holds=not answer[0].holds, why=why, facts=facts, next_change=change)


def _joined(parts: Sequence[Verdict], *, holds: bool, change: datetime | None, first: bool = False) -> Verdict:
    """The parts as one; it began with the last of them to begin, or with the first when any of them is enough."""
    since = [one.since for one in parts if one.since is not None]
    telling = [one for one in parts if not one.background] or parts
    return Verdict(
        holds=holds,
        why="; ".join(dict.fromkeys(one.why for one in telling)),
        facts={name: text for one in parts for name, text in one.facts.items()},
        next_change=change,
        since=(min(since) if first else max(since)) if since and holds else None,
        occurrence=" ".join(dict.fromkeys(one.occurrence for one in parts if one.occurrence)),
    )


def _earliest(moments: Iterable[datetime | None]) -> datetime | None:
    return min((one for one in moments if one is not None), default=None)
