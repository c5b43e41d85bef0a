"""The sweep: claim what is due, ask the rules, apply what they want, once; it costs what is due, never what exists.

1. Due items are claimed in batches and evaluated; nothing is written yet.
2. The brake looks at the sum of the escalations.
3. Each batch is applied in one transaction; if that fails, item by item, and the poisoned one is postponed and shown.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fhir_tracker import brake, effects, gathering, programs
from fhir_tracker.errors import Busy, Incorrect, Unavailable
from fhir_tracker.guard import Failure, guarded
from fhir_tracker.model.effects import Effect, Escalate
from fhir_tracker.model.facts import Evaluation, Facts
from fhir_tracker.model.program import Program
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.rules.engine import evaluate
from fhir_tracker.storage import heartbeats, work_items
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.heartbeats import Heartbeat
from fhir_tracker.storage.work_items import Claim

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=2)
POISONED_FOR = timedelta(hours=1)
BRAKED_FOR = timedelta(minutes=10)
BATCHES = 20
Done = tuple[Effect, ...] | None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How a sweep is bounded: items a batch, and the brake."""

    batch: int = 500
    brake: brake.Limit = field(default_factory=lambda: brake.Limit(share=0.5, floor=25))


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """What one sweep did: items looked at, effects applied, levels fired, items postponed, escalations held by the brake."""

    items: int = 0
    applied: int = 0
    escalated: int = 0
    postponed: int = 0
    held: int = 0


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One claimed item with its evaluation, or the error that evaluating it gave."""

    claim: Claim
    facts: Facts
    program: Program | None
    evaluation: Evaluation | None


def sweep(database: Database, now: datetime, limits: Limits) -> SweepReport:
    """One sweep over what is due at `now`. Raises only what concerns the database as a whole."""
    batches: list[list[Judged]] = []
    while len(batches) < BATCHES and (judged := judge_batch(database, now, limits.batch)):
        batches.append(judged)
    planned = sum(_escalations(one) for batch in batches for one in batch)
    go = True
    if planned:
        with database.begin() as tx:
            go = brake.check(tx, planned, limits.brake, now)
    reports = [apply_batch(database, batch, now, go) for batch in batches]
    return SweepReport(
        items=sum(len(batch) for batch in batches),
        applied=sum(one.applied for one in reports),
        escalated=sum(one.escalated for one in reports),
        postponed=sum(one.postponed for one in reports),
        held=0 if go else planned,
    )


def settle(database: Database, now: datetime, limits: Limits, *, rounds: int = 8) -> SweepReport:
    """Sweep again until nothing due is left, at most `rounds` times: an effect makes its item due for another look."""
    total = SweepReport()
    for _ in range(rounds):
        one = sweep(database, now, limits)
        total = SweepReport(
            items=total.items + one.items,
            applied=total.applied + one.applied,
            escalated=total.escalated + one.escalated,
            postponed=total.postponed + one.postponed,
            held=max(total.held, one.held),
        )
        if not one.items:
            break
    return total


def judge_batch(database: Database, now: datetime, size: int) -> list[Judged]:
    """Claim up to `size` due items and ask the rules about each; a fixed number of statements, nothing but the claim written."""
    with database.begin() as tx:
        claim = work_items.claim_due(tx, now, size, LEASE)
        if not claim.items:
            return []
        facts = gathering.gather(tx, RULE_WORKER, claim.items)
        found = {one: _program(tx, *one) for one in {_program_key(one) for one in facts} if one}
    return [_judge(claim, one, found.get(_program_key(one) or ("", None)), now) for one in facts]


def _program(tx: Tx, code: str, version: int | None) -> Program | None:
    """The program, or None when this release cannot read it: its items are postponed, the others go on."""
    try:
        return programs.load(tx, code, version)
    except Incorrect:
        log.exception("program cannot be read", extra={"fields": {"program": code, "version": version}})
        return None


def _program_key(facts: Facts) -> tuple[str, int | None] | None:
    return (facts.item.program, facts.item.program_version) if facts.item.program else None


def _judge(claim: Claim, facts: Facts, program: Program | None, now: datetime) -> Judged:
    if program is None:
        nothing = Evaluation(effects=(), findings=(), next_at=None)
        return Judged(claim=claim, facts=facts, program=None, evaluation=nothing)
    found = guarded(lambda: evaluate(program, facts, now), "evaluating the rules", item=facts.item.ref)
    evaluation = None if isinstance(found, Failure) else found
    return Judged(claim=claim, facts=facts, program=program, evaluation=evaluation)


def _escalations(judged: Judged) -> int:
    wanted = judged.evaluation.effects if judged.evaluation else ()
    return sum(isinstance(effect, Escalate) for effect in wanted)


def apply_batch(database: Database, batch: Sequence[Judged], now: datetime, go: bool) -> SweepReport:
    """Write what the rules answered, all or item by item; what changed since, or another sweep took over, is left alone."""
    try:
        done = _try(database, batch, now, go)
    except Busy:
        done = _try(database, batch, now, go)
    if done is not None:
        return _report(done)
    return _report([_apply_alone(database, one, now, go) for one in batch])


def _apply_alone(database: Database, judged: Judged, now: datetime, go: bool) -> Done:
    done = _try(database, [judged], now, go)
    if done is not None:
        return done[0]
    with database.begin() as tx:
        _postpone(tx, judged, now)
    return None


def _try(database: Database, batch: Sequence[Judged], now: datetime, go: bool) -> list[Done] | None:
    """Apply in one transaction; None when something in it failed and nothing was written."""
    try:
        with database.begin() as tx:
            done = [_apply(tx, one, now, go) for one in batch]
            _note(tx, batch, done, now)
        return done
    except (Busy, Unavailable):
        raise
    except Exception:
        log.exception("effects failed", extra={"fields": {"items": [one.facts.item.ref for one in batch[:3]]}})
        return None


def _apply(tx: Tx, judged: Judged, now: datetime, go: bool) -> Done:
    if judged.evaluation is None or (judged.program is None and judged.facts.item.program):
        _postpone(tx, judged, now)
        return None
    wanted = [one for one in judged.evaluation.effects if go or not isinstance(one, Escalate)]
    next_at = judged.evaluation.next_at
    if len(wanted) < len(judged.evaluation.effects):
        next_at = min(next_at or now + BRAKED_FOR, now + BRAKED_FOR)
    if judged.facts.item.ref in tx.let_go or not work_items.settle(tx, judged.claim, judged.facts.item.ref, next_at):
        return ()
    program = judged.program
    return tuple(one for one in wanted if program and effects.apply(tx, program, judged.facts, one, now))


def _postpone(tx: Tx, judged: Judged, now: datetime) -> None:
    ref = judged.facts.item.ref
    work_items.postpone(tx, judged.claim, ref, now + POISONED_FOR)
    if judged.facts.item.program:
        heartbeats.note(tx, Heartbeat(program=judged.facts.item.program, rule="*", last_evaluated=now, failed=1))


def _note(tx: Tx, batch: Sequence[Judged], done: Sequence[Done], now: datetime) -> None:
    matched: Counter[tuple[str, str]] = Counter()
    fired: Counter[tuple[str, str]] = Counter()
    for one, applied in zip(batch, done, strict=True):
        if one.evaluation is None or one.program is None:
            continue
        for finding in one.evaluation.findings:
            matched[one.program.code, finding.rule] += finding.verdict.holds
        for effect in applied or ():
            fired[one.program.code, effect.key.rule] += 1
    for program, rule in sorted({*matched, *fired}):
        key = (program, rule)
        beat = Heartbeat(program=program, rule=rule, last_evaluated=now, matched=matched[key], fired=fired[key])
        heartbeats.note(tx, beat)


def _report(done: Sequence[Done]) -> SweepReport:
    applied = [effect for one in done if one for effect in one]
    return SweepReport(
        items=len(done),
        applied=len(applied),
        escalated=sum(isinstance(effect, Escalate) for effect in applied),
        postponed=sum(one is None for one in done),
    )
