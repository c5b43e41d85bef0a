"""Running the rules of a program version over what really happened to one patient: what would have fired, and when.

People, the EHR and the programs other than the one in question do what they did. What rules did is done again, and only what
differs changes the story: a level that fires is answered as it was really answered, one that never fired really is answered by
nobody; flags, statuses, holds and owners that a rule would have changed are changed until somebody really changes them;
work that a rule would not have made is left out. What cannot be played on from there is counted in `left_out`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from fhir_tracker.effects import KINDS
from fhir_tracker.guard import Failure, guarded
from fhir_tracker.history_facts import Programs, Scene, scene
from fhir_tracker.model.effects import (
    ClearFlag,
    CreateTask,
    Effect,
    Escalate,
    Hold,
    Notify,
    RaiseFlag,
    Reassign,
    ReturnToQueue,
    SetPriority,
    SetStatus,
)
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program
from fhir_tracker.model.vocabulary import FLAG_SYSTEM
from fhir_tracker.model.work import Event, Firing, FiringKey, Transition, WorkItem
from fhir_tracker.patient_history import PatientHistory, Point
from fhir_tracker.records import moment_of
from fhir_tracker.rules.engine import look

ROUNDS = 8
INSTANT = timedelta(microseconds=1)
CREATED = KINDS[CreateTask]
"""The kind of a firing that made work."""
_WHO = "Device/rule-worker"


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One thing that fires in the replay: when, by what program and effect, and how the item stood."""

    at: datetime
    program: Program
    item: WorkItem
    effect: Effect

    @property
    def key(self) -> FiringKey:
        """Under which it fires once."""
        return self.effect.key


@dataclass(kw_only=True)
class Replay:
    """What a replay gave: all that fired, in order; how often something could not be played on, by what it was; the work that
    rules really made and would not have made.
    """

    fired: list[Replayed] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    unmade: set[str] = field(default_factory=set)
    evaluated: int = 0


def replay(
    history: PatientHistory,
    code: str,
    programs: Programs,
    since: datetime,
    until: datetime,
    *,
    own: Programs | None = None,
) -> Replay:
    """Everything that rules of the program `code` want of one patient in (since, until], time and change by change.

    `programs` gives the version to use, `own` the one by which work was really made where due times are to be counted anew.
    """
    return _Story(history=history, code=code, programs=programs, own=own, since=since).play(until)


