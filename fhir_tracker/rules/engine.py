"""Evaluates one item: every rule of its program and what the product does by itself, as effects that fire once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from fhir_tracker.errors import Fault
from fhir_tracker.model.effects import (
    ClearFlag,
    CreateTask,
    Effect,
    Escalate,
    Notify,
    RaiseFlag,
    ReturnToQueue,
    SetPriority,
    SetStatus,
)
from fhir_tracker.model.facts import Evaluation, Facts, Finding, Verdict
from fhir_tracker.model.program import Action, Program, Rule
from fhir_tracker.model.work import Firing, FiringKey
from fhir_tracker.rules.cadence import recurrence
from fhir_tracker.rules.closing import DONE_BY, HOLD_END, done_by, hold_end
from fhir_tracker.rules.conditions import judge
from fhir_tracker.rules.due import due_at
from fhir_tracker.rules.ladders import Step, next_step


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
    items, escalations, outside work and items of other programs want nothing. Work that moves by itself only moves: what
    its rules want of it then is for the next look.
    """
    item, answer = facts.item, _Answer()
    if not item.open or item.kind not in ("task", "plan") or (item.program and item.program != program.code):
        return Evaluation(effects=(), findings=(), next_at=None)
    if item.kind == "task":
        _by_itself(program, facts, now, answer)
    if item.kind == "plan":
        _recurring(program, facts, now, answer)
    for rule in sorted(program.rules, key=lambda one: one.id):
        if rule.subject == item.kind:
            _rule(program, facts, rule, now, answer)
    fired = {firing.key for firing in facts.fired}
    wanted = [one for one in answer.effects if one.key not in fired]
    moving = [one for one in wanted if one.key.rule in (DONE_BY, HOLD_END)]
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
    for template in program.tasks:
        if template.on == "cadence":
            found = recurrence(program, facts, template, now)
            answer.look_again(found.next_at)
            if found.effect is not None and not facts.deceased:
                answer.effects.append(found.effect)


def _rule(program: Program, facts: Facts, rule: Rule, now: datetime, answer: _Answer) -> None:
    for verdict in judge(program, facts, rule.when, now):
        answer.look_again(verdict.next_change)
        cycle = cycle_of(facts, verdict)
        fired = [one for one in facts.fired if one.key.rule == rule.id and one.key.cycle == cycle]
        step = _climb(program, facts, rule, verdict, fired, now, answer)
        if verdict.holds:
            answer.effects.extend(_acts(program, facts, rule, verdict, now))
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


def _acts(program: Program, facts: Facts, rule: Rule, verdict: Verdict, now: datetime) -> Iterable[Effect]:
    """Everything the rule does besides climbing; action n fires as level -n (0, -1, -2 ...) of the case."""
    actions = [one for one in rule.do if one.kind != "escalate"]
    for index, action in enumerate(actions):
        key = FiringKey(item=facts.item.ref, rule=rule.id, cycle=cycle_of(facts, verdict), level=-index)
        yield _MAKE[action.kind](_Wish(program=program, facts=facts, verdict=verdict, action=action, key=key, now=now))


@dataclass(frozen=True, kw_only=True)
class _Wish:
    program: Program
    facts: Facts
    verdict: Verdict
    action: Action
    key: FiringKey
    now: datetime

    @property
    def reason(self) -> str:
        return self.verdict.why


def _create_task(wish: _Wish) -> CreateTask:
    template = wish.program.task(wish.action.value)
    if template is None:
        raise Fault(f"a rule creates {wish.action.value}, which the program does not have")
    anchors = dict(wish.facts.plan.anchors) if wish.facts.plan else {}
    anchors["event"] = wish.verdict.since or wish.now
    return CreateTask(
        key=wish.key,
        template=template.code,
        reason=wish.reason,
        about=_about(wish.verdict.occurrence),
        due_at=due_at(wish.program, template, anchors, wish.now),
    )


def _about(occurrence: str) -> str | None:
    """The event a case is named by, as what the work is about; an attempt to reach somebody is no such thing."""
    ref = occurrence.split(" ")[0].partition("#")[0]
    return ref if ref and not ref.startswith("Communication/") else None


_MAKE: Final[Mapping[str, Callable[[_Wish], Effect]]] = {
    "create_task": _create_task,
    "raise_flag": lambda wish: RaiseFlag(key=wish.key, code=wish.action.value, reason=wish.reason),
    "clear_flag": lambda wish: ClearFlag(key=wish.key, code=wish.action.value, reason=wish.reason),
    "set_status": lambda wish: SetStatus(key=wish.key, status=wish.action.value, reason=wish.reason),
    "set_priority": lambda wish: SetPriority(key=wish.key, priority=wish.action.value, reason=wish.reason),
    "return_to_queue": lambda wish: ReturnToQueue(key=wish.key, reason=wish.reason),
    "notify": lambda wish: Notify(
        key=wish.key,
        to_role=wish.action.value,
        channels=tuple(wish.action.args.get("by", "in-app").split(",")),
        reason=wish.reason,
    ),
}


def _order(effect: Effect) -> tuple[str, str, int]:
    return effect.key.rule, effect.key.cycle, effect.key.level
