"""Escalation ladders: which level of one case fires next, when, and what stops it.

Level 1 fires `after` the rule began to hold, level n `after` level n-1 fired. A rule that stops holding pauses the ladder
where it is; an acknowledged, taken over or resolved escalation stops it (unless the ladder says otherwise); one sent
back lets it climb on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fhir_tracker.model.facts import NextLevel, Verdict
from fhir_tracker.model.program import Ladder, Level, Program
from fhir_tracker.model.work import Firing
from fhir_tracker.rules.calendar import later

ACKNOWLEDGED = ("acknowledged", "taken-over", "resolved")


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where one case stands on its ladder: `due` fires now, `upcoming` later; `stopped` says why neither."""

    due: Level | None = None
    upcoming: NextLevel | None = None
    stopped: str | None = None


def next_step(
    program: Program, ladder: Ladder, verdict: Verdict, fired: Sequence[Firing], started: datetime, now: datetime
) -> Step:
    """The step of one case: `fired` are its own firings, `started` when the work began, should the verdict not say."""
    if not verdict.holds:
        return Step(stopped="the rule does not hold now") if fired else Step()
    if "acknowledged" in ladder.stop_when and (answered := _answered(fired)):
        return Step(stopped=answered)
    last = max(fired, key=lambda one: one.key.level, default=None)
    level = _level(ladder, last.key.level + 1 if last else 1)
    if level is None:
        return Step(stopped="every level has fired")
    at = fires_at(program, level, last.fired_at if last else verdict.since or started)
    if now < at:
        return Step(upcoming=NextLevel(number=level.number, to=level.to, at=at))
    return Step(due=level, upcoming=_following(program, ladder, level, now))


def fires_at(program: Program, level: Level, since: datetime) -> datetime:
    """When a level fires, counted from the one before or from when the rule began to hold."""
    return later(program.calendar, since, level.after) if level.after else since


def _following(program: Program, ladder: Ladder, level: Level, now: datetime) -> NextLevel | None:
    following = _level(ladder, level.number + 1)
    if following is None:
        return None
    return NextLevel(number=following.number, to=following.to, at=fires_at(program, following, now))


def _level(ladder: Ladder, number: int) -> Level | None:
    return next((one for one in ladder.levels if one.number == number), None)


def _answered(fired: Sequence[Firing]) -> str | None:
    for one in fired:
        if one.state in ACKNOWLEDGED:
            return f"level {one.key.level} was {one.state.replace('-', ' ')}"
    return None
