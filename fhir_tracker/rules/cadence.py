"""Recurring work: counted from the plan's start on a wall clock, never a backlog.

Without a horizon there is one open occurrence at a time; with one, those that begin within it are made ahead, each with
its own start. For a patient who has died the engine makes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.effects import CreateTask, WithdrawTask
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Calendar, Duration, Program, TaskTemplate
from fhir_tracker.model.work import FiringKey
from fhir_tracker.rules.calendar import add, before
from fhir_tracker.rules.words import moment

CADENCE: Final = "cadence:"
"""What the name of a template's rhythm begins with."""
_BACK: Final = "withdraw "
_MOST = 1_000_000
_MOST_AHEAD = 100
_TICK = timedelta(microseconds=1)
_SLACK = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Recurrence:
    """What one template wants now, and when its next occurrence begins (None: not while one is open)."""

    effects: tuple[CreateTask, ...] = ()
    withdrawn: tuple[WithdrawTask, ...] = ()
    next_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """How one kind of work recurs: every so often since a moment on a calendar's wall clock; `name` is the rule's."""

    name: str
    every: Duration
    since: datetime
    calendar: Calendar
    anchors: Mapping[str, datetime] = field(default_factory=dict)

    def begins(self, index: int) -> datetime:
        """When occurrence `index` begins."""
        return (
            add(self.calendar, self.since, replace(self.every, amount=self.every.amount * index))
            if index
            else self.since
        )

    def latest(self, now: datetime) -> int:
        """The latest occurrence that has begun, by doubling and halving."""
        low, high = 0, 1
        while high < _MOST and self.begins(high) <= now:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            if self.begins(middle) <= now:
                low = middle
            else:
                high = middle
        return low


def recurrence(program: Program, facts: Facts, template: TaskTemplate, now: datetime) -> Recurrence:
    """The occurrences to make at `now`: the latest begun one, and with a horizon those that begin within it.

    One that was made is never made again, also when another version of the program or another zone counts it anew.
    Without a horizon none is made while one of its kind is still open. Occurrence 0 begins with the plan; missed ones
    are skipped: after a long stop one task is made, not twelve.
    """
    if template.every is None:
        return Recurrence()
    rhythm = rhythm_of(program, facts, template, template.every)
    if now < rhythm.since:
        return Recurrence(next_at=rhythm.since)
    if template.horizon is not None:
        return _ahead(program, facts, template, rhythm, template.horizon, now)
    index = rhythm.latest(now)
    begins, following = rhythm.begins(index), rhythm.begins(index + 1)
    earliest = begins - min(_SLACK, (following - begins) / 2)
    is_made = any(
        one.key.rule == rhythm.name
        and (one.fired_at >= begins or (one.key.cycle == str(index) and one.fired_at >= earliest))
        for one in facts.fired
    )
    if is_made or any(one.code == template.code and one.open for one in facts.tasks):
        return Recurrence(next_at=following)
    return Recurrence(effects=(_effect(program, facts, template, rhythm, index, str(index)),), next_at=following)


def rhythm_of(program: Program, facts: Facts, template: TaskTemplate, every: Duration) -> Rhythm:
    """Since when and on whose wall clock a template recurs; business time is always that of the site."""
    calendar = program.calendar
    if template.zone == "patient" and facts.zone and not every.working:
        calendar = replace(calendar, zone=facts.zone)
    return Rhythm(
        name=f"{CADENCE}{template.code}",
        every=every,
        since=facts.plan.started if facts.plan else facts.item.created_at,
        calendar=calendar,
        anchors=facts.plan.anchors if facts.plan else {},
    )


