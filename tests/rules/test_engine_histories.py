"""The engine played through random histories: events, moves, answers, pauses, replays and crashes between effects."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fhir_tracker.model.effects import CreateTask, Effect, Escalate, ReturnToQueue, SetPriority, SetStatus
from fhir_tracker.model.facts import Evaluation, Facts
from fhir_tracker.model.program import Program
from fhir_tracker.model.work import Event, Firing, FiringKey, FiringState, Transition, WorkItem
from fhir_tracker.rules.engine import evaluate
from tests.rules.samples import MONDAY, attempt, event, hours, item, plan, plan_item, program, visit

RULES: Final = """
  - {id: late, when: {overdue_by: 0 hours}, do: {escalate: late}}
  - {id: very-late, when: {overdue_by: 2 business days}, do: [{set_priority: urgent}, {notify: clinic-admin}]}
  - {id: soon, when: {due_within: 4 business hours}, do: {notify: rn}}
  - {id: nobody, when: {unassigned_for: 1 business day}, do: {raise_flag: unowned}}
  - {id: stuck, when: {in_status_for: {status: calling, for: 2 business days}}, do: {return_to_queue: true}}
  - {id: tired, when: {all: [{task: first-call}, {outreach_failed: {attempts: 2, over: 1 business day}}]}, do: {set_status: failed}}
  - {id: risky, subject: task, when: {all: [{flag: risk}, {not: {priority: urgent}}]}, do: {set_priority: urgent}}
  - {id: missed, subject: plan, when: {appointment_missed: {service: visit, grace: 1 day}}, do: [{create_task: rebook}, {escalate: late}]}
  - {id: no-note, subject: plan, when: {document_missing: note}, do: [{create_task: rebook}, {raise_flag: no-note}]}
