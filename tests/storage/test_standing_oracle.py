"""How work stood at a moment, against the same said slowly over lists: now, before, for one patient, and by prepared texts."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from fhir_tracker.model.spell import Spell
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import Event, WorkItem
from fhir_tracker.storage import attempt_log, spells, standing, work_items
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.glance import Glance, NeedsTransaction
from fhir_tracker.storage.standing import Found, Moment, Spread
from tests.storage.samples import NOW, VIEWER, item, locked

HOUR = timedelta(hours=1)
PROGRAMS = ("tcm", "ccm", "O'Neil %s", 'a"b\\c', "%(x)s :y ? $1 {}", None)
STATUSES = ("to-call", "calling", "%", "'")
PATIENTS = ("ann", "bob", None)
OWNERS = ("Practitioner/a", "Practitioner/o'b", None)
PLANS = tuple(f"CarePlan/{number}" for number in range(8))
CODES = ("call", "visit", "")
Row = WorkItem | Spell


def some_time(chance: random.Random) -> datetime:
    """Often the same as another, sometimes the moment itself, sometimes to come."""
    return (
        NOW
        + chance.choice([-100, -30, -30, -3, -1, 0, 0, 1, 5]) * HOUR
        + timedelta(microseconds=chance.choice([0, 0, 1]))
    )


def drawn(chance: random.Random) -> dict[str, Any]:
    """What items and spells have in common."""
    return {
        "patient": chance.choice(PATIENTS),
        "plan": chance.choice((*PLANS, None)),
        "program": chance.choice(PROGRAMS),
        "program_version": chance.choice((1, 2, None)),
        "code": chance.choice(CODES),
        "status": chance.choice(STATUSES),
        "fhir_status": "requested",
        "clock": chance.choice(("running", "running", "paused")),
        "open": chance.random() < 0.75,
        "role": chance.choice(("rn", None)),
        "owner": chance.choice(OWNERS),
        "due_at": chance.choice((some_time(chance), None)),
        "hold_until": chance.choice((some_time(chance), None)),
        "hold_event": chance.choice(("letter", None, None)),
        "focus": chance.choice(("Task/9000", None, None)),
        "created_at": some_time(chance),
        "status_since": some_time(chance),
    }


def an_item(chance: random.Random, number: int) -> WorkItem:
    kind = chance.choice(("task", "task", "task", "escalation", "outside"))
    since = None if kind == "outside" else some_time(chance)
    return item(f"Task/{1000 + number}", kind=kind, stands_since=since, **drawn(chance))


def a_plan(chance: random.Random, ref: str) -> WorkItem:
    return item(ref, kind="plan", stands_since=some_time(chance), **drawn(chance) | {"plan": ref, "owner": None})


def a_spell(chance: random.Random, ref: str) -> Spell:
    since = some_time(chance)
    kind = "plan" if ref.startswith("CarePlan") else chance.choice(("task", "escalation"))
    after: dict[str, Any] = {"next_status": "calling", "next_fhir_status": "requested", "next_clock": "running"}
    after |= {"next_open": True, "next_role": None, "next_owner": None, "reason": None}
    until = max(since, some_time(chance))
    times: dict[str, Any] = {"since": since, "until": until, "effective_at": until}
    return Spell(item=ref, kind=kind, **times, **after, **drawn(chance))


def a_beginning(chance: random.Random, ref: str) -> Spell:
    begun = a_spell(chance, ref)
    return replace(begun, kind="plan", status="", open=False, since=begun.until)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One row of the attempts as measures read them."""

    plan: str
    reached: bool
    since: datetime
    until: datetime | None


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything that was drawn."""

    items: tuple[WorkItem, ...]
    spells: tuple[Spell, ...]
    attempts: tuple[Attempt, ...]

    def write(self, database: Database) -> None:
        with database.begin() as tx:
            for one in self.items:
                work_items.add(tx, one)
            for over in self.spells:
                spells.add(tx, over)
            for number, tried in enumerate(self.attempts):
                _write_attempt(tx, number, tried)


def _write_attempt(tx: Tx, number: int, tried: Attempt) -> None:
    ref = f"Communication/{number}"
    told = {"channel": "phone", "outcome": "reached" if tried.reached else "no-answer"}
    seen = Event(ref=ref, type="Communication", status="completed", patient="ann", seen_at=tried.since, detail=told)
    attempt_log.add(tx, seen, item("Task/1", plan=tried.plan), tried.since)
    if tried.until is not None:
        attempt_log.end(tx, ref, tried.until)


def an_attempt(chance: random.Random) -> Attempt:
    since = some_time(chance)
    until = chance.choice((None, None, since, since + 2 * HOUR))
    return Attempt(plan=chance.choice(PLANS), reached=chance.random() < 0.6, since=since, until=until)


def a_world(seed: int) -> World:
    chance = random.Random(seed)
    tasks = [an_item(chance, number) for number in range(40)]
    plans = [a_plan(chance, ref) for ref in PLANS if chance.random() < 0.7]
    over = [a_spell(chance, chance.choice(tasks).ref) for _ in range(30)]
    over += [a_spell(chance, ref) for ref in PLANS for _ in range(chance.randint(0, 2))]
    over += [a_beginning(chance, ref) for ref in PLANS if chance.random() < 0.7]
    tried = [an_attempt(chance) for _ in range(8)]
    return World(items=(*tasks, *plans), spells=tuple(over), attempts=tuple(tried))


@dataclass(frozen=True, kw_only=True)
class Stood:
    """One piece of work as it stood."""

    ref: str
    row: Row

    def __getattr__(self, name: str) -> Any:
        return getattr(self.row, name)


def slowly_standing(world: World, moment: Moment, viewer: Viewer) -> list[Stood]:
    """The open work of the tracker's own at the moment."""
    found = [Stood(ref=one.ref, row=one) for one in world.items if one.open and one.kind != "outside"]
    if not moment.now:
        found = [one for one in found if one.stands_since is not None and one.stands_since <= moment.at]
        found += [
            Stood(ref=over.item, row=over)
            for over in world.spells
            if over.open and over.since <= moment.at < over.until
        ]
    return [one for one in found if viewer.patient in (None, one.patient)]