@dataclass(kw_only=True)
class _Story:
    """The state of one replay. `changed` holds what rules did that they really never did."""

    history: PatientHistory
    code: str
    programs: Programs
    own: Programs | None
    since: datetime
    result: Replay = field(default_factory=Replay)
    fired: dict[str, dict[FiringKey, Firing]] = field(default_factory=dict)
    next_at: dict[str, datetime] = field(default_factory=dict)
    changed: dict[str, _Changed] = field(default_factory=dict)
    flags: dict[str, Event] = field(default_factory=dict)
    cleared: dict[str, datetime] = field(default_factory=dict)
    makers: dict[str, FiringKey] = field(default_factory=dict)
    present: Scene = field(init=False)

    def play(self, until: datetime) -> Replay:
        for key, one in self.history.firings.items():
            if moment_of(one.fired_at) <= self.since:
                self.fired.setdefault(key.item, {})[key] = one
            elif one.task and one.kind == CREATED and one.program == self.code:
                self.makers[one.task] = key
        self._look(self._scene(Point(start=self.since, end=self.since)), self.since)
        for point in self.history.changes(self.since, until):
            self._pass_time(point.start)
            self._look(self._scene(point), point.start)
        self._pass_time(until)
        self.result.unmade = {ref for ref in self.makers if self._is_unmade(ref)}
        return self.result

    def _scene(self, point: Point) -> Scene:
        self.present = scene(self.history, point, self.programs, own=self.own)
        return self.present

    def _pass_time(self, until: datetime) -> None:
        """Look at what is due by then, at its own moments, as nothing happens in between."""
        while self.next_at and (first := min(self.next_at.values())) <= until:
            due = sorted(ref for ref, moment in self.next_at.items() if moment <= first)
            fired = [self._evaluate(self.present, ref, first) for ref in due]
            if any(fired):
                self._look(self.present, first)

    def _look(self, present: Scene, now: datetime) -> None:
        """Look at everything, and again for as long as something fires: one item's closing can be another's beginning."""
        order = sorted(present.items, key=lambda one: (one.startswith("Task/"), one))
        for _ in range(ROUNDS):
            fired = [self._evaluate(present, ref, now) for ref in order]
            if not any(fired):
                return

    def _evaluate(self, present: Scene, ref: str, now: datetime) -> bool:
        """Let the rules look at one item; whether anything fired."""
        self.next_at.pop(ref, None)
        program = present.programs.get(ref)
        if program is None or program.code != self.code or not present.items[ref].open or self._is_unmade(ref):
            return False
        facts = self._facts(present, ref)
        found = guarded(partial(look, program, facts, now), "replaying the rules", item=ref)
        self.result.evaluated += 1
        if isinstance(found, Failure):
            self.result.left_out["looks at which the rules failed"] += 1
            return False
        for effect in found.effects:
            self._fire(program, facts, effect, now)
        if found.next_at is not None:
            self.next_at[ref] = max(found.next_at, now + INSTANT)
        return bool(found.effects)

    def _facts(self, present: Scene, ref: str) -> Facts:
        facts = present.facts(ref, self._known(ref))
        events = [one for one in facts.events if self.cleared.get(one.ref, one.seen_at) <= one.seen_at]
        item, log = self._as_changed(facts.item, facts.log)
        there = [one for one in facts.tasks if not self._is_unmade(one.ref)]
        if any(one.ref in self.changed for one in there):
            there = [self._as_changed(one, self.history.log(one.ref, present.point))[0] for one in there]
        return replace(facts, item=item, log=log, tasks=tuple(there), events=(*events, *self.flags.values()))

    def _as_changed(self, item: WorkItem, log: tuple[Transition, ...]) -> tuple[WorkItem, tuple[Transition, ...]]:
        change = self.changed.get(item.ref)
        return change.on(item, log) if change else (item, log)

    def _known(self, ref: str) -> Iterator[Firing]:
        """What fired so far in the replay, each with the Task that it really had."""
        for key, one in self.fired.get(ref, {}).items():
            real = self.history.firings.get(key)
            yield replace(one, task=real.task, state=real.state) if real else one

    def _is_unmade(self, ref: str) -> bool:
        """Whether a rule made this work that, in the replay, has not (yet)."""
        maker = self.makers.get(ref)
        return maker is not None and maker not in self.fired.get(maker.item, {})

    def _fire(self, program: Program, facts: Facts, effect: Effect, now: datetime) -> None:
        self.result.fired.append(Replayed(at=now, program=program, item=facts.item, effect=effect))
        real = self.history.firings.get(effect.key)
        to_role = getattr(effect, "to_role", None) or None
        one = Firing(key=effect.key, fired_at=now, kind=KINDS[type(effect)], to_role=to_role, reason=effect.reason)
        self.fired.setdefault(effect.key.item, {})[effect.key] = one
        if real is None or isinstance(effect, SetStatus | Hold):
            self._change(program, facts, effect, now)

    def _change(self, program: Program, facts: Facts, effect: Effect, now: datetime) -> None:
        """Let the story go on with what the rule would have done."""
        ref = effect.key.item
        match effect:
            case Escalate() | Notify():
                return
            case RaiseFlag():
                self._raise(facts, effect.code, now)
            case ClearFlag():
                self._clear(facts, effect.code, now)
            case SetStatus() | Hold():
                self.changed[ref] = _moved(program, facts, effect, now, self.changed.get(ref))
            case SetPriority():
                self.changed[ref] = replace(self.changed.get(ref, _Changed(at=now)), priority=effect.priority)
            case ReturnToQueue():
                self.changed[ref] = replace(self.changed.get(ref, _Changed(at=now)), unowned_at=now)
            case Reassign() if effect.to_role:
                self.changed[ref] = replace(
                    self.changed.get(ref, _Changed(at=now)), role=effect.to_role, unowned_at=now
                )
            case CreateTask():
                self.result.left_out["what becomes of work that was never really made"] += 1
            case _:
                self.result.left_out[f"what follows from: {KINDS[type(effect)].replace('-', ' ')}"] += 1

    def _raise(self, facts: Facts, code: str, now: datetime) -> None:
        wanted = f"{FLAG_SYSTEM}|{code}"
        if not any(one.type == "Flag" and one.status == "active" and wanted in one.codes for one in facts.events):
            self.flags[code] = Event(
                ref=f"Flag/replayed-{code}",
                type="Flag",
                status="active",
                patient=self.history.patient,
                codes=(wanted,),
                start=now,
                seen_at=now,
            )

    def _clear(self, facts: Facts, code: str, now: datetime) -> None:
        self.flags.pop(code, None)
        wanted = f"{FLAG_SYSTEM}|{code}"
        self.cleared |= {one.ref: now for one in facts.events if one.type == "Flag" and wanted in one.codes}


