"""What happened, counted by hours that are added up beforehand, against the same counted slowly from plain lists.

Time goes on and hours are folded now and then, while attempts of long ago are told late and taken back.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from fhir_tracker.model.spell import Spell
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import Event, Firing, FiringKey
from fhir_tracker.storage import attempt_log, firings, rollups, spells
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.flow_facts import FACTS, Period
from fhir_tracker.storage.measure_tables import figure_hour, stale_hour
from fhir_tracker.storage.rollups import Zones
from tests.storage.samples import NOW, VIEWER, item, locked

HOUR = timedelta(hours=1)
PROGRAMS = ("tcm", "ccm", "O'Neil %", None)
PLANS = tuple(f"CarePlan/{number}" for number in range(6))
KEYS = ("program", "a", "b", "c")
ZONES = Zones(usual="America/New_York", own={"ccm": "Australia/Lord_Howe", "tcm": "Pacific/Kiritimati"})
START = datetime(2026, 3, 6, 22, 17, 3, 5, tzinfo=UTC)
"""Two days before New York puts its clocks forward."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing that happened, as it is counted."""

    program: str
    a: str
    b: str
    c: str
    seconds: int
    at: datetime
    patient: str | None


@dataclass(kw_only=True)
class Attempt:
    """One attempt as it was known, from when and until when."""

    ref: str
    plan: str | None
    program: str | None
    channel: str
    outcome: str
    at: datetime
    since: datetime
    until: datetime | None = None
    patient: str

    def is_known(self, as_of: datetime | None) -> bool:
        if as_of is None:
            return self.until is None
        return self.since <= as_of and (self.until is None or self.until > as_of)


@dataclass(kw_only=True)
class Lists:
    """All that happened, in the order in which it was written."""

    spells: list[Spell] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    firings: list[tuple[Firing, str | None]] = field(default_factory=list)