def _ahead(
    program: Program, facts: Facts, template: TaskTemplate, rhythm: Rhythm, horizon: Duration, now: datetime
) -> Recurrence:
    """Every occurrence that begins within the horizon, and an end to those made ahead that begin at no such moment."""
    until, first = add(rhythm.calendar, now, horizon), rhythm.latest(now)
    wanted: dict[datetime, int] = {}
    index = first
    while len(wanted) < _MOST_AHEAD and (begins := rhythm.begins(index)) <= until:
        wanted[begins], index = index, index + 1
    cycles = {begins: _cycle(facts, rhythm, begins) for begins in wanted}
    effects = tuple(
        _effect(program, facts, template, rhythm, wanted[begins], cycle) for begins, cycle in cycles.items() if cycle
    )
    return Recurrence(
        effects=effects,
        withdrawn=tuple(_out_of_step(facts, template, rhythm, now)),
        next_at=_enters(rhythm, index, horizon, now),
    )


def _cycle(facts: Facts, rhythm: Rhythm, begins: datetime) -> str:
    """The name under which an occurrence is made now; "" when it was made, and not taken back since by the rhythm itself."""
    mine = [one for one in facts.fired if one.key.rule == rhythm.name]
    back = {
        one.key.cycle.removeprefix(_BACK) for one in mine if one.key.cycle.startswith(_BACK) and one.state != "skipped"
    }
    base = instant(begins)
    before = [one.task for one in mine if one.key.cycle == base or one.key.cycle.startswith(f"{base} ")]
    if any(task not in back for task in before):
        return ""
    return f"{base} again {len(before)}" if before else base


def _enters(rhythm: Rhythm, index: int, horizon: Duration, now: datetime) -> datetime:
    """The first moment after `now` at which occurrence `index` is within the horizon."""

    def is_within(moment: datetime) -> bool:
        return add(rhythm.calendar, moment, horizon) >= begins

    begins = rhythm.begins(index)
    likely = before(rhythm.calendar, begins, horizon)
    if likely > now and is_within(likely) and not is_within(likely - _TICK):
        return likely
    low, high = now, begins
    while high - low > _TICK:
        middle = low + (high - low) / 2
        low, high = (low, middle) if is_within(middle) else (middle, high)
    return high


def _out_of_step(facts: Facts, template: TaskTemplate, rhythm: Rhythm, now: datetime) -> list[WithdrawTask]:
    """What was made ahead and begins at no moment of the rhythm; how far ahead it is does not matter."""
    return [
        WithdrawTask(
            key=FiringKey(item=facts.item.ref, rule=rhythm.name, cycle=f"{_BACK}{one.ref}", level=0),
            task=one.ref,
            reason=f"{template.title} no longer begins {moment(rhythm.calendar, one.starts_at)}: it is due every {rhythm.every}",
        )
        for one in facts.tasks
        if one.code == template.code
        and one.open
        and one.starts_at
        and one.starts_at > now
        and rhythm.begins(rhythm.latest(one.starts_at)) != one.starts_at
    ]


def _effect(
    program: Program, facts: Facts, template: TaskTemplate, rhythm: Rhythm, index: int, cycle: str
) -> CreateTask:
    begins = rhythm.begins(index)
    return CreateTask(
        key=FiringKey(item=facts.item.ref, rule=rhythm.name, cycle=_unused(facts, rhythm, cycle), level=0),
        template=template.code,
        reason=f"{template.title} number {index + 1}, every {rhythm.every} since {moment(rhythm.calendar, rhythm.since)}",
        due_at=_due(program, rhythm, template, begins) or rhythm.begins(index + 1),
        owner=template.owner,
        starts_at=begins if template.horizon is not None else None,
    )


def _unused(facts: Facts, rhythm: Rhythm, cycle: str) -> str:
    """The cycle's name, told from the same number of another rhythm that an earlier version of the program had."""
    taken = any(one.key.rule == rhythm.name and one.key.cycle == cycle for one in facts.fired)
    return f"{cycle} every {rhythm.every}" if taken else cycle


def _due(program: Program, rhythm: Rhythm, template: TaskTemplate, begins: datetime) -> datetime | None:
    if template.due is None:
        return None
    anchor = rhythm.anchors.get(template.due.anchor, begins) if template.due.anchor != "enrolment" else begins
    calendar = program.calendar if template.due.within.working else rhythm.calendar
    return add(calendar, max(anchor, begins), template.due.within)
