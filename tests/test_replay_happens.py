"""Sweeps at any time, people's answers between them, a worker that is down: a replay says of each moment what then happened."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

import pytest

from fhir_tracker import escalation, rule_replay
from fhir_tracker.model.work import Firing
from fhir_tracker.storage.database import Database
from tests.support.clinic import EVERYONE, MONDAY, RING, SYSTEM, Clinic

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
DUE: Final = MONDAY + 2 * DAY
GAPS: Final = (timedelta(minutes=1), timedelta(minutes=40), HOUR, 2 * HOUR, 5 * HOUR, 9 * HOUR, DAY)
PEOPLE: Final = ("ann", "bob")
FLAGGED: Final = RING.replace(
    "    do: [{create_task: reschedule}]\n",
    "    do: [{create_task: reschedule}]\n"
    "  - {id: alone, when: {all: [{task: first-call}, {unassigned_for: 1 day}]}, do: {set_priority: urgent}}\n"
    "  - {id: long, when: {plan_for: 4 days}, do: {raise_flag: long-plan}}\n",
)


class Days:
    """A clinic whose people and sweeps come at random; `fired` is what was in the store after each sweep."""

    def __init__(self, database: Database, seed: str) -> None:
        self.chance = random.Random(seed)
        self.clinic = Clinic(database, FLAGGED)
        self.now = MONDAY
        self.acts: list[str] = []
        self.sweeps: list[tuple[datetime, dict[str, set[tuple[str, str, int]]]]] = []
        for name in PEOPLE:
            self.clinic.patient(name)
            self.clinic.discharge(name, MONDAY)
        self.items = [one.ref for name in PEOPLE for one in self.clinic.items(name)]

    def live(self, steps: int) -> None:
        """Let time pass; after each wait somebody may do something, and most often a sweep follows a second later."""
        for _ in range(steps):
            self.now += self.chance.choice(GAPS)
            if self.chance.random() < 0.5:
                self.chance.choice((self.answer, self.answer, self.call, self.hold, self.finish))()
                self.now += timedelta(seconds=1)
            if self.chance.random() < 0.8:
                self.sweep()

    def sweep(self) -> None:
        before = self._keys()
        self.clinic.sweep(self.now)
        after = self._keys()
        self.sweeps.append((self.now, {ref: after[ref] - before[ref] for ref in self.items}))

    def answer(self) -> None:
        """Answer an escalation that is open."""
        known = [one for name in PEOPLE for one in self.clinic.escalations(name) if one.open]
        if not known:
            return
        ref, how = (
            self.chance.choice(known).ref,
            self.chance.choice(("acknowledge", "take over", "send back", "resolve")),
        )
        with self.clinic.acting(self.now, EVERYONE) as (tx, by):
            if how == "send back":
                escalation.send_back(tx, ref, "Not ours", by)
            elif how == "resolve":
                escalation.resolve(tx, ref, by, reason="Dealt with")
            else:
                (escalation.acknowledge if how == "acknowledge" else escalation.take_over)(tx, ref, by)
        self.acts.append(how)

    def call(self) -> None:
        """Try a patient whose call is open."""
        for one in self._calls("to-call", "calling"):
            self.clinic.attempt(one, self.now)
            self.acts.append("call")

    def hold(self) -> None:
        """Put a call on hold for a while, or take one up again."""
        for one in self._calls("to-call", "calling"):
            until = (self.now + 6 * HOUR).isoformat()
            self.clinic.move(one, "waiting", self.now, fields={"hold.until": until, "reason": "Waiting for papers"})
            self.acts.append("hold")

    def finish(self) -> None:
        """End a call, or open one again that was ended."""
        for one in self._calls("to-call", "calling"):
            self.clinic.attempt(one, self.now, outcome="reached")
            self.clinic.move(one, "reached", self.now, fields={"note": "Spoke"})
            self.acts.append("finish")
            return
        for one in self._calls("reached"):
            self.clinic.move(one, "calling", self.now, fields={"reason": "It was the neighbour"})
            self.acts.append("reopen")

    def _calls(self, *statuses: str) -> Iterator[str]:
        """At most one of the calls in one of these statuses."""
        known = [self.clinic.task(name, "first-call") for name in PEOPLE]
        fitting = [one.ref for one in known if one.status in statuses]
        if fitting:
            yield self.chance.choice(fitting)

    def _keys(self) -> dict[str, set[tuple[str, str, int]]]:
        return {ref: {_key(one) for one in self.clinic.firings(ref)} for ref in self.items}


def _key(one: Firing) -> tuple[str, str, int]:
    return one.key.rule, one.key.cycle, one.key.level


@pytest.mark.parametrize("seed", range(2))
def test_whatever_people_and_sweeps_do_a_replay_tells_it_and_each_effect_comes_once(
    database: Database, seed: int
) -> None:
    days = Days(database, f"days {seed}")
    days.live(14)
    replays_tell_it(days)
    each_fired_once_in_order(days)
    sweeping_again_does_nothing(days)


def replays_tell_it(days: Days) -> None:
    """What a sweep did is what a replay of the moment before it wants, and nothing is wanted after it."""
    assert any(did for _, told in days.sweeps for did in told.values())
    for at, told in days.sweeps:
        for ref, did in told.items():
            with days.clinic.database.read() as tx:
                then = rule_replay.of_item(tx, SYSTEM, ref, at - timedelta(milliseconds=1))
                after = rule_replay.of_item(tx, SYSTEM, ref, at)
            wanted = {(one.key.rule, one.key.cycle, one.key.level) for one in then.wanted}
            assert wanted <= did, (at, ref, days.acts)
            assert bool(wanted) == bool(did), (at, ref, did, days.acts)
            assert not after.wanted, (at, ref, days.acts)
            assert all(one.fired_at is not None for one in then.wanted)


def each_fired_once_in_order(days: Days) -> None:
    """No sooner than its ladder says, with a Task and a message of its own."""
    for ref in days.items:
        fired = days.clinic.firings(ref)
        assert len({one.key for one in fired}) == len(fired)
        ladders: dict[str, list[Firing]] = {}
        for one in fired:
            if one.kind == "escalate":
                ladders.setdefault(one.key.cycle, []).append(one)
        for some in ladders.values():
            assert [one.key.level for one in some] == list(range(1, len(some) + 1))
            waits = [later.fired_at - one.fired_at for one, later in pairwise(some)]
            assert all(wait >= least for wait, least in zip(waits, (4 * HOUR, HOUR), strict=False)), waits
            assert some[0].fired_at >= DUE
    told = [
        note.id for name in PEOPLE for one in days.clinic.escalations(name) for note in days.clinic.notified(one.ref)
    ]
    assert len(told) == len(set(told))
    raised = [one for ref in days.items for one in days.clinic.firings(ref) if one.kind == "escalate"]
    assert len({one.task for one in raised}) == len(raised)


def sweeping_again_does_nothing(days: Days) -> None:
    """Whatever the clock says, earlier or the same moment."""
    days.sweep()
    before = {ref: days.clinic.firings(ref) for ref in days.items}
    count = len(days.clinic.stored("Task"))
    for back in (timedelta(0), HOUR, 3 * DAY, 40 * DAY, timedelta(0)):
        days.clinic.sweep(days.now - back)
    assert {ref: days.clinic.firings(ref) for ref in days.items} == before
    assert len(days.clinic.stored("Task")) == count
