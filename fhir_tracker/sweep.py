"""The sweep: claim what is due, ask the rules, apply what they want, once; it costs what is due, never what exists.

1. Due items are claimed in batches and evaluated; nothing is written yet.
2. The brake looks at the sum of the escalations, by program.
3. Each batch is applied in one transaction; if that fails, its halves, down to the poisoned item, which is postponed and shown.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fhir_tracker import brake, gathering, poison, programs, rule_beats, side_by_side, together
from fhir_tracker.errors import Busy, Incorrect, Unavailable
from fhir_tracker.guard import Failure, guarded
from fhir_tracker.model.effects import Effect, Escalate
from fhir_tracker.model.facts import Evaluation, Facts
from fhir_tracker.model.program import Program
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.rule_beats import Beats
from fhir_tracker.rules.engine import look
from fhir_tracker.storage import work_items
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.work_items import Claim, Span

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=2)
POISONED_FOR = poison.FIRST
BRAKED_FOR = timedelta(minutes=10)
BATCHES = 20
Done = tuple[Effect, ...] | None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How a sweep is bounded: items a batch, the brake, and what says that it is to end soon."""

    batch: int = 500
    brake: brake.Limit = field(default_factory=lambda: brake.Limit(share=0.5, floor=25))
    stopping: Callable[[], bool] = bool


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """What one sweep did: items looked at, effects applied, levels fired, items postponed, escalations held by the brake."""

    items: int = 0
    applied: int = 0
    escalated: int = 0
    postponed: int = 0
    held: int = 0

    def __add__(self, other: SweepReport) -> SweepReport:
        return SweepReport(
            items=self.items + other.items,
            applied=self.applied + other.applied,
            escalated=self.escalated + other.escalated,
            postponed=self.postponed + other.postponed,
            held=max(self.held, other.held),
        )


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One claimed item with its evaluation, or why there is none."""

    claim: Claim
    facts: Facts
    program: Program | None
    evaluation: Evaluation | None
    failure: str = ""
    held: bool = False

    @property
    def wanted(self) -> tuple[Effect, ...]:
        """What is to happen now: all that the rules want, or without escalations while the brake holds them."""
        found = self.evaluation.effects if self.evaluation and self.program else ()
        return tuple(one for one in found if not (self.held and isinstance(one, Escalate)))

    def next_at(self, now: datetime) -> datetime | None:
        """When to look again; soon, when something was held."""
        at = self.evaluation.next_at if self.evaluation else None
        if self.evaluation and len(self.wanted) < len(self.evaluation.effects) and self.program:
            return min(at or now + BRAKED_FOR, now + BRAKED_FOR)
        return at


def sweep(database: Database, now: datetime, limits: Limits, span: Span | None = None) -> SweepReport:
    """One sweep over what is due at `now`, or what of it lies in `span`. Raises only what concerns the database as a whole."""
    batches: list[list[Judged]] = []
    while len(batches) < BATCHES and (judged := judge_batch(database, now, limits.batch, span)):
        batches.append(judged)
        if limits.stopping():
            break
    batches = _braked(database, batches, limits, now)
    beats = Beats(now)
    reports = [apply_batch(database, batch, now, beats) for batch in batches]
    rule_beats.note(database, beats)
    held = sum(_escalations(one) for batch in batches for one in batch if one.held)
    return sum(reports, SweepReport(held=held))


def settle(
    database: Database, now: datetime, limits: Limits, *, rounds: int = 8, span: Span | None = None
) -> SweepReport:
    """Sweep again until nothing due is left, at most `rounds` times: an effect makes its item due for another look."""
    total = SweepReport()
    for _ in range(rounds):
        one = sweep(database, now, limits, span)
        total += one
        if not one.items or limits.stopping():
            break
    return total


def judge_batch(database: Database, now: datetime, size: int, span: Span | None = None) -> list[Judged]:
    """Claim up to `size` due items and ask the rules about each; a fixed number of statements, nothing but the claim written."""
    with database.begin() as tx:
        claim = work_items.claim_due(tx, now, size, LEASE, span)
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
        lost = f"version {facts.item.program_version} of its program cannot be read" if facts.item.program else ""
        return Judged(claim=claim, facts=facts, program=None, evaluation=nothing, failure=lost)
    found = guarded(lambda: look(program, facts, now), "evaluating the rules", item=facts.item.ref)
    if isinstance(found, Failure):
        return Judged(claim=claim, facts=facts, program=program, evaluation=None, failure=found.reason)
    return Judged(claim=claim, facts=facts, program=program, evaluation=found)


def _escalations(judged: Judged) -> int:
    found = judged.evaluation.effects if judged.evaluation else ()
    return sum(isinstance(effect, Escalate) for effect in found)


def _braked(database: Database, batches: list[list[Judged]], limits: Limits, now: datetime) -> list[list[Judged]]:
    """The same, with what belongs to programs that escalate too much at once marked as held."""
    planned: Counter[tuple[str, str]] = Counter()
    for one in (one for batch in batches for one in batch if one.program):
        if _escalations(one):
            planned[one.facts.item.program or "", one.facts.item.kind] += 1
    if not planned:
        return batches
    with database.begin() as tx:
        held = brake.held(tx, planned, limits.brake, now)
    if not held:
        return batches
    return [[_held(one) if (one.facts.item.program or "") in held else one for one in batch] for batch in batches]


def _held(judged: Judged) -> Judged:
    return replace(judged, held=True)


def apply_batch(database: Database, batch: Sequence[Judged], now: datetime, beats: Beats | None = None) -> SweepReport:
    """Write what the rules answered, all or by halves; what changed since, or another sweep took over, is left alone."""
    done = _apply_halves(database, batch, now)
    if beats is not None:
        for one, applied in zip(batch, done, strict=True):
            beats.add(one.program, one.facts, one.evaluation, applied)
    return _report(done)


def _apply_halves(database: Database, batch: Sequence[Judged], now: datetime) -> list[Done]:
    found = _try_twice(database, batch, now)
    if not isinstance(found, Failure):
        return found
    if len(batch) == 1:
        with database.begin() as tx:
            _postpone(tx, batch[0], found.reason, now)
        return [None]
    middle = len(batch) // 2
    return [*_apply_halves(database, batch[:middle], now), *_apply_halves(database, batch[middle:], now)]


def _try_twice(database: Database, batch: Sequence[Judged], now: datetime) -> list[Done] | Failure:
    try:
        return _try(database, batch, now)
    except Busy:
        return _try(database, batch, now)


def _try(database: Database, batch: Sequence[Judged], now: datetime) -> list[Done] | Failure:
    """Apply in one transaction; a Failure when something in it failed and nothing was written."""
    try:
        with database.begin() as tx:
            return _apply(tx, batch, now)
    except (Busy, Unavailable):
        raise
    except Exception as error:
        log.exception("effects failed", extra={"fields": {"items": [one.facts.item.ref for one in batch[:3]]}})
        return Failure(reason=f"what its rules ask for could not be done ({type(error).__name__})")


def _apply(tx: Tx, batch: Sequence[Judged], now: datetime) -> list[Done]:
    """Items that only have things added together, with few statements; then the others, in a batch of their own."""
    done: dict[str, Done] = {}
    for one in batch:
        if one.failure:
            _postpone(tx, one, one.failure, now)
            done[one.facts.item.ref] = None
    plain = [one for one in batch if not one.failure and all(map(together.can_be, one.wanted))]
    done |= _apply_plain(tx, plain, now)
    done |= _apply_others(tx, [one for one in batch if one.facts.item.ref not in done], now)
    poison.forget(tx, [ref for ref, applied in done.items() if applied is not None])
    return [done[one.facts.item.ref] for one in batch]


def _apply_plain(tx: Tx, plain: Sequence[Judged], now: datetime) -> dict[str, Done]:
    if not plain:
        return {}
    settled = work_items.settle_many(tx, [(one.facts.item.ref, one.claim.token, one.next_at(now)) for one in plain])
    wanted = [
        together.Wanted(program=one.program, facts=one.facts, effect=effect)
        for one in plain
        if one.program and one.facts.item.ref in settled
        for effect in one.wanted
    ]
    applied = together.apply_all(tx, wanted, now) if wanted else []
    done: dict[str, tuple[Effect, ...]] = {one.facts.item.ref: () for one in plain}
    for one, is_new in zip(wanted, applied, strict=True):
        if is_new:
            done[one.facts.item.ref] += (one.effect,)
    return dict(done)


def _apply_others(tx: Tx, others: Sequence[Judged], now: datetime) -> dict[str, Done]:
    done: dict[str, Done] = {one.facts.item.ref: () for one in others}
    ours = [one for one in others if one.facts.item.ref not in tx.let_go]
    settled = work_items.settle_many(tx, [(one.facts.item.ref, one.claim.token, one.next_at(now)) for one in ours])
    asked = [
        side_by_side.Asked(program=one.program, facts=one.facts, effects=one.wanted)
        for one in ours
        if one.program and one.facts.item.ref in settled
    ]
    applied = side_by_side.apply_all(tx, asked, now) if asked else []
    return done | {one.facts.item.ref: each for one, each in zip(asked, applied, strict=True)}


def _postpone(tx: Tx, judged: Judged, reason: str, now: datetime) -> None:
    until = poison.note(tx, judged.facts.item, reason, now)
    work_items.postpone(tx, judged.claim, judged.facts.item.ref, until)


def _report(done: Sequence[Done]) -> SweepReport:
    applied = [effect for one in done if one for effect in one]
    return SweepReport(
        items=len(done),
        applied=len(applied),
        escalated=sum(isinstance(effect, Escalate) for effect in applied),
        postponed=sum(one is None for one in done),
    )
