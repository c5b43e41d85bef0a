"""A second reading of docs/programs.md: one task's story on a grid of half hours, and whether each test holds in each of them.

Everything in a story happens on the grid and every duration is a whole number of half hours, so nothing can change
between two of its cells. Nothing of the product's rules is used here, only the program's words.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

STEP: Final = timedelta(minutes=30)
ZONE: Final = ZoneInfo("America/New_York")
START: Final = datetime(2026, 3, 2, 0, 0, tzinfo=ZONE).astimezone(UTC)
DAYS: Final = 16
CELLS: Final = DAYS * 48
BEYOND: Final = CELLS * 4
"""Far enough for every duration; the clocks go forward on the eighth of March."""
BUSINESS_DUE: Final = "first-call"
SPANS: Final = (
    "0 hours",
    "30 minutes",
    "2 hours",
    "7 hours",
    "26 hours",
    "1 day",
    "3 days",
    "1 business day",
    "4 business hours",
)
LONG: Final = SPANS[1:]
PAUSED: Final = "waiting"


@cache
def at(index: int) -> datetime:
    return START + STEP * index


@cache
def wall(index: int) -> datetime:
    return at(index).astimezone(ZONE).replace(tzinfo=None)


@cache
def cells_of_walls() -> dict[datetime, int]:
    """Wall clock to the first cell that shows it."""
    found: dict[datetime, int] = {}
    for index in range(-CELLS, BEYOND):
        found.setdefault(wall(index), index)
    return found


@cache
def is_open(index: int) -> bool:
    """Whether the practice works in a cell: Mon-Fri 08:00-17:00; no holiday of the United States falls into these weeks."""
    here = wall(index)
    return here.weekday() < 5 and 8 <= here.hour < 17


def add(index: int, text: str) -> int:
    """The first cell in which `text` has passed since the beginning of a cell."""
    amount, *unit = text.split()
    number = int(amount)
    match " ".join(unit).removesuffix("s"):
        case "minute":
            return index + number // 30
        case "hour":
            return index + number * 2
        case "day":
            return _same_clock(wall(index) + timedelta(days=number)) if number else index
        case "business hour":
            return _open_cells(index, number * 2)
        case "business day":
            return _close(index, number)
    raise AssertionError(text)


def _same_clock(wanted: datetime) -> int:
    known = cells_of_walls()
    while wanted not in known:
        wanted += STEP
    return known[wanted]


def _open_cells(index: int, left: int) -> int:
    while left:
        left -= is_open(index)
        index += 1
    return index


def _close(index: int, days: int) -> int:
    day, left = wall(index), days
    while True:
        day += timedelta(days=1)
        if day.weekday() < 5:
            left -= 1
        if not left:
            return _same_clock(day.replace(hour=17, minute=0))


def before(index: int, text: str) -> int:
    """The first cell from which `index` is within `text`: the last from which it takes no longer, for what has no days."""
    amount, *unit = text.split()
    match " ".join(unit).removesuffix("s"):
        case "minute":
            return index - int(amount) // 30
        case "hour":
            return index - int(amount) * 2
        case "day":
            return _same_clock(wall(index) - timedelta(days=int(amount)))
        case "business hour":
            left = int(amount) * 2
            while left:
                index -= 1
                left -= is_open(index)
            return index
    raise AssertionError(text)


@dataclass(kw_only=True)
class Visit:
    """Booked in one cell for another; `outcome` comes `late` cells after it, "" never."""

    name: str
    booked: int
    start: int
    outcome: str
    late: int = 1

    def status(self, now: int) -> str:
        return self.outcome if self.outcome and now >= self.told else "booked"

    @property
    def told(self) -> int:
        """When the outcome is heard of: a cancellation before the visit, all else after it."""
        return max(self.booked, self.start - 4) if self.outcome == "cancelled" else self.start + self.late


@dataclass(kw_only=True)
class Story:
    """One task: its code, cells of its moves, and what happened to its patient. Times are cells."""

    code: str
    created: int
    due: int | None
    priority: str
    stage: str
    statuses: list[tuple[int, str]] = field(default_factory=list)
    owners: list[tuple[int, str | None]] = field(default_factory=list)
    tries: list[tuple[int, str, str]] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    stays: list[tuple[int, int | None]] = field(default_factory=list)
    flags: list[tuple[int, int | None, str]] = field(default_factory=list)
    readings: list[tuple[int, int]] = field(default_factory=list)
    others: list[tuple[int, int | None, str]] = field(default_factory=list)

    def status(self, now: int) -> str:
        return [code for index, code in self.statuses if index <= now][-1]

    def status_since(self, now: int) -> int:
        return [index for index, _ in self.statuses if index <= now][-1]

    def owner(self, now: int) -> str | None:
        return [who for index, who in self.owners if index <= now][-1]

    def paused(self, now: int) -> bool:
        return self.status(now) == PAUSED

    def pauses(self, now: int) -> list[tuple[int, int]]:
        """The runs of paused cells that are over."""
        runs: list[tuple[int, int]] = []
        begun: int | None = None
        for index in range(self.created, now + 1):
            if self.paused(index) and begun is None:
                begun = index
            if not self.paused(index) and begun is not None:
                runs.append((begun, index))
                begun = None
        return runs

    def due_now(self, now: int) -> int | None:
        """The due time as moved by the pauses that are over."""
        due = self.due
        for start, end in self.pauses(now) if due is not None else ():
            assert due is not None
            if start < due and self.code == BUSINESS_DUE:
                lost = sum(is_open(index) for index in range(start, end))
                due = _open_cells(due, lost) if lost else due
            elif start < due:
                due += end - start
        return due

    def failed(self, now: int) -> list[tuple[int, str, str]]:
        """The tries since the patient was last reached."""
        found: list[tuple[int, str, str]] = []
        for one in self.tries:
            if one[0] <= now:
                found = [] if one[1] == "reached" else [*found, one]
        return found

    def moments(self) -> set[int]:
        """Every cell in which something is heard of."""
        found = {one[0] for one in self.statuses} | {one[0] for one in self.owners} | {one[0] for one in self.tries}
        found |= {one[0] for one in self.flags} | {one[0] for one in self.readings}
        found |= {index for one in self.visits for index in (one.booked, one.told)}
        found |= {index for stay in self.stays for index in stay if index is not None}
        found |= {index for one in self.others for index in one[:2] if index is not None}
        return {index for index in found if index >= self.created}


def invented(chance: random.Random) -> Story:
    """A story of some two weeks."""
    created = chance.randrange(0, 4 * 48)
    story = Story(
        code=chance.choice((BUSINESS_DUE, "visit")),
        created=created,
        due=chance.choice((None, created + chance.randrange(2, 6 * 48), created + chance.randrange(2, 6 * 48))),
        priority=chance.choice(("routine", "urgent")),
        stage=chance.choice(("enrolled", "completed")),
        statuses=[(created, "to-call")],
        owners=[(created, chance.choice((None, "Practitioner/a")))],
    )

    def some(most: int) -> list[int]:
        return sorted(chance.sample(range(created + 1, CELLS - 96), chance.randrange(most + 1)))

    for index in some(4):
        story.statuses.append(
            (index, chance.choice([one for one in ("to-call", "calling", PAUSED) if one != story.statuses[-1][1]]))
        )
    for index in some(4):
        others = [one for one in (None, "Practitioner/a", "Practitioner/b") if one != story.owners[-1][1]]
        story.owners.append((index, chance.choice(others)))
    for index in some(6):
        outcome = chance.choice(("no-answer", "no-answer", "left-message", "declined", "reached"))
        story.tries.append((index, outcome, chance.choice(("phone", "sms"))))
    for number, index in enumerate(some(3)):
        outcome = chance.choice(("noshow", "cancelled", "fulfilled", ""))
        start = index + chance.randrange(6, 5 * 48)
        story.visits.append(
            Visit(name=f"v{number}", booked=index, start=start, outcome=outcome, late=chance.choice((1, 9)))
        )
    cuts = some(4)
    story.stays = [(start, end) for start, end in zip(cuts[::2], [*cuts[1::2], None], strict=False)]
    for index in some(3):
        end = chance.choice((None, index + chance.randrange(1, 200)))
        story.flags.append((index, end, chance.choice(("risk", "no-show", "deceased"))))
    story.readings = [(index, chance.choice((130, 155, 170))) for index in some(6)]
    for index in some(2):
        story.others.append(
            (index, chance.choice((None, index + chance.randrange(1, 300))), chance.choice(("visit", "rebook")))
        )
    return story


Args = Mapping[str, Any]
Truth = Callable[[Story, Args, int], bool]


def _overdue_by(one: Story, args: Args, now: int) -> bool:
    due = one.due_now(now)
    return due is not None and not one.paused(now) and now >= add(due, args["it"])


def _due_within(one: Story, args: Args, now: int) -> bool:
    due = one.due_now(now)
    return due is not None and not one.paused(now) and before(due, args["it"]) <= now < due


def _unassigned_for(one: Story, args: Args, now: int) -> bool:
    if one.owner(now) is not None:
        return False
    free = max([one.created, *(index for index, who in one.owners if who is None and index <= now)])
    return now >= add(free, args["it"])


def _in_status_for(one: Story, args: Args, now: int) -> bool:
    return one.status(now) in args["status"] and now >= add(one.status_since(now), args["for"])


def _untouched_for(one: Story, args: Args, now: int) -> bool:
    touches = [row[0] for row in one.statuses] + [row[0] for row in one.owners] + [row[0] for row in one.tries]
    touches = [index for index in touches if index <= now]
    return not one.paused(now) and now >= add(max(one.created, *touches), args["it"])


def _handed_over(one: Story, args: Args, now: int) -> bool:
    told = [row for row in one.owners if row[0] <= now]
    moves = [
        index
        for (_, was), (index, is_) in pairwise(told)
        if was is not None and is_ is not None and now < add(index, args["within"])
    ]
    return len(moves) >= int(args["times"])


def _owner(one: Story, args: Args, now: int) -> bool:
    return str(args["it"]) == ("none" if one.owner(now) is None else "unknown")


def _hold(one: Story, args: Args, now: int) -> bool:
    return one.paused(now) and now >= add(one.status_since(now), args["for"])


def _outreach_failed(one: Story, args: Args, now: int) -> bool:
    failed = one.failed(now)
    many = len(failed) >= args["attempts"] and len({channel for _, _, channel in failed}) >= args["channels"]
    return many and now >= add(failed[0][0], args["over"])


def _outreach_reached(one: Story, _: Args, now: int) -> bool:
    told = [outcome for index, outcome, _ in one.tries if index <= now]
    return told[-1:] == ["reached"]


def _outreach(one: Story, args: Args, now: int) -> bool:
    found = [
        1 for index, outcome, _ in one.failed(now) if outcome == args["outcome"] and now < add(index, args["within"])
    ]
    return len(found) >= int(args["times"])


def _known_visits(one: Story, now: int) -> list[Visit]:
    return [each for each in one.visits if each.booked <= now]


def _appointment_missed(one: Story, args: Args, now: int) -> bool:
    """The last visit that counts was missed; what was cancelled counts from when that was heard of."""
    missed = False
    order = {
        id(each): min(each.start, each.told) if each.status(now) == "cancelled" else each.start for each in one.visits
    }
    for each in sorted(_known_visits(one, now), key=lambda each: (order[id(each)], each.name)):
        status = each.status(now)
        waits = status == "booked" and now < add(each.start, args["grace"])
        missed = not waits and status != "fulfilled"
    return missed


def _appointment(one: Story, args: Args, now: int) -> bool:
    """A visit booked ahead."""
    return any(
        each.status(now) == "booked" and before(each.start, args["ahead"]) <= now < each.start
        for each in _known_visits(one, now)
    )


def _seen(one: Story, args: Args, now: int) -> bool:
    found = [
        each
        for each in _known_visits(one, now)
        if each.status(now) == "noshow" and now < add(each.start, args["within"])
    ]
    return len(found) >= int(args["times"])


def _absent(one: Story, args: Args, now: int) -> bool:
    """Readings after the beginning of the plan, from its local day on."""
    day: date = wall(one.created).date()
    came = [index for index, _ in one.readings if index <= now and wall(index).date() >= day]
    return len(came) < args["times"] and now >= add(one.created, args["within"])


def _observation(one: Story, args: Args, now: int) -> bool:
    """The last readings are all above, and not too old."""
    last = [row for row in one.readings if row[0] <= now][-args["times"] :]
    return len(last) == args["times"] and all(
        value > args["above"] and now < add(index, args["within"]) for index, value in last
    )


def _monitoring(one: Story, args: Args, now: int) -> bool:
    """The last whole window had too few readings, and no stay."""
    number = 0
    while add(one.created, f"{(number + 1) * args['every']} days") <= now:
        number += 1
    if not number:
        return False
    opens, closes = (add(one.created, f"{each * args['every']} days") for each in (number - 1, number))
    if any(start < closes and (end is None or end > opens or end > now) for start, end in one.stays if start <= now):
        return False
    return sum(opens <= index < closes for index, _ in one.readings) < int(args["at_least"])


def _flagged(one: Story, code: str, now: int) -> bool:
    return any(start <= now and (end is None or now < end) and code == each for start, end, each in one.flags)


def _in_hospital(one: Story, args: Args, now: int) -> bool:
    return any(
        start <= now and (end is None or now < end) and now >= add(start, args["for"]) for start, end in one.stays
    )


def _open_work(one: Story, args: Args, now: int) -> bool:
    found = [
        1 for start, end, code in one.others if start <= now and (end is None or now < end) and code == args["task"]
    ]
    return len(found) >= int(args["at_least"])


TRUTHS: Final[Mapping[str, Truth]] = {
    "task": lambda one, args, _: one.code == args["it"],
    "overdue_by": _overdue_by,
    "due_within": _due_within,
    "unassigned_for": _unassigned_for,
    "in_status_for": _in_status_for,
    "untouched_for": _untouched_for,
    "handed_over": _handed_over,
    "owner": _owner,
    "hold": _hold,
    "outreach_failed": _outreach_failed,
    "outreach_reached": _outreach_reached,
    "outreach": _outreach,
    "appointment_missed": _appointment_missed,
    "appointment": _appointment,
    "seen": _seen,
    "absent": _absent,
    "observation": _observation,
    "monitoring_incomplete": _monitoring,
    "flag": lambda one, args, now: _flagged(one, args["it"], now),
    "exception": lambda one, args, now: _flagged(one, args["it"], now),
    "patient": lambda one, args, now: _flagged(one, args["it"], now),
    "in_hospital": _in_hospital,
    "stage": lambda one, args, _: one.stage == args["it"],
    "plan_for": lambda one, args, now: now >= add(one.created, args["it"]),
    "open_work": _open_work,
    "priority": lambda one, args, _: one.priority == args["it"],
}
"""Each test, by its name in docs/programs.md."""
MANY_CASES: Final = frozenset(
    {"outreach_failed", "outreach_reached", "outreach", "appointment_missed", "appointment", "observation",
     "monitoring_incomplete", "exception", "in_hospital", "absent"}
)  # fmt: skip
"""Tests whose cases have names of their own, so that one rule fires for each."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A condition: `op` is all, any, not, or a test's name with its `args`; `text` is how a program file says it."""

    op: str
    text: str
    children: tuple[Tree, ...] = ()
    args: Mapping[str, Any] = field(default_factory=dict)

    def holds(self, story: Story, now: int) -> bool:
        """Whether it holds in a cell."""
        match self.op:
            case "all":
                return all(one.holds(story, now) for one in self.children)
            case "any":
                return any(one.holds(story, now) for one in self.children)
            case "not":
                return not self.children[0].holds(story, now)
        return TRUTHS[self.op](story, self.args, now)

    def names(self) -> frozenset[str]:
        """The tests in it."""
        return frozenset({self.op}).union(*(one.names() for one in self.children)) - {"all", "any", "not"}


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What arguments are made of; `long` and `plain` are never nothing, `plain` has no business days."""

    chance: random.Random
    span: str
    long: str
    plain: str
    times: int

    def one(self, *words: str) -> str:
        return self.chance.choice(words)


ARGS: Final[Mapping[str, Callable[[Draw], dict[str, Any]]]] = {
    "task": lambda draw: {"it": draw.one("first-call", "visit")},
    "due_within": lambda draw: {"it": draw.plain},
    "in_status_for": lambda draw: {"status": draw.chance.sample(("to-call", "calling", PAUSED), 2), "for": draw.span},
    "handed_over": lambda draw: {"times": draw.times, "within": draw.long},
    "owner": lambda draw: {"it": draw.one("none", "unknown")},
    "hold": lambda draw: {"for": draw.span},
    "in_hospital": lambda draw: {"for": draw.span},
    "outreach_failed": lambda draw: {
        "attempts": draw.times,
        "over": draw.span,
        "channels": min(draw.times, draw.chance.choice((1, 2))),
    },
    "outreach_reached": lambda _: {"it": "true"},
    "outreach": lambda draw: {
        "outcome": draw.one("no-answer", "declined"),
        "times": min(draw.times, 2),
        "within": draw.long,
    },
    "appointment_missed": lambda draw: {"service": "visit", "grace": draw.span},
    "appointment": lambda draw: {"state": "waiting", "service": "visit", "ahead": draw.plain},
    "seen": lambda draw: {
        "Appointment": {"status": "noshow", "within": draw.long},
        "times": min(draw.times, 2),
        "within": draw.long,
    },
    "absent": lambda draw: {
        "expect": {"Observation": {"code": "bp"}},
        "after": "enrolment",
        "within": draw.long,
        "times": draw.times,
    },
    "observation": lambda draw: {
        "code": "bp",
        "component": "sys",
        "above": 150,
        "times": draw.times,
        "within": draw.long,
    },
    "monitoring_incomplete": lambda draw: {
        "Observation": {"code": "bp"},
        "at_least": draw.times,
        "every": draw.chance.randrange(1, 4),
    },
    "flag": lambda _: {"it": "risk"},
    "exception": lambda _: {"it": "no-show"},
    "patient": lambda _: {"it": "deceased"},
    "stage": lambda draw: {"it": draw.one("enrolled", "completed")},
    "open_work": lambda draw: {"task": draw.one("visit", "rebook"), "at_least": draw.chance.randrange(1, 3)},
    "priority": lambda draw: {"it": draw.one("routine", "urgent")},
}
"""What each test is asked with; those left out take a duration alone."""


def leaf(name: str, chance: random.Random) -> Tree:
    """A test with some arguments."""
    draw = Draw(
        chance=chance,
        span=chance.choice(SPANS),
        long=chance.choice(LONG),
        plain=chance.choice([one for one in LONG if "business day" not in one]),
        times=chance.randrange(1, 4),
    )
    args = ARGS[name](draw) if name in ARGS else {"it": draw.span}
    return Tree(op=name, text=f"{{{name}: {_said(name, args)}}}", args=args)


def _said(name: str, args: Args) -> str:
    if "it" in args:
        return str(args["it"])
    shown = dict(args)
    if name == "observation":
        shown["above"] = "'150 mm[Hg]'"
    if name == "monitoring_incomplete":
        shown["every"] = f"{args['every']} days"
    if name == "seen":
        del shown["within"]
    return _flow(shown)


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    return "[" + ", ".join(map(str, value)) + "]" if isinstance(value, list) else str(value)


def grown(chance: random.Random, names: list[str], depth: int = 3) -> Tree:
    """A tree of some of these tests."""
    op = chance.choice(("all", "any", "not", "", "")) if depth else ""
    if not op:
        return leaf(chance.choice(names), chance)
    children = tuple(grown(chance, names, depth - 1) for _ in range(1 if op == "not" else chance.randrange(1, 4)))
    inner = ", ".join(one.text for one in children)
    return Tree(op=op, text=f"{{{op}: {inner if op == 'not' else f'[{inner}]'}}}", children=children)
