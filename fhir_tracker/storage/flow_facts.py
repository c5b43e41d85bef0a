"""What happened, one row each, as measures count it: the selects over spells, attempts and firings that sums are made of.

Each gives `patient`, `program`, three texts `a`, `b`, `c` to count by, `seconds`, and `at` in microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    type_coerce,
)

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.firings import ESCALATE
from fhir_tracker.storage.measure_tables import attempt_log, spell
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.work_tables import firing

SECOND = 1_000_000
HOUR = 3600 * SECOND
REACHED = "reached"
_NOTHING: ColumnElement[str] = literal("", Text)
_DELETED = "deleted"
_S = spell.c


@dataclass(frozen=True, kw_only=True)
class Period:
    """From `start` until before `end`; of what can be corrected later, only what was known at `as_of` (None: now)."""

    start: datetime
    end: datetime
    as_of: datetime | None = None


Facts = Callable[[Viewer, Period], Select[Any]]


def escalated(viewer: Viewer, period: Period) -> Select[Any]:
    """Levels of ladders that fired: by rule, level and role."""
    by = (firing.c.rule, cast(firing.c.level, Text), _text(firing.c.to_role))
    rows = _facts(firing, firing.c.fired_at, *by)
    return rows.where(firing.c.kind == ESCALATE, *_within(firing.c.fired_at, period), row_scope(viewer, firing))


def tried(viewer: Viewer, period: Period) -> Select[Any]:
    """Attempts to reach a patient: by channel and outcome."""
    rows = _facts(attempt_log, attempt_log.c.at, attempt_log.c.channel, attempt_log.c.outcome, _NOTHING)
    known = _known(attempt_log.c, period.as_of)
    return rows.where(known, *_within(attempt_log.c.at, period), row_scope(viewer, attempt_log))


def contacted(viewer: Viewer, period: Period) -> Select[Any]:
    """First two-way contacts of plans: by whole hours since the plan began."""
    begun, other = spell.alias("begun"), attempt_log.alias("other")
    mine = attempt_log.c
    earlier = or_(other.c.at < mine.at, and_(other.c.at == mine.at, other.c.k < mine.k))
    sooner = exists().where(
        other.c.plan == mine.plan, other.c.outcome == REACHED, earlier, _known(other.c, period.as_of)
    )
    passed = _micros(mine.at) - _micros(begun.c.created_at)
    waited = _positive(passed)
    rows = _facts(attempt_log, mine.at, cast(waited // HOUR, Text), _NOTHING, _NOTHING, seconds=waited // SECOND)
    joined = rows.join(begun, and_(begun.c.item == mine.plan, begun.c.status == ""))
    first = mine.outcome == REACHED, mine.plan.is_not(None), _known(mine, period.as_of), ~sooner
    return joined.where(*first, *_within(mine.at, period), row_scope(viewer, attempt_log))


def plans(viewer: Viewer, period: Period) -> Select[Any]:
    """Plans that began or ended: by enrolled, completed or stopped, the stage they ended in, and the coded reason."""
    outcome = case((_S.status == "", "enrolled"), (_S.next_fhir_status == "completed", "completed"), else_="stopped")
    stage = case((_S.status == "", ""), else_=_S.next_status)
    ends = and_(_S.open, ~_S.next_open, _is_real(_S))
    rows = _facts(spell, _S.until, outcome, stage, _text(_S.reason))
    return rows.where(_S.kind == "plan", or_(_S.status == "", ends), *_in_scope(viewer, period))


def closed(viewer: Viewer, period: Period) -> Select[Any]:
    """Tasks that were closed: by code, the status they were closed with, and the coded reason."""
    rows = _facts(spell, _S.until, _S.code, _S.next_status, _text(_S.reason))
    return rows.where(_S.kind == "task", _S.open, ~_S.next_open, _is_real(_S), *_in_scope(viewer, period))


def timely(viewer: Viewer, period: Period) -> Select[Any]:
    """Tasks that were completed: by code and whether in time, with the seconds since they were made."""
    judged = case((_S.due_at.is_(None), "no-due"), (_S.effective_at <= _S.due_at, "on-time"), else_="late")
    passed = (_micros(_S.effective_at) - _micros(_S.created_at)) // SECOND
    rows = _facts(spell, _S.until, _S.code, judged, _NOTHING, seconds=_positive(passed))
    completed = _S.kind == "task", _S.open, ~_S.next_open, _S.next_fhir_status == "completed"
    return rows.where(*completed, *_in_scope(viewer, period))


def handed(viewer: Viewer, period: Period) -> Select[Any]:
    """Open work that went to another role, to another owner, or back to its queue: by code and which of these."""
    to_role = and_(_S.role.is_not(None), _S.next_role.is_not(None), _S.role != _S.next_role)
    to_owner = and_(_S.owner.is_not(None), _S.next_owner.is_not(None), _S.owner != _S.next_owner)
    returned = and_(_S.owner.is_not(None), _S.next_owner.is_(None))
    what = case((to_role, "role"), (to_owner, "owner"), else_="returned")
    rows = _facts(spell, _S.until, _S.code, what, _NOTHING)
    moved = _S.kind != "plan", _S.open, _S.next_open, or_(to_role, to_owner, returned)
    return rows.where(*moved, *_in_scope(viewer, period))


def reopened(viewer: Viewer, period: Period) -> Select[Any]:
    """Closed tasks that were opened again: by code."""
    rows = _facts(spell, _S.until, _S.code, _NOTHING, _NOTHING)
    again = _S.kind == "task", ~_S.open, _S.next_open, _S.status != _DELETED
    return rows.where(*again, *_in_scope(viewer, period))


def held(viewer: Viewer, period: Period) -> Select[Any]:
    """Holds of tasks that ended: by status and whole hours, with the seconds."""
    passed = _micros(_S.effective_at) - _micros(_S.status_since)
    length = _positive(passed)
    rows = _facts(spell, _S.until, _S.status, cast(length // HOUR, Text), _NOTHING, seconds=length // SECOND)
    left = or_(~_S.next_open, _S.next_clock != "paused", _S.next_status != _S.status)
    ended = _S.kind == "task", _S.open, _S.clock == "paused", left
    return rows.where(*ended, *_in_scope(viewer, period))


FACTS: Mapping[str, Facts] = {
    one.__name__: one for one in (escalated, tried, contacted, plans, closed, timely, handed, reopened, held)
}
CORRECTED = frozenset({"tried", "contacted"})
"""What can be corrected after it was written down."""
MOMENTS = (spell.c.until, attempt_log.c.at, firing.c.fired_at)
"""When each of these happened, by table."""


def _facts(
    table: Any,
    at: ColumnElement[Any],
    a: ColumnElement[Any],
    b: ColumnElement[Any],
    c: ColumnElement[Any],
    *,
    seconds: ColumnElement[Any] | None = None,
) -> Select[Any]:
    spent = seconds if seconds is not None else literal(0, BigInteger)
    named = (_text(table.c.program).label("program"), a.label("a"), b.label("b"), c.label("c"))
    return select(*named, spent.label("seconds"), _micros(at).label("at")).select_from(table)


def _in_scope(viewer: Viewer, period: Period) -> tuple[ColumnElement[bool], ...]:
    return (*_within(_S.until, period), row_scope(viewer, spell))


def _within(at: ColumnElement[Any], period: Period) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return at >= period.start, at < period.end


def _known(attempt: Any, as_of: datetime | None) -> ColumnElement[bool]:
    if as_of is None:
        return and_(attempt.until.is_(None))
    return and_(attempt.since <= as_of, or_(attempt.until.is_(None), attempt.until > as_of))


def _is_real(over: Any) -> ColumnElement[bool]:
    """It was not undone: neither deleted nor entered in error."""
    return and_(over.next_status != _DELETED, over.next_fhir_status != "entered-in-error")


def _micros(at: ColumnElement[Any]) -> ColumnElement[int]:
    return type_coerce(at, BigInteger)


def _positive(time: ColumnElement[int]) -> ColumnElement[int]:
    return case((time < 0, literal(0, BigInteger)), else_=time)


def _text(column: ColumnElement[Any]) -> ColumnElement[str]:
    return func.coalesce(column, "")
