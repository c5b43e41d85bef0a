"""Recurring work: one open occurrence at a time, counted from the plan's start on the site's wall clock, never a backlog.

For a patient who has died the engine makes none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from fhir_tracker.model.effects import CreateTask
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Duration, Program, TaskTemplate
from fhir_tracker.model.work import FiringKey
from fhir_tracker.rules.calendar import add
from fhir_tracker.rules.words import moment

_MOST = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Recurrence:
    """What one template wants now, and when its next occurrence begins (None: not while one is open)."""

    effect: CreateTask | None
    next_at: datetime | None


def recurrence(program: Program, facts: Facts, template: TaskTemplate, now: datetime) -> Recurrence:
    """The occurrence to make at `now`: the latest begun one, unless it was made or one of its kind is still open.

    Occurrence 0 begins with the plan. Missed ones are skipped: after a long stop one task is made, not twelve.
    """
    if template.every is None:
        return Recurrence(effect=None, next_at=None)
    started = facts.plan.started if facts.plan else facts.item.created_at
    if now < started:
        return Recurrence(effect=None, next_at=started)
    index = _index(program, template.every, started, now)
    begins = occurrence_at(program, template.every, started, index)
    following = occurrence_at(program, template.every, started, index + 1)
    key = FiringKey(item=facts.item.ref, rule=f"cadence:{template.code}", cycle=str(index), level=0)
    is_open = any(one.code == template.code and one.open for one in facts.tasks)
    if is_open or any(one.key == key for one in facts.fired):
        return Recurrence(effect=None, next_at=following)
    due = _due(program, facts, template, begins) or following
    reason = f"{template.title} number {index + 1}, every {template.every} since {moment(program.calendar, started)}"
    effect = CreateTask(key=key, template=template.code, reason=reason, due_at=due)
    return Recurrence(effect=effect, next_at=following)


def occurrence_at(program: Program, every: Duration, started: datetime, index: int) -> datetime:
    """When occurrence `index` begins."""
    return add(program.calendar, started, replace(every, amount=every.amount * index)) if index else started


def _index(program: Program, every: Duration, started: datetime, now: datetime) -> int:
    """The latest occurrence that has begun, by doubling and halving."""
    low, high = 0, 1
    while high < _MOST and occurrence_at(program, every, started, high) <= now:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if occurrence_at(program, every, started, middle) <= now:
            low = middle
        else:
            high = middle
    return low


def _due(program: Program, facts: Facts, template: TaskTemplate, begins: datetime) -> datetime | None:
    if template.due is None:
        return None
    anchors = facts.plan.anchors if facts.plan else {}
    anchor = anchors.get(template.due.anchor, begins) if template.due.anchor != "enrolment" else begins
    return add(program.calendar, max(anchor, begins), template.due.within)
