"""When work is really due: its due time moved by the time its clock was paused, computed from the transition log and the events.

The clock pauses in a status that says so, and where the program says so while the patient is in hospital or the plan on
hold; pauses that overlap count once. A pause that starts before the due time (as moved so far) moves it: work due in
working time by the working time of the pause, other work by its elapsed time. One that starts later changes nothing, for
the work was late already. Pauses before the due time was last set do not count. While the clock is paused nothing
becomes due or overdue. All of it is asked of rows and events by the time they are about, so that one that arrives late
moves the clock as if it had been known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program
from fhir_tracker.model.work import ClockState, Transition
from fhir_tracker.rules.calendar import MAX_DAYS, working_between, working_later
from fhir_tracker.rules.stays import stays

Pause = tuple[datetime, datetime | None]
"""From when to when; None while it lasts."""
PAUSES: Final[Mapping[str, str]] = {
    "hospital": "while the patient is in hospital",
    "plan-hold": "while the plan is on hold",
}
"""What can pause clocks besides a status, and how it is said."""
_MEASURABLE: Final = timedelta(days=MAX_DAYS - 3)
_END: Final = datetime.max.replace(tzinfo=UTC)


def clock_of(program: Program, facts: Facts, now: datetime | None = None) -> ClockState:
    """The clock state of the item's present status; what the program does not define keeps the item's own.

    With `now`, a clock that runs by its status is paused while something else pauses it at that moment.
    """
    status = program.status(facts.item.status)
    clock = status.clock if status else facts.item.clock
    return "paused" if clock == "running" and now is not None and paused_by(program, facts, now) else clock


def paused_by(program: Program, facts: Facts, now: datetime) -> str:
    """What pauses the clock at `now` besides the status, in words; "" when nothing does."""
    for kind in _kinds(program, facts):
        if any(_covers(pause, now) for pause in _SOURCES[kind](program, facts)):
            return PAUSES[kind]
    return ""


def clock_said(program: Program, facts: Facts, now: datetime, status: str) -> str:
    """Why the clock does not run: `the clock is paused while waiting`; `status` is how the status is called."""
    return f"the clock is {clock_of(program, facts, now)} {paused_by(program, facts, now) or f'while {status}'}"


def clock_changes(program: Program, facts: Facts, now: datetime) -> datetime | None:
    """The first moment after `now` at which a known pause of another kind than the status begins or ends."""
    found = (_SOURCES[kind](program, facts) for kind in _kinds(program, facts))
    return min(
        (at for pauses in found for pause in pauses for at in pause if at is not None and at > now), default=None
    )


def other_pauses(program: Program, facts: Facts) -> tuple[tuple[datetime, datetime | None, str], ...]:
    """Every known pause of another kind than the status: from when, to when (None while it lasts), and in words why."""
    return tuple((*pause, PAUSES[kind]) for kind in _kinds(program, facts) for pause in _SOURCES[kind](program, facts))


def sla_due(program: Program, facts: Facts, now: datetime | None = None) -> datetime | None:
    """The due time after all pauses that are over (at `now`, where one is given); None when the work has none."""
    due = facts.item.due_at
    if due is None:
        return None
    for start, end in pauses(program, facts):
        if start < due and end is not None and (now is None or end <= now):
            due = _moved(program, facts, due, start, end)
    return due


def pauses(program: Program, facts: Facts) -> tuple[Pause, ...]:
    """Every time the clock stood still since the due time was last set, in order, none overlapping another."""
    set_at = max((one.effective_at for one in facts.log if one.what == "due"), default=facts.item.created_at)
    set_at = max(set_at, facts.item.starts_at or set_at)
    found = [*_by_status(program, facts)]
    for kind in _kinds(program, facts):
        found.extend(_SOURCES[kind](program, facts))
    return tuple(_joined((max(start, set_at), end) for start, end in found if end is None or end > max(start, set_at)))


def _joined(found: Iterable[Pause]) -> Iterator[Pause]:
    start: datetime | None = None
    end: datetime | None = None
    for one in sorted(found, key=lambda pause: pause[0]):
        if start is not None and (end is None or one[0] <= end):
            end = None if end is None or one[1] is None else max(end, one[1])
            continue
        if start is not None:
            yield start, end
        start, end = one
    if start is not None:
        yield start, end


def _covers(pause: Pause, moment: datetime) -> bool:
    return pause[0] <= moment and (pause[1] is None or moment < pause[1])


def _moved(program: Program, facts: Facts, due: datetime, start: datetime, end: datetime) -> datetime:
    """`due` later by one pause; at the end of the calendar it stays, for nobody will see it."""
    if _in_working_time(program, facts) and end - start < _MEASURABLE < _END - due:
        lost = working_between(program.calendar, start, end)
        return working_later(program.calendar, due, lost) if lost else due
    return due + (end - start) if end - start < _END - due else due


def _in_working_time(program: Program, facts: Facts) -> bool:
    template = program.task(facts.item.code)
    return template is not None and template.due is not None and template.due.within.working


def _kinds(program: Program, facts: Facts) -> tuple[str, ...]:
    template = program.task(facts.item.code)
    return program.pauses if template is None or template.pauses is None else template.pauses


def _by_status(program: Program, facts: Facts) -> Iterator[Pause]:
    since: datetime | None = None
    for one in _status_changes(facts.log, "status"):
        paused = program.clock_in(one.after or "") == "paused"
        if since is not None and not paused:
            yield since, one.effective_at
            since = None
        elif since is None and paused:
            since = one.effective_at
    if since is not None:
        yield since, None


def _in_hospital(program: Program, facts: Facts) -> tuple[Pause, ...]:
    return tuple((one.start, one.end) for one in stays(facts.events))


def _plan_on_hold(program: Program, facts: Facts) -> tuple[Pause, ...]:
    held = {"on-hold", *(stage.code for stage in program.stages if stage.fhir == "on-hold")}
    since, found = None, list[Pause]()
    for one in _status_changes(facts.plan.log if facts.plan else (), "stage", "status"):
        if since is None and one.after in held:
            since = one.effective_at
        elif since is not None and one.after not in held:
            found.append((since, one.effective_at))
            since = None
    return (*found, (since, None)) if since is not None else tuple(found)


def _status_changes(log: Iterable[Transition], *what: str) -> tuple[Transition, ...]:
    return tuple(sorted((one for one in log if one.what in what), key=lambda one: one.effective_at))


_SOURCES: Final[Mapping[str, Callable[[Program, Facts], tuple[Pause, ...]]]] = {
    "hospital": _in_hospital,
    "plan-hold": _plan_on_hold,
}