"""
DEMO: Final[Program] = program(RULES)
CLOCKS: Final = {one.code: one.clock for one in DEMO.statuses}
FHIR: Final = {one.code: one.fhir for one in DEMO.statuses}
minutes = st.integers(1, 3 * 24 * 60)


class Practice:
    """Items, their logs and firings, applied as the product applies effects: each key once, all rows kept."""

    def __init__(self) -> None:
        self.items: dict[str, WorkItem] = {"Task/t1": item(due_at=MONDAY + hours(8)), "CarePlan/p1": plan_item()}
        self.log: dict[str, list[Transition]] = {"Task/t1": [_row("Task/t1", None, "to-call", MONDAY, 0)]}
        self.fired: dict[FiringKey, Firing] = {}
        self.events: dict[str, Event] = {}
        self.made = 0

    def facts(self, ref: str) -> Facts:
        one = self.items[ref]
        return Facts(
            item=one,
            plan=plan(),
            log=tuple(self.log.get(ref, ())),
            events=tuple(self.events.values()),
            fired=tuple(firing for key, firing in self.fired.items() if key.item == ref),
            tasks=tuple(other for other in self.items.values() if other.kind == "task" and other.ref != ref),
        )

    def apply(self, ref: str, effect: Effect, now: datetime) -> None:
        assert effect.key not in self.fired, effect.key
        task = None
        if isinstance(effect, CreateTask):
            self.made += 1
            task = f"Task/made{self.made}"
            self.items[task] = item(
                ref=task,
                code=effect.template,
                due_at=effect.due_at,
                focus=effect.about,
                created_at=now,
                status_since=now,
            )
        elif isinstance(effect, SetStatus):
            self.move(ref, effect.status, now)
        elif isinstance(effect, SetPriority):
            self.items[ref] = replace(self.items[ref], priority=effect.priority)
        elif isinstance(effect, ReturnToQueue):
            self.items[ref] = replace(self.items[ref], owner=None)
        kind = "escalate" if isinstance(effect, Escalate) else type(effect).__name__
        self.fired[effect.key] = Firing(key=effect.key, fired_at=now, kind=kind, task=task, reason=effect.reason)

    def move(self, ref: str, status: str, now: datetime, hold: datetime | None = None) -> None:
        one = self.items[ref]
        if one.status == status:
            return
        reopened = not one.open and CLOCKS[status] != "stopped"
        cycle = one.cycle + reopened
        self.log.setdefault(ref, []).append(_row(ref, one.status, status, now, cycle))
        self.items[ref] = replace(
            one, status=status, fhir_status=FHIR[status], clock=CLOCKS[status], open=CLOCKS[status] != "stopped",
            status_since=now, cycle=cycle, hold_until=hold,
        )  # fmt: skip

    def due(self, ref: str, at: datetime | None, now: datetime) -> None:
        one = self.items[ref]
        self.log.setdefault(ref, []).append(replace(_row(ref, "x", "y", now, one.cycle + 1), what="due"))
        self.items[ref] = replace(one, due_at=at, cycle=one.cycle + 1)


def _row(ref: str, before: str | None, after: str, at: datetime, cycle: int) -> Transition:
    return Transition(
        item=ref, what="status", before=before, after=after, recorded_at=at, effective_at=at, who="x", cycle=cycle
    )


class Histories(RuleBasedStateMachine):
    """Plays one practice; every look goes through `_look`, which checks what must always hold."""

    def __init__(self) -> None:
        super().__init__()
        self.practice = Practice()
        self.now = MONDAY
        self.planned: dict[str, datetime | None] = {}
        self.number = 0
        self.chance = random.Random(3)

    @initialize()
    def begin(self) -> None:
        self._sweep()

    @rule(wait=minutes)
    def time_passes_and_only_what_was_planned_happens(self, wait: int) -> None:
        end = self.now + timedelta(minutes=wait)
        for _ in range(200):
            due = [(at, ref) for ref, at in self.planned.items() if at is not None and at <= end]
            if not due:
                break
            at, ref = min(due)
            self.now = max(self.now, at)
            self._look(ref)
        else:
            raise AssertionError("the engine never comes to rest")
        self.now = end

    @rule(
        kind=st.sampled_from(("booked", "noshow", "cancelled", "fulfilled")), shift=st.integers(-2000, 6000),
        name=st.integers(0, 3),
    )  # fmt: skip
    def an_appointment_changes(self, kind: str, shift: int, name: int) -> None:
        self._event(visit(f"a{name}", kind, self.now + timedelta(minutes=shift), seen_at=self.now))

    @rule(outcome=st.sampled_from(("no-answer", "left-message", "reached")), channel=st.sampled_from(("phone", "sms")))
    def somebody_tries_the_patient(self, outcome: str, channel: str) -> None:
        self.number += 1
        self._event(attempt(f"c{self.number:03}", self.now, outcome, channel))

    @rule(code=st.sampled_from(("urn:l|note", "urn:l|summary", "urn:l|odd")), shift=st.integers(-6000, 0))
    def a_document_is_filed(self, code: str, shift: int) -> None:
        self.number += 1
        at = self.now + timedelta(minutes=shift)
        self._event(event(f"DocumentReference/d{self.number:03}", "current", at, codes=(code,), seen_at=self.now))

    @rule(status=st.sampled_from(("active", "inactive")))
    def a_flag_is_raised_or_taken_away(self, status: str) -> None:
        self._event(event("Flag/f", status, self.now, codes=("risk",), seen_at=self.now))

    @rule(status=st.sampled_from(("to-call", "calling", "waiting", "reached", "failed")), hold=minutes)
    def somebody_moves_work(self, status: str, hold: int) -> None:
        ref = self._some_task()
        self.practice.move(ref, status, self.now, self.now + timedelta(minutes=hold) if status == "waiting" else None)
        self._sweep()

    @rule(at=st.none() | minutes)
    def somebody_sets_a_due_time(self, at: int | None) -> None:
        ref = self._some_task()
        self.practice.due(ref, self.now + timedelta(minutes=at) if at else None, self.now)
        self._sweep()

    @rule(owner=st.sampled_from((None, "Practitioner/a")))
    def somebody_takes_or_releases_work(self, owner: str | None) -> None:
        ref = self._some_task()
        one = self.practice.items[ref]
        row = _row(ref, one.owner, owner or "", self.now, one.cycle)
        self.practice.log.setdefault(ref, []).append(replace(row, what="owner"))
        self.practice.items[ref] = replace(one, owner=owner)
        self._sweep()

    @precondition(lambda self: any(one.kind == "escalate" for one in self.practice.fired.values()))
    @rule(state=st.sampled_from(("acknowledged", "taken-over", "sent-back", "resolved")))
    def somebody_answers_an_escalation(self, state: FiringState) -> None:
        key = self.chance.choice([key for key, one in self.practice.fired.items() if one.kind == "escalate"])
        self.practice.fired[key] = replace(self.practice.fired[key], state=state)
        self._sweep()

    @rule()
    def everything_is_looked_at_once_more(self) -> None:
        before = dict(self.practice.fired)
        self._sweep()
        assert self.practice.fired == before

    @rule(wait=minutes)
    def the_clock_goes_back(self, wait: int) -> None:
        earlier = self.now - timedelta(minutes=wait)
        for ref in self.practice.items:
            for effect in evaluate(DEMO, self.practice.facts(ref), earlier).effects:
                assert effect.key not in self.practice.fired

    @invariant()
    def each_case_climbs_without_leaving_a_level_out(self) -> None:
        levels: dict[tuple[str, str, str], set[int]] = {}
        for key, one in self.practice.fired.items():
            if one.kind == "escalate":
                levels.setdefault((key.item, key.rule, key.cycle), set()).add(key.level)
        assert all(found == set(range(1, len(found) + 1)) for found in levels.values())

    @invariant()
    def each_level_fires_after_the_one_before(self) -> None:
        for key, one in self.practice.fired.items():
            lower = self.practice.fired.get(replace(key, level=key.level - 1))
            if one.kind == "escalate" and lower is not None and key.level > 1:
                assert lower.fired_at < one.fired_at

    @invariant()
    def recurring_work_has_no_backlog(self) -> None:
        open_ones = [one for one in self.practice.items.values() if one.code == "touch" and one.open]
        assert len(open_ones) <= 1

    def _some_task(self) -> str:
        return self.chance.choice([ref for ref, one in self.practice.items.items() if one.kind == "task"])

    def _event(self, seen: Event) -> None:
        self.practice.events[seen.ref] = seen
        self._sweep()

    def _sweep(self) -> None:
        for _ in range(60):
            before = len(self.practice.fired)
            for ref in sorted(self.practice.items):
                self._look(ref)
            if len(self.practice.fired) == before:
                return
        raise AssertionError("one moment never comes to rest")

    def _look(self, ref: str) -> None:
        """Evaluate, apply up to a crash, evaluate again: what is left is exactly what was not applied."""
        for _ in range(30):
            found = self._evaluated(ref)
            if not found.effects:
                self.planned[ref] = found.next_at
                return
            assert self.practice.items[ref].open, "closed work wants nothing"
            for effect in found.effects[: self.chance.randint(1, len(found.effects))]:
                self.practice.apply(ref, effect, self.now)
                if isinstance(effect, SetStatus | SetPriority | ReturnToQueue):
                    break
        raise AssertionError("one item never comes to rest")

    def _evaluated(self, ref: str) -> Evaluation:
        known = self.practice.facts(ref)
        found = evaluate(DEMO, known, self.now)
        assert found.next_at is None or found.next_at > self.now
        mixed = replace(
            known,
            events=tuple(self.chance.sample(known.events, len(known.events))),
            fired=tuple(self.chance.sample(known.fired, len(known.fired))),
            tasks=tuple(self.chance.sample(known.tasks, len(known.tasks))),
        )
        again = evaluate(DEMO, mixed, self.now)
        assert (again.effects, again.next_at) == (found.effects, found.next_at)
        if not found.effects:
            self._nothing_sooner(known, found.next_at)
        return found

    def _nothing_sooner(self, known: Facts, next_at: datetime | None) -> None:
        """At no moment before `next_at` would the engine have wanted anything."""
        until = next_at or self.now + timedelta(days=40)
        for share in (self.chance.random(), self.chance.random()):
            moment = self.now + (until - self.now) * share
            assert evaluate(DEMO, known, moment).effects == (), moment
        last = until - timedelta(microseconds=1)
        assert evaluate(DEMO, known, last).effects == (), last


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
