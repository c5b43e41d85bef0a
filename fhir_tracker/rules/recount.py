"""A due time that was counted by a calendar which no longer counts: counted again, where it was the program's and nobody's own.

Which place counts is asked of the log, whose `site` rows tell when a task or its plan moved to another.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.effects import SetDue
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program, TaskTemplate
from fhir_tracker.model.work import FiringKey, Transition
from fhir_tracker.rules.calendar import add
from fhir_tracker.rules.words import moment

RECOUNT = "recount"


def recounted(before: Program, after: Program, facts: Facts, code: str = "") -> datetime | None:
    """The item's due time as `after` counts it, when `before` counted the present one; None when somebody else set it.

    The start it counts from is found again among the moments that a template may count from. `code` is what `before`
    calls the work, where that is something else.
    """
    old, new, due = before.task(code or facts.item.code), after.task(facts.item.code), facts.item.due_at
    if due is None or old is None or new is None or old.due is None or new.due is None:
        return None
    for start in _starts(old, facts):
        if add(before.calendar, start, old.due.within) == due:
            return add(after.calendar, start, new.due.within)
    return None


def recount(program: Program, facts: Facts) -> SetDue | None:
    """The new due time after the work or its plan moved to another site since it was last set; None when it stays.

    `program` is as it counts at no place in particular.
    """
    moved = _moves(facts)
    set_at = max((one.recorded_at for one in facts.log if one.what == "due"), default=facts.item.created_at)
    since = [one for one in moved if one.recorded_at > set_at]
    if not since or facts.item.due_at is None:
        return None
    before = program.at(*_places_before(facts, since[0]))
    after = program.at(*facts.places)
    if before.calendar is after.calendar:
        return None
    due = recounted(before, after, facts)
    if due is None or due == facts.item.due_at:
        return None
    was, now = moment(before.calendar, facts.item.due_at), moment(after.calendar, due)
    return SetDue(
        key=FiringKey(item=facts.item.ref, rule=RECOUNT, cycle=instant(since[-1].recorded_at), level=0),
        due_at=due,
        reason=f"the calendar of {_named(after)} counts now, before it was that of {_named(before)}: due {now}, not {was}",
    )


def _moves(facts: Facts) -> list[Transition]:
    rows: Iterable[Transition] = (*facts.log, *(facts.plan.log if facts.plan else ()))
    return sorted((one for one in rows if one.what == "site"), key=lambda one: one.recorded_at)


def _places_before(facts: Facts, row: Transition) -> tuple[str | None, ...]:
    """Whose calendar counted before a move: the task's own place, then its plan's."""
    is_own = row.item == facts.item.ref
    own = row.before if is_own else facts.item.site
    return own, row.before if not is_own else facts.places[1]


def _named(program: Program) -> str:
    return program.calendar.site or "the practice"


def _starts(template: TaskTemplate, facts: Facts) -> Iterable[datetime]:
    """Every moment that the template may have counted from, the likeliest first."""
    anchors = dict(facts.plan.anchors) if facts.plan else {}
    if template.due is not None and template.due.anchor in anchors:
        yield anchors[template.due.anchor]
    yield facts.item.created_at
    if facts.item.starts_at is not None:
        yield facts.item.starts_at
    yield from anchors.values()
    for event in facts.events:
        if event.ref == facts.item.focus:
            yield event.at
    yield from (one.status_since for one in facts.tasks if not one.open)