def slowly_spread(
    rows: Iterable[tuple[tuple[str, ...], datetime, dict[str, bool]]], at: datetime
) -> dict[tuple[str, ...], Spread]:
    """Of each group how many, and the nearest ranks of how long, counted out."""
    groups: dict[tuple[str, ...], list[tuple[datetime, dict[str, bool]]]] = defaultdict(list)
    for by, since, marks in rows:
        groups[by].append((since, marks))
    found: dict[tuple[str, ...], Spread] = {}
    for by, some in groups.items():
        lasted = sorted(max(0, (at - since) // timedelta(seconds=1)) for since, _ in some)
        counts = {name: sum(marks[name] for _, marks in some) for name in some[0][1]}
        median, p90 = (lasted[-(-len(lasted) * percent // 100) - 1] for percent in (50, 90))
        found[by] = Spread(by=by, n=len(some), median=median, p90=p90, oldest=lasted[-1], counts=counts)
    return found


def by_key(found: Sequence[Spread]) -> dict[tuple[str, ...], Spread]:
    keyed = {one.by: one for one in found}
    assert len(keyed) == len(found)
    return keyed


def slow_aging(stood: Sequence[Stood], world: World, moment: Moment) -> Any:
    return slowly_spread(
        (((one.kind, one.program or "", one.status), one.status_since, {}) for one in stood), moment.at
    )


def slow_overdue(stood: Sequence[Stood], world: World, moment: Moment) -> Any:
    late = (
        one for one in stood if one.kind != "plan" and one.clock == "running" and one.due_at and one.due_at < moment.at
    )
    return slowly_spread(
        (((one.owner or "", one.role or "", one.program or ""), one.due_at, {}) for one in late), moment.at
    )


def slow_holds(stood: Sequence[Stood], world: World, moment: Moment) -> Any:
    def marks(one: Stood) -> dict[str, bool]:
        endless = one.hold_until is None and one.hold_event is None
        return {"without_end": endless, "past_end": bool(one.hold_until and one.hold_until < moment.at)}

    held = (one for one in stood if one.kind == "task" and one.clock == "paused")
    return slowly_spread((((one.program or "", one.status), one.status_since, marks(one)) for one in held), moment.at)


def slow_waiting(stood: Sequence[Stood], world: World, moment: Moment) -> Any:
    def is_known(tried: Attempt) -> bool:
        if moment.now:
            return tried.until is None
        return tried.since <= moment.at and (tried.until is None or tried.until > moment.at)

    reached = {tried.plan for tried in world.attempts if tried.reached and is_known(tried)}
    plans = (one for one in stood if one.kind == "plan" and one.ref not in reached)
    return slowly_spread((((one.program or "",), one.created_at, {}) for one in plans), moment.at)


SPREADS: dict[str, tuple[Callable[..., list[Spread]], Callable[[Sequence[Stood], World, Moment], Any]]] = {
    "aging": (standing.aging, slow_aging),
    "overdue": (standing.overdue, slow_overdue),
    "holds": (standing.holds, slow_holds),
    "waiting": (standing.waiting, slow_waiting),
}


def told(one: Stood, other: str = "") -> Found:
    return Found(ref=one.ref, program=one.program or "", role=one.role or "", other=other)


def slow_doubles(stood: Sequence[Stood], world: World, moment: Moment) -> list[Found]:
    same: dict[tuple[Any, ...], list[Stood]] = defaultdict(list)
    for one in stood:
        if one.kind == "task" and one.code and one.patient:
            same[one.patient, one.program, one.plan, one.code, one.due_at, one.focus].append(one)
    found = []
    for some in same.values():
        first, *rest = sorted(some, key=lambda one: (one.created_at, one.ref))
        found += [told(one, first.ref) for one in rest]
    return found


def slow_left_open(stood: Sequence[Stood], world: World, moment: Moment) -> list[Found]:
    begun = {over.item for over in world.spells if over.kind == "plan" and not over.status and over.until <= moment.at}
    plans = {one.ref for one in stood if one.kind == "plan"}
    return [told(one) for one in stood if one.kind == "task" and one.plan in begun - plans]


def tasks_that(fits: Callable[[Stood], bool]) -> Callable[[Sequence[Stood], World, Moment], list[Found]]:
    return lambda stood, world, moment: [told(one) for one in stood if one.kind == "task" and fits(one)]


LISTS: dict[str, tuple[Callable[..., list[Found]], Callable[[Sequence[Stood], World, Moment], list[Found]]]] = {
    "without an owner": (standing.without_owner, tasks_that(lambda one: one.owner is None)),
    "without a due time": (standing.without_due, tasks_that(lambda one: one.due_at is None)),
    "held without end": (
        standing.endless_holds,
        tasks_that(lambda one: one.clock == "paused" and one.hold_until is None and one.hold_event is None),
    ),
    "left open": (standing.left_open, slow_left_open),
    "doubles": (standing.doubles, slow_doubles),
    "of some owners": (
        lambda tx, viewer, moment: standing.owned_by(tx, viewer, moment, ["Practitioner/o'b", "Practitioner/o'b", "x"]),
        tasks_that(lambda one: one.owner == "Practitioner/o'b"),
    ),
    "of nobody": (lambda tx, viewer, moment: standing.owned_by(tx, viewer, moment, []), lambda *_: []),
}
MOMENTS = tuple(
    Moment(at=NOW + hours * HOUR + timedelta(microseconds=more), now=is_now)
    for hours, more, is_now in (
        (0, 0, True),
        (3, 0, True),
        (0, 0, False),
        (-1, 1, False),
        (-30, 0, False),
        (-200, 0, False),
    )
)
VIEWERS = (VIEWER, locked("ann"), locked("nobody"))
SEEDS = (1, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_how_long_work_stood_is_what_counting_one_by_one_says(database: Database, seed: int) -> None:
    world = a_world(seed)
    world.write(database)
    for moment in MOMENTS:
        for viewer in VIEWERS:
            stood = slowly_standing(world, moment, viewer)
            with database.read() as tx:
                for name, (quick, slow) in SPREADS.items():
                    assert by_key(quick(tx, viewer, moment)) == slow(stood, world, moment), name
                owners = standing.owners(tx, viewer, moment)
            assert sorted(owners) == sorted({one.owner for one in stood if one.owner})


@pytest.mark.parametrize("seed", SEEDS)
def test_of_one_program_it_is_what_that_program_is_of_all(database: Database, seed: int) -> None:
    world = a_world(seed)
    world.write(database)
    for moment in MOMENTS[:3]:
        for program in (*PROGRAMS[:-1], "none such", ""):
            stood = [one for one in slowly_standing(world, moment, VIEWER) if one.program == program]
            with database.read() as tx:
                for name, (quick, slow) in SPREADS.items():
                    assert by_key(quick(tx, VIEWER, moment, program)) == slow(stood, world, moment), (name, program)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_not_in_order_is_what_looking_at_each_says(database: Database, seed: int) -> None:
    world = a_world(seed)
    world.write(database)
    for moment in MOMENTS:
        for viewer in VIEWERS:
            stood = slowly_standing(world, moment, viewer)
            with database.read() as tx:
                for name, (quick, slow) in LISTS.items():
                    found = quick(tx, viewer, moment)
                    expected = slow(stood, world, moment)
                    assert sorted(found, key=repr) == sorted(expected, key=repr), name
                    assert [one.ref for one in found] == sorted(one.ref for one in found)


def glanced(
    database: Database, quick: Callable[..., list[Spread]], moment: Moment, program: str | None
) -> list[Spread] | None:
    """What a prepared text says, None where it asks for a transaction."""
    with database.drivers.take() as driver:
        try:
            return quick(Glance(driver, database.dialect), VIEWER, moment, program)
        except NeedsTransaction:
            return None


@pytest.mark.parametrize("seed", SEEDS)
def test_prepared_texts_say_the_same_as_transactions_whatever_a_program_is_called(
    database: Database, seed: int
) -> None:
    """A program's code stands in such a text as it is: quotes, percent signs and backslashes of it are no part of the text."""
    world = a_world(seed)
    world.write(database)
    hostile = ("x' OR '1'='1", "'; DROP TABLE work_item; --", "\\' --", "%s", "%%", ":at", "$1", "?", "\n")
    for program in (None, *PROGRAMS, *hostile):
        for at in (NOW, NOW + 3 * HOUR, NOW - 30 * HOUR):
            moment = Moment(at=at, now=True)
            stood = slowly_standing(world, moment, VIEWER)
            stood = stood if program is None else [one for one in stood if one.program == program]
            for name in ("aging", "overdue"):
                quick, slow = SPREADS[name]
                found = glanced(database, quick, moment, program)
                if found is None:
                    assert "%s" in (program or "")
                else:
                    assert by_key(found) == slow(stood, world, moment), (name, program)
    with database.read() as tx:
        assert len(work_items.scan(tx, VIEWER)) == len(world.items)


def test_of_no_work_at_all_there_is_nothing_to_say(database: Database) -> None:
    for moment in MOMENTS:
        with database.read() as tx:
            assert all(quick(tx, VIEWER, moment) == [] for quick, _ in (*SPREADS.values(), *LISTS.values()))
            assert standing.owners(tx, VIEWER, moment) == []
            assert standing.first_firings(tx, VIEWER, NOW, NOW, []) == {}
            assert standing.unresolved(tx, VIEWER, moment, []) == []
