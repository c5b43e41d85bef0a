"""The heartbeats of rules over one sweep: gathered while it runs, and added once at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from fhir_tracker.guard import Failure, guarded
from fhir_tracker.model.effects import Effect
from fhir_tracker.model.facts import Evaluation, Facts
from fhir_tracker.model.program import Program
from fhir_tracker.rules.engine import evaluate
from fhir_tracker.storage import heartbeats
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.heartbeats import Heartbeat

ALL = "*"
"""Stands for a program's rules together, where it cannot be told which of them failed."""
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_Rule = tuple[str, str]


@dataclass
class Beats:
    """What one sweep at `now` found: which rules were asked, and how often each held, did something and failed."""

    now: datetime
    asked: set[_Rule] = field(default_factory=set)
    matched: Counter[_Rule] = field(default_factory=Counter)
    fired: Counter[_Rule] = field(default_factory=Counter)
    failed: Counter[_Rule] = field(default_factory=Counter)
    _seen: set[tuple[int, str]] = field(default_factory=set)

    def add(
        self, program: Program | None, facts: Facts, evaluation: Evaluation | None, applied: tuple[Effect, ...] | None
    ) -> None:
        """One item: what its rules answered (None: asking them failed) and what was done (None: it could not be)."""
        if applied is None:
            self._add_failure(program, facts, evaluation)
        if program is None or evaluation is None:
            return
        if facts.item.open and (id(program), facts.item.kind) not in self._seen:
            self._seen.add((id(program), facts.item.kind))
            self.asked |= {(program.code, rule.id) for rule in program.rules if rule.subject == facts.item.kind}
        for finding in evaluation.findings:
            if finding.verdict.holds:
                self.matched[program.code, finding.rule] += 1
        for effect in applied or ():
            self.fired[program.code, effect.key.rule] += 1

    def _add_failure(self, program: Program | None, facts: Facts, evaluation: Evaluation | None) -> None:
        code = program.code if program else facts.item.program
        if code is None:
            return
        self.failed[code, ALL] += 1
        if program is not None and evaluation is None:
            for rule in failing_rules(program, facts, self.now):
                self.failed[code, rule] += 1

    def all(self) -> list[Heartbeat]:
        """A beat for each rule that was asked, did something or failed."""
        return [
            Heartbeat(
                program=key[0],
                rule=key[1],
                last_evaluated=self.now if key in self.asked else _NEVER,
                matched=self.matched[key],
                fired=self.fired[key],
                failed=self.failed[key],
            )
            for key in sorted({*self.asked, *self.matched, *self.fired, *self.failed})
        ]


def failing_rules(program: Program, facts: Facts, now: datetime) -> list[str]:
    """The rules of an item that fail when each is asked alone."""
    found = []
    for rule in program.rules:
        alone = replace(program, rules=(rule,))
        if isinstance(guarded(partial(evaluate, alone, facts, now), "asking one rule", rule=rule.id), Failure):
            found.append(rule.id)
    return [] if len(found) == len(program.rules) > 1 else found


def note(database: Database, beats: Beats) -> None:
    """Add what a sweep found, in a short transaction of its own: sweeps side by side never wait for each other long."""
    found = beats.all()
    if found:
        with database.begin() as tx:
            heartbeats.note_many(tx, found)
