"""When work is really due: its due time moved by the time its clock was paused, computed from the transition log.

A pause that starts before the due time (as moved so far) moves it: work due in working time by the working time of the
pause, other work by its elapsed time. One that starts later changes nothing, for the work was late already. Pauses
before the due time was last set do not count. While the clock is paused nothing becomes due or overdue.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program
from fhir_tracker.model.work import ClockState, Transition
from fhir_tracker.rules.calendar import MAX_DAYS, working_between, working_later

_MEASURABLE: Final = timedelta(days=MAX_DAYS - 3)
_END: Final = datetime.max.replace(tzinfo=UTC)


def clock_of(program: Program, facts: Facts) -> ClockState:
    """The clock state of the item's present status; what the program does not define keeps the item's own."""
    status = program.status(facts.item.status)
    return status.clock if status else facts.item.clock


def sla_due(program: Program, facts: Facts) -> datetime | None:
    """The due time after all finished pauses; None when the work has none."""
    due = facts.item.due_at
    if due is None:
        return None
    for start, end in _pauses(program, facts):
        if start < due:
            due = _moved(program, facts, due, start, end)
    return due


def _moved(program: Program, facts: Facts, due: datetime, start: datetime, end: datetime) -> datetime:
    """`due` later by one pause; at the end of the calendar it stays, for nobody will see it."""
    if _in_working_time(program, facts) and end - start < _MEASURABLE < _END - due:
        lost = working_between(program.calendar, start, end)
        return working_later(program.calendar, due, lost) if lost else due
    return due + (end - start) if end - start < _END - due else due


def _in_working_time(program: Program, facts: Facts) -> bool:
    template = program.task(facts.item.code)
    return template is not None and template.due is not None and template.due.within.working


def _pauses(program: Program, facts: Facts) -> Iterator[tuple[datetime, datetime]]:
    set_at = max((one.effective_at for one in facts.log if one.what == "due"), default=facts.item.created_at)
    since: datetime | None = None
    for one in _status_changes(facts):
        status = program.status(one.after or "")
        paused = status is not None and status.clock == "paused"
        if since is not None and not paused:
            if one.effective_at > max(since, set_at):
                yield max(since, set_at), one.effective_at
            since = None
        elif since is None and paused:
            since = one.effective_at


def _status_changes(facts: Facts) -> tuple[Transition, ...]:
    changes = (one for one in facts.log if one.what == "status")
    return tuple(sorted(changes, key=lambda one: one.effective_at))