@dataclass(frozen=True, kw_only=True)
class _Changed:
    """What rules did to an item `at` a moment that they really never did; it holds until the item really moves again."""

    at: datetime
    rows: tuple[Transition, ...] = ()
    status: str = ""
    fhir: str = ""
    clock: str = ""
    hold_until: datetime | None = None
    hold_event: str | None = None
    priority: str = ""
    role: str = ""
    unowned_at: datetime | None = None

    def on(self, item: WorkItem, log: tuple[Transition, ...]) -> tuple[WorkItem, tuple[Transition, ...]]:
        """The item and its rows with the change in them, unless it has really moved since."""
        if self.status and not _since(log, "status", self.at, self.status):
            item = item.having(
                status=self.status,
                fhir_status=self.fhir,
                clock=self.clock,
                open=self.clock != "stopped",
                status_since=self.at,
                hold_until=self.hold_until,
                hold_event=self.hold_event,
            )
            log = (*log, *self.rows)
        if self.priority and not _since(log, "priority", self.at, self.priority):
            item = item.having(priority=self.priority)
        if self.role and not _since(log, "role", self.at, self.role):
            item = item.having(role=self.role)
        if self.unowned_at and not _since(log, "owner", self.unowned_at, None):
            item = item.having(owner=None, assigned_since=None)
        return item, log


def _since(log: Iterable[Transition], what: str, at: datetime, after: str | None) -> bool:
    """Whether that really changed since, or changed to the same at that very moment."""
    changes = (row for row in log if row.what == what and row.recorded_at >= at)
    return any(row.recorded_at > at or row.after == after for row in changes)


def _moved(
    program: Program, facts: Facts, effect: SetStatus | Hold, now: datetime, before: _Changed | None
) -> _Changed:
    status = program.status(effect.status)
    row = Transition(
        item=effect.key.item,
        what="status",
        before=facts.item.status,
        after=effect.status,
        recorded_at=now,
        effective_at=now,
        who=_WHO,
        reason=effect.reason,
        rule=f"{program.code}|{program.version}#{effect.key.rule}",
        cycle=facts.item.cycle,
    )
    held = effect if isinstance(effect, Hold) else None
    return replace(
        before or _Changed(at=now),
        at=now,
        rows=(*(before.rows if before else ()), row),
        status=effect.status,
        fhir=status.fhir if status else facts.item.fhir_status,
        clock=status.clock if status else facts.item.clock,
        hold_until=held.until if held else None,
        hold_event=held.event or None if held else None,
    )
