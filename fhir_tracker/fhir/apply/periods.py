"""When something is to be done: timings and durations of definitions as FHIR Periods.

https://hl7.org/fhir/R4/plandefinition.html#relatedActions
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation

from fhir_tracker.errors import TrackerError
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import at, objects_at, text_at

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "wk": 604_800}
_MONTHS = {"mo": 1, "a": 12}
_FARTHEST = 4000 * 366 * 86_400


def after(start: datetime, duration: Json, sign: int = 1) -> datetime | None:
    """`start` plus (or with sign -1 minus) a FHIR Duration in UCUM time units; None for one that cannot be read."""
    unit = text_at(duration, "code") or text_at(duration, "unit") or ""
    try:
        number = Decimal(str(at(duration, "value"))) * sign
        if unit in _SECONDS and abs(number * _SECONDS[unit]) < _FARTHEST:
            return start + timedelta(seconds=float(number * _SECONDS[unit]))
        if unit in _MONTHS and number == number.to_integral_value():
            return _months_after(start, int(number) * _MONTHS[unit])
    except (InvalidOperation, OverflowError, ValueError):
        return None
    return None


def _months_after(start: datetime, months: int) -> datetime:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return start.replace(year=year, month=month + 1, day=day)


def period_of(holder: Resource, now: datetime, born: str | None) -> Resource | None:
    """The Period that `timing[x]` of a definition or action means when it is applied at `now`; None without one."""
    if when := text_at(holder, "timingDateTime"):
        return {"start": when, "end": when}
    if period := at(holder, "timingPeriod"):
        return dict(period) if isinstance(period, dict) else None
    if duration := at(holder, "timingDuration"):
        return between(now, after(now, duration))
    if span := at(holder, "timingRange"):
        return between(after(now, at(span, "low")), after(now, at(span, "high")))
    if (age := at(holder, "timingAge")) and born:
        reached = after(_moment(born) or now, age)
        return between(reached, reached)
    return _of_timing(at(holder, "timingTiming"))


def _of_timing(timing: Json) -> Resource | None:
    bounds = at(timing, "repeat", "boundsPeriod")
    if isinstance(bounds, dict):
        return dict(bounds)
    events = at(timing, "event")
    moments = sorted(one for one in events if isinstance(one, str)) if isinstance(events, list) else []
    return {"start": moments[0], "end": moments[-1]} if moments else None


def between(start: datetime | None, end: datetime | None) -> Resource | None:
    """A Period of what is known; None when nothing is."""
    known = {name: instant(moment) for name, moment in (("start", start), ("end", end)) if moment}
    return known or None


def related_period(related: Resource, other: Resource | None, now: datetime) -> Resource | None:
    """The Period an action gets from one `relatedAction`, where the other action has the Period `other`."""
    relationship = text_at(related, "relationship") or "after"
    name = "start" if relationship.endswith("start") or relationship == "before" else "end"
    anchor = _moment(text_at(other, name) or text_at(other, "end") or text_at(other, "start")) or now
    sign = -1 if relationship.startswith("before") else 1
    if duration := at(related, "offsetDuration"):
        moment = after(anchor, duration, sign)
        return between(None, moment) if sign < 0 else between(moment, None)
    if span := at(related, "offsetRange"):
        ends = sorted(moment for one in ("low", "high") if (moment := after(anchor, at(span, one), sign)) is not None)
        return between(ends[0], ends[-1]) if ends else None
    return between(None, anchor) if sign < 0 else between(anchor, None)


def in_order(actions: Mapping[str, Resource]) -> list[str]:
    """The ids of actions so that each comes after those its `relatedAction` names; those in a circle come last."""
    waiting, done = dict(actions), list[str]()
    while waiting:
        ready = [
            id_
            for id_, action in waiting.items()
            if not any(
                text_at(one, "actionId") in waiting and text_at(one, "actionId") != id_
                for one in objects_at(action, "relatedAction")
            )
        ]
        for id_ in ready or list(waiting):
            done.append(id_)
            del waiting[id_]
    return done


def _moment(text: str | None) -> datetime | None:
    try:
        return parse_datetime(text) if text else None
    except (TrackerError, ValueError):
        return None
