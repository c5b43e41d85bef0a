"""The oracle of the simulated year: looks at a sample of work every minute, and knows nothing of when the product looked.

What the rules want of an item at some minute must have fired within one step of the worker, and what fired must have
been wanted, or have followed at the same moment from what was (a decision, and the first work of the plan). It reads
the histories alone: no next look, no claim, no queue.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fhir_tracker import history_facts, patient_history, programs
from fhir_tracker.history_facts import Programs
from fhir_tracker.model.effects import Effect
from fhir_tracker.model.program import Program
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.work import Firing, FiringKey, WorkItem
from fhir_tracker.patient_history import PatientHistory, Point
from fhir_tracker.rules.engine import evaluate
from fhir_tracker.storage import work_items
from fhir_tracker.storage.database import Database

MINUTE = timedelta(minutes=1)
WINDOW = timedelta(days=30)
_VIEWER = worker_viewer("oracle")


@dataclass(kw_only=True)
class Verdicts:
    """What looking every minute found; `missed` and `unwanted` say what is wrong, in words."""

    items: int = 0
    minutes: int = 0
    fired: int = 0
    missed: list[str] = field(default_factory=list)
    unwanted: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class _Watch:
    """One item under the oracle's eyes: since when each effect has been wanted without having fired."""

    ref: str
    firings: Sequence[Firing]
    patience: timedelta
    wanted_since: dict[FiringKey, datetime] = field(default_factory=dict)
    ever_wanted: set[FiringKey] = field(default_factory=set)
    missed: dict[FiringKey, str] = field(default_factory=dict)

    def known(self, now: datetime, whole: bool) -> list[Firing]:
        """What had fired by now, or before now."""
        return [one for one in self.firings if one.fired_at < now or (whole and one.fired_at == now)]

    def see(self, wanted: Iterable[Effect], now: datetime) -> None:
        """What is wanted at this minute; complain of what has waited too long."""
        keys = {one.key for one in wanted}
        self.ever_wanted |= keys
        self.wanted_since = {key: self.wanted_since.get(key, now) for key in keys}
        for key, since in self.wanted_since.items():
            if now - since > self.patience:
                said = f"{self.ref} {key.rule} {key.cycle} level {key.level} wanted since {since}, not fired by {now}"
                self.missed.setdefault(key, said)


def sample(database: Database, seed: int, size: int) -> list[WorkItem]:
    """Items to watch: half of them escalated some time, half any; plans among them."""
    with database.read() as tx:
        found: list[WorkItem] = []
        after = 0
        while rows := work_items.scan(tx, _VIEWER, after_k=after):
            after = rows[-1][0]
            found += [one for _, one in rows if one.program and one.patient and one.kind in ("task", "plan")]
    dice = random.Random(f"{seed}:oracle")
    climbed = [one for one in found if one.escalation_level or one.escalation_reason]
    chosen = dice.sample(climbed, min(size // 2, len(climbed))) + dice.sample(found, min(size - size // 2, len(found)))
    return list({one.ref: one for one in chosen}.values())


def watch(database: Database, items: Sequence[WorkItem], until: datetime, patience: timedelta) -> Verdicts:
    """Look at each item every minute of its life, of the first thirty days of it."""
    verdicts = Verdicts()
    for item in items:
        with database.read() as tx:
            history = patient_history.read(tx, _VIEWER, [item.patient or ""], until)[item.patient or ""]
            known = {key: programs.load(tx, *key) for key in {(item.program or "", item.program_version)}}

        def find(
            code: str, version: int | None, known: dict[tuple[str, int | None], Program | None] = known
        ) -> Program | None:
            return known.get((code, version))

        _watch(history, item.ref, find, until, patience, verdicts)
    return verdicts


def _watch(
    history: PatientHistory, ref: str, find: Programs, until: datetime, patience: timedelta, verdicts: Verdicts
) -> None:
    fired = [one for one in history.firings.values() if one.key.item == ref]
    one = _Watch(ref=ref, firings=fired, patience=patience)
    begins = history.versions[ref][0].at
    ends = min(until, begins + WINDOW)
    for point, stops in _spans(history, begins, ends):
        scene = history_facts.scene(history, point, find)
        if ref not in scene.items or ref not in scene.programs or not scene.items[ref].open:
            one.see((), stops)
            continue
        program = scene.programs[ref]
        amid = evaluate(program, scene.facts(ref, one.known(point.end, whole=False)), point.end)
        one.ever_wanted |= {each.key for each in amid.effects}
        facts, count = None, -1
        for now in (point.end, *_minutes(_next_minute(point.end), stops)):
            known = one.known(now, point.whole or now > point.end)
            if facts is None or len(known) != count:
                facts, count = scene.facts(ref, known), len(known)
            one.see(evaluate(program, facts, now).effects, now)
            verdicts.minutes += 1
    verdicts.items += 1
    verdicts.fired += sum(1 for each in fired if each.fired_at <= ends)
    verdicts.missed += one.missed.values()
    sure = {each.fired_at for each in fired if each.key in one.ever_wanted}
    verdicts.unwanted += [
        f"{ref} {each.key.rule} {each.key.cycle} level {each.key.level} at {each.fired_at} was never wanted"
        for each in fired
        if each.fired_at <= ends and each.key not in one.ever_wanted and each.fired_at not in sure
    ]


def _spans(history: PatientHistory, begins: datetime, ends: datetime) -> Iterator[tuple[Point, datetime]]:
    """Each state of the patient and until when it lasted."""
    points = history.changes(begins - MINUTE, ends)
    for point, following in zip(points, [*points[1:], None], strict=True):
        yield point, following.start if following else ends


def _next_minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0) + MINUTE


def _minutes(first: datetime, last: datetime) -> Iterator[datetime]:
    while first <= last:
        yield first
        first += MINUTE