def seconds(time: timedelta) -> int:
    return max(0, time // timedelta(seconds=1))


def of_spell(over: Spell, a: str, b: str, c: str, spent: int = 0) -> Fact:
    return Fact(program=over.program or "", a=a, b=b, c=c, seconds=spent, at=over.until, patient=over.patient)


def escalated(lists: Lists, as_of: datetime | None) -> Iterator[Fact]:
    for one, patient in lists.firings:
        if one.kind == "escalate":
            by = {"a": one.key.rule, "b": str(one.key.level), "c": one.to_role or ""}
            yield Fact(program=one.program or "", **by, seconds=0, at=one.fired_at, patient=patient)


def tried(lists: Lists, as_of: datetime | None) -> Iterator[Fact]:
    for one in lists.attempts:
        if one.is_known(as_of):
            by = {"a": one.channel, "b": one.outcome, "c": ""}
            yield Fact(program=one.program or "", **by, seconds=0, at=one.at, patient=one.patient)


def contacted(lists: Lists, as_of: datetime | None) -> Iterator[Fact]:
    firsts: dict[str, Attempt] = {}
    for one in lists.attempts:
        if one.is_known(as_of) and one.outcome == "reached" and one.plan:
            first = firsts.setdefault(one.plan, one)
            firsts[one.plan] = one if one.at < first.at else first
    for plan, one in firsts.items():
        for begun in (over for over in lists.spells if over.item == plan and over.status == ""):
            spent = seconds(one.at - begun.created_at)
            by = {"a": str(spent // 3600), "b": "", "c": ""}
            yield Fact(program=one.program or "", **by, seconds=spent, at=one.at, patient=one.patient)


def is_real(over: Spell) -> bool:
    return over.next_status != "deleted" and over.next_fhir_status != "entered-in-error"


def plans(lists: Lists, as_of: datetime | None) -> Iterator[Fact]:
    for over in lists.spells:
        if over.kind == "plan" and over.status == "":
            yield of_spell(over, "enrolled", "", over.reason or "")
        elif over.kind == "plan" and over.open and not over.next_open and is_real(over):
            outcome = "completed" if over.next_fhir_status == "completed" else "stopped"
            yield of_spell(over, outcome, over.next_status, over.reason or "")


def closed(lists: Lists, as_of: datetime | None) -> Iterator[Fact]:
    for over in lists.spells:
        if over.kind == "task" and over.open and not over.next_open and is_real(over):
            yield of_spell(over, over.code, over.next_status, over.reason or "")


def timely(lists: Lists, as_of: datetime | None) -> Iterator[Fact]:
    for over in lists.spells:
        if over.kind == "task" and over.open and not over.next_open and over.next_fhir_status == "completed":
            in_time = "no-due" if over.due_at is None else "on-time" if over.effective_at <= over.due_at else "late"
            yield of_spell(over, over.code, in_time, "", seconds(over.effective_at - over.created_at))


def handed(lists: Lists, as_of: datetime | None) -> Iterator[Fact]:
    for over in lists.spells:
        if over.kind == "plan" or not over.open or not over.next_open:
            continue
        if over.role and over.next_role and over.role != over.next_role:
            yield of_spell(over, over.code, "role", "")
        elif over.owner and over.next_owner and over.owner != over.next_owner:
            yield of_spell(over, over.code, "owner", "")
        elif over.owner and not over.next_owner:
            yield of_spell(over, over.code, "returned", "")


def reopened(lists: Lists, as_of: datetime | None) -> Iterator[Fact]:
    for over in lists.spells:
        if over.kind == "task" and not over.open and over.next_open and over.status != "deleted":
            yield of_spell(over, over.code, "", "")


def held(lists: Lists, as_of: datetime | None) -> Iterator[Fact]:
    for over in lists.spells:
        left = not over.next_open or over.next_clock != "paused" or over.next_status != over.status
        if over.kind == "task" and over.open and over.clock == "paused" and left:
            spent = seconds(over.effective_at - over.status_since)
            yield of_spell(over, over.status, str(spent // 3600), "", spent)


SLOWLY: dict[str, Callable[[Lists, datetime | None], Iterator[Fact]]] = {
    one.__name__: one for one in (escalated, tried, contacted, plans, closed, timely, handed, reopened, held)
}


def hour_of_day(fact: Fact) -> str:
    """On the clock of its program, with the whole hours that the zone was ahead when the hour began."""
    begun = fact.at.replace(minute=0, second=0, microsecond=0)
    ahead = begun.astimezone(ZoneInfo(ZONES.of(fact.program))).utcoffset() or timedelta()
    return str((begun.hour + ahead // HOUR) % 24)


def slow_sums(
    lists: Lists, viewer: Viewer, what: str, period: Period, by: Sequence[str], program: str | None
) -> dict[tuple[str, ...], tuple[int, int]]:
    found: dict[tuple[str, ...], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for fact in SLOWLY[what](lists, period.as_of):
        in_time = period.start <= fact.at < period.end
        if in_time and viewer.patient in (None, fact.patient) and program in (None, fact.program):
            keys = tuple(hour_of_day(fact) if name == "hour" else str(getattr(fact, name)) for name in by)
            n, spent = found[keys]
            found[keys] = (n + 1, spent + fact.seconds)
    return dict(found)


class Walk:
    """Lets time pass, and writes to the database and to the lists at once."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database, self.chance, self.lists, self.now = database, random.Random(seed), Lists(), START
        self.number = 0
        self.begun: list[str] = []

    def go_on(self) -> None:
        self.now += self.chance.choice([1, 40, 400, 3600, 9000, 90_000]) * timedelta(seconds=1)
        with self.database.begin() as tx:
            for _ in range(self.chance.randint(1, 6)):
                over = self._beginning() if self.chance.random() < 0.15 else self._spell()
                spells.add(tx, over)
                self.lists.spells.append(over)
            fired, patient = self._firing()
            if firings.fire(tx, fired, patient):
                self.lists.firings.append((fired, patient))
        with self.database.begin() as tx:
            for _ in range(self.chance.randint(0, 3)):
                told = self._attempt()
                seen = Event(
                    ref=told.ref, type="Communication", status="completed", patient=told.patient, seen_at=self.now,
                    start=told.at, detail={"channel": told.channel, "outcome": told.outcome},
                )  # fmt: skip
                attempt_log.add(tx, seen, item("Task/1", plan=told.plan, program=told.program), self.now)
                self.lists.attempts.append(told)
        if self.lists.attempts and self.chance.random() < 0.4:
            self._take_back(self.chance.choice(self.lists.attempts))
        if self.chance.random() < 0.4:
            rollups.fold(self.database, self.now)

    def _take_back(self, one: Attempt) -> None:
        with self.database.begin() as tx:
            attempt_log.end(tx, one.ref, self.now)
        if one.until is None:
            one.until = self.now

    def _firing(self) -> tuple[Firing, str | None]:
        chance = self.chance
        rule, kind = chance.choice(("late", "l'ate")), chance.choice(("escalate", "escalate", "notify"))
        key = FiringKey(
            item=f"Task/{chance.randint(1, 9)}", rule=rule, cycle=str(self.number), level=chance.randint(1, 3)
        )
        self.number += 1
        role, program = chance.choice(("rn", None)), chance.choice(PROGRAMS)
        return Firing(key=key, fired_at=self.now, kind=kind, to_role=role, program=program), chance.choice(
            ("ann", None)
        )

    def _attempt(self) -> Attempt:
        chance = self.chance
        self.number += 1
        ago = chance.choice([0, 0, 1, 59, 3600, 86_400, 700_000]) * timedelta(seconds=1)
        return Attempt(
            ref=f"Communication/{self.number}",
            plan=chance.choice((*self.begun, None)),
            program=chance.choice(PROGRAMS),
            channel=chance.choice(("phone", "sms")),
            outcome=chance.choice(("reached", "no-answer")),
            at=self.now - ago,
            since=self.now,
            patient=chance.choice(("ann", "bob")),
        )

    def _beginning(self) -> Spell:
        """Of a plan, once; nobody tries to reach a patient about a plan before."""
        if len(self.begun) == len(PLANS):
            return self._spell()
        self.begun.append(PLANS[len(self.begun)])
        return replace(self._spell(), kind="plan", item=self.begun[-1], status="", open=False)

    def _spell(self) -> Spell:
        chance = self.chance
        kind = chance.choice(("plan", "task", "task", "escalation"))
        texts: dict[str, Any] = {
            "code": chance.choice(("call", "visit")),
            "status": chance.choice(("to-call", "waiting", "deleted")),
            "next_status": chance.choice(("to-call", "waiting", "deleted")),
            "next_fhir_status": chance.choice(("completed", "failed", "requested", "entered-in-error")),
            "clock": chance.choice(("running", "paused")),
            "next_clock": chance.choice(("running", "paused")),
            "role": chance.choice(("rn", "provider", None)),
            "next_role": chance.choice(("rn", "provider", None)),
            "owner": chance.choice(("Practitioner/a", "Practitioner/b", None)),
            "next_owner": chance.choice(("Practitioner/a", "Practitioner/b", None)),
            "reason": chance.choice(("no-answer", None)),
        }
        made = self.now - chance.randint(0, 10**6) * timedelta(seconds=1)
        effective = self.now - chance.choice([0, 1, 7200, 2_000_000]) * timedelta(seconds=1)
        return Spell(
            item=chance.choice(PLANS) if kind == "plan" else f"Task/{chance.randint(1, 9)}",
            kind=kind,
            patient=chance.choice(("ann", "bob", None)),
            plan=None,
            program=chance.choice(PROGRAMS),
            program_version=1,
            fhir_status="requested",
            open=chance.random() < 0.7,
            due_at=chance.choice((None, effective, effective - HOUR, effective + HOUR)),
            hold_until=None,
            hold_event=None,
            focus=None,
            created_at=made,
            status_since=made + HOUR,
            since=made,
            until=self.now,
            effective_at=effective,
            next_open=chance.random() < 0.5,
            **texts,
        )

    def check(self, periods: Sequence[Period]) -> None:
        for number, (what, period) in enumerate((what, period) for what in FACTS for period in periods):
            by = ((), KEYS, ("program", "hour"), ("hour",), ("b", "a"))[number % 5]
            program = (None, None, "ccm", "O'Neil %", "none")[(number // 2) % 5]
            viewer = (VIEWER, VIEWER, VIEWER, locked("ann"))[(number // 3) % 4]
            with self.database.read() as tx:
                found = rollups.sums(tx, viewer, what, period, by=by, program=program, zones=ZONES)
            told = {one.by: (one.n, one.seconds) for one in found if one.n}
            assert len(told) == len([one for one in found if one.n])
            assert told == slow_sums(self.lists, viewer, what, period, by, program), (what, period, by, program)

    def periods(self) -> list[Period]:
        """Whole and broken hours, short and long, over what is added up and over what is not, and as of before."""
        whole = self.now.replace(minute=0, second=0, microsecond=0)
        some = [
            Period(start=START - 400 * HOUR, end=self.now + HOUR),
            Period(start=START + 26 * HOUR, end=whole),
            Period(start=whole - 30 * HOUR, end=whole - 7 * HOUR),
            Period(start=self.now - 50 * HOUR, end=self.now),
            Period(start=self.now - timedelta(minutes=5), end=self.now + timedelta(microseconds=1)),
            Period(start=self.now, end=self.now),
        ]
        back = self.now - self.chance.randint(0, 60) * HOUR
        return [*some, replace(some[0], as_of=back), replace(some[2], as_of=back)]


def test_what_was_added_up_is_what_counting_each_says_whenever_it_is_asked(database: Database) -> None:
    walk = Walk(database, 1)
    for number in range(24):
        walk.go_on()
        if number % 8 == 7:
            walk.check(walk.periods()[number // 8 % 2 :: 2])
    rollups.fold(database, walk.now + 3 * HOUR)
    walk.check(walk.periods()[::2])
    with database.begin() as tx:
        rollups.rebuild(tx)
    walk.check(walk.periods()[1::2])


def test_every_kind_of_fact_is_counted_slowly_too() -> None:
    assert set(SLOWLY) == set(FACTS)


def test_of_nothing_that_happened_there_is_no_sum(database: Database) -> None:
    assert rollups.fold(database, NOW) == 0
    with database.read() as tx:
        for what in FACTS:
            assert rollups.sums(tx, VIEWER, what, Period(start=START, end=NOW), by=KEYS) == []
            assert [one for one in rollups.sums(tx, VIEWER, what, Period(start=START, end=NOW), by=()) if one.n] == []


def test_more_corrections_than_a_statement_takes_values_are_folded_all_the_same(database: Database) -> None:
    """The first load of an EHR tells of tens of thousands of attempts while nobody folds."""
    told = Walk(database, 3)
    told.go_on()
    rollups.fold(database, told.now + 3 * HOUR)
    with database.begin() as tx:
        for _ in range(66_000):
            rollups.touch(tx, [told.now], told.now + 4 * HOUR)
    late = told._attempt()
    with database.begin() as tx:
        seen = Event(
            ref=late.ref, type="Communication", status="completed", patient="ann", seen_at=told.now, start=late.at
        )
        attempt_log.add(tx, seen, item("Task/1", program=late.program), told.now + 4 * HOUR)
    rollups.fold(database, told.now + 5 * HOUR)
    period = Period(start=START - 1000 * HOUR, end=told.now + HOUR)
    with database.read() as tx:
        assert tx.rows(select(stale_hour)) == []
        found = rollups.sums(tx, VIEWER, "tried", period, by=())
    assert sum(one.n for one in found) == sum(one.until is None for one in told.lists.attempts) + 1


def test_corrections_of_many_hours_are_made_in_lots_beside_other_writers(database: Database) -> None:
    """Scattered hours and hours that follow each other, before and after what is added up."""
    walk = Walk(database, 4)
    walk.go_on()
    with database.begin() as tx:
        spells.add(tx, replace(walk._spell(), until=START - 2000 * HOUR))
    rollups.fold(database, walk.now + 30 * HOUR)
    ago = [3 * number for number in range(35)] + list(range(500, 550)) + [0, 0, 1]
    for lot in (ago[:50], ago[50:]):
        with database.begin() as tx:
            for hours in lot:
                told = replace(walk._attempt(), at=walk.now - hours * HOUR, plan=None, outcome="no-answer")
                walk.lists.attempts.append(told)
                seen = Event(
                    ref=told.ref, type="Communication", status="completed", patient=told.patient, seen_at=walk.now,
                    start=told.at, detail={"channel": told.channel, "outcome": told.outcome},
                )  # fmt: skip
                attempt_log.add(tx, seen, item("Task/1", program=told.program), walk.now + 31 * HOUR)
    period = Period(start=START - 3000 * HOUR, end=walk.now + HOUR)

    def agrees() -> bool:
        with database.read() as tx:
            found = rollups.sums(tx, VIEWER, "tried", period, by=("program", "hour"), zones=ZONES)
        told = {one.by: (one.n, one.seconds) for one in found if one.n}
        return told == slow_sums(walk.lists, VIEWER, "tried", period, ("program", "hour"), None)

    assert agrees()
    rollups.fold(database, walk.now + 32 * HOUR)
    assert agrees()
    with database.read() as tx:
        assert tx.rows(select(stale_hour)) == []
        by_hour = tx.rows(select(figure_hour.c.hour).where(figure_hour.c.what == "tried").distinct())
    assert len(by_hour) == len({rollups.hour_of(one.at) for one in walk.lists.attempts})
    assert rollups.fold(database, walk.now + 32 * HOUR) == 0
