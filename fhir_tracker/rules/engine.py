"""Evaluates one item: every rule of its program and what the product does by itself, as effects that fire once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from fhir_tracker.model.effects import (
    CreateTask,
    Effect,
    Escalate,
)
from fhir_tracker.model.facts import Evaluation, Facts, Finding, Verdict
from fhir_tracker.model.program import Program, Rule
from fhir_tracker.model.work import Firing, FiringKey
from fhir_tracker.rules.acts import Case, effects_of
from fhir_tracker.rules.candidates import ACCEPTED, DECISION, is_candidate
from fhir_tracker.rules.closing import DONE_BY, HOLD_END, done_by, hold_end
from fhir_tracker.rules.conditions import judge
from fhir_tracker.rules.forms import wanted as wanted_by_forms
from fhir_tracker.rules.ladders import Step, next_step
from fhir_tracker.rules.orders import of_this_order
from fhir_tracker.rules.plan_work import plan_work
from fhir_tracker.rules.quick import compiled, concerning
from fhir_tracker.rules.recount import recount
from fhir_tracker.rules.renaming import as_called

_FIRST: Final = (DONE_BY, HOLD_END, DECISION)


@dataclass(kw_only=True)
class _Answer:
    """What has been found so far on one item."""

    effects: list[Effect] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    moments: list[datetime] = field(default_factory=list)

    def look_again(self, *moments: datetime | None) -> None:
        self.moments.extend(one for one in moments if one is not None)


def evaluate(program: Program, facts: Facts, now: datetime) -> Evaluation:
    """Every effect the item needs at `now` that has not fired yet, every rule's answer, and when to look again.

    Pure: the same arguments give the same answer, and the order of rules, events and firings has no meaning. Closed
    items, escalations, outside work and items of other programs want nothing. Work that moves by itself only moves, and a
    plan that a decision let begin only gets its first work: what its rules want then is for the next look.
    """
    return _evaluate(program, facts, now, brief=False)


def look(program: Program, facts: Facts, now: datetime) -> Evaluation:
    """As `evaluate` with the same effects, for sweeps: rules that certainly do not hold get no finding, and `next_at`
    can be sooner than there.
    """
    return _evaluate(program, facts, now, brief=True)


def _evaluate(program: Program, facts: Facts, now: datetime, *, brief: bool) -> Evaluation:
    item, answer, whole, facts = facts.item, _Answer(), program, of_this_order(facts)
    facts = replace(facts, fired=as_called(program, facts.fired)) if program.renamed else facts
    program = program.at(*facts.places)
    if not item.open or item.kind not in ("task", "plan") or (item.program and item.program != program.code):
        return Evaluation(effects=(), findings=(), next_at=None)
    if item.kind == "task":
        _by_itself(program, facts, now, answer)
        answer.effects.extend(one for one in (recount(whole, facts),) if one)
    if item.starts_at is not None and now < item.starts_at:
        answer.look_again(item.starts_at)
        return _ended(facts, answer, now)
    facts = _begun(facts)
    if item.kind == "plan":
        _recurring(program, facts, now, answer)
        answer.effects.extend(wanted_by_forms(program, facts))
    for one in concerning(program, item) if brief else compiled(program, item.kind):
        known = one.quick(facts, now) if brief else None
        if known is None or known[0]:
            _rule(program, facts, one.rule, now, answer)
        elif known[1] is not None:
            answer.moments.append(known[1])
    if item.kind == "plan" and is_candidate(program, facts):
        answer.effects = [one for one in answer.effects if not _is_work_of_rules(one)]
    return _ended(facts, answer, now)


def _is_work_of_rules(effect: Effect) -> bool:
    """Whether it is work that a candidate does not get yet: a rule's wish for it waits for the decision."""
    return isinstance(effect, CreateTask) and effect.key.rule != DECISION


def _begun(facts: Facts) -> Facts:
    """The facts of work that was made ahead, as rules see it: from its start on, whenever it was made."""
    item, start = facts.item, facts.item.starts_at
    if start is None or start <= item.created_at:
        return facts
    since = max(start, item.status_since)
    return replace(facts, item=item.having(created_at=start, status_since=since))


def _ended(facts: Facts, answer: _Answer, now: datetime) -> Evaluation:
    fired = {firing.key for firing in facts.fired}
    wanted = [one for one in answer.effects if one.key not in fired]
    moving = [one for one in wanted if one.key.rule in _FIRST or one.key.rule.startswith(ACCEPTED)]
    effects = sorted(moving or wanted, key=_order)
    next_at = min((one for one in answer.moments if one > now or effects), default=None)
    return Evaluation(effects=tuple(effects), findings=tuple(answer.findings), next_at=next_at)


def cycle_of(facts: Facts, verdict: Verdict) -> str:
    """The cycle under which a case fires: the item's, with the occurrence for rules over events."""
    return f"{facts.item.cycle}:{verdict.occurrence}" if verdict.occurrence else str(facts.item.cycle)


def _by_itself(program: Program, facts: Facts, now: datetime, answer: _Answer) -> None:
    for found in (done_by(program, facts), hold_end(program, facts, now)):
        if found is not None:
            answer.effects.append(found[0])
            answer.findings.append(found[1])
            return
    if facts.item.hold_until is not None and facts.item.hold_until > now:
        answer.look_again(facts.item.hold_until)


def _recurring(program: Program, facts: Facts, now: datetime, answer: _Answer) -> None:
    found = plan_work(program, facts, now)
    answer.look_again(*found.moments)
    answer.effects.extend(found.effects)


def _rule(program: Program, facts: Facts, rule: Rule, now: datetime, answer: _Answer) -> None:
    for verdict in judge(program, facts, rule.when, now):
        answer.look_again(verdict.next_change)
        cycle = cycle_of(facts, verdict)
        fired = [one for one in facts.fired if one.key.rule == rule.id and one.key.cycle == cycle]
        step = _climb(program, facts, rule, verdict, fired, now, answer)
        if verdict.holds:
            case = Case(rule=rule.id, cycle=cycle, why=verdict.why, since=verdict.since, occurrence=verdict.occurrence)
            answer.effects.extend(effects_of(program, facts, rule.do, case, now))
        answer.findings.append(
            Finding(
                rule=rule.id,
                title=rule.title,
                verdict=verdict,
                fired=tuple(sorted(fired, key=lambda one: one.key.level)),
                next_level=step.upcoming,
                stopped=step.stopped,
            )
        )


def _climb(
    program: Program,
    facts: Facts,
    rule: Rule,
    verdict: Verdict,
    fired: list[Firing],
    now: datetime,
    answer: _Answer,
) -> Step:
    ladder = next((program.ladder(one.value) for one in rule.do if one.kind == "escalate"), None)
    if ladder is None:
        return Step()
    levels = [one for one in fired if one.key.level > 0]
    step = next_step(program, ladder, verdict, levels, facts.item.created_at, now)
    if step.due is not None:
        answer.effects.append(
            Escalate(
                key=FiringKey(item=facts.item.ref, rule=rule.id, cycle=cycle_of(facts, verdict), level=step.due.number),
                ladder=ladder.code,
                level=step.due.number,
                to_role=step.due.to,
                notify=step.due.notify,
                priority=step.due.priority,
                reason=f"{rule.title}: {verdict.why}",
            )
        )
    if step.upcoming is not None:
        answer.look_again(step.upcoming.at)
    return step


def _order(effect: Effect) -> tuple[str, str, int]:
    return effect.key.rule, effect.key.cycle, effect.key.level
