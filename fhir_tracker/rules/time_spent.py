"""Staff time as billing counts it: minutes of a calendar month on the site's clock, and no minute twice.

Two people at once are one minute; what passes midnight on the last of a month belongs to both months, each its part;
seconds are added before they become whole minutes, which are rounded down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from fhir_tracker.errors import Incorrect, UsageError
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.model.work import Event
from fhir_tracker.rules.calendar import zone_of
from fhir_tracker.rules.events import in_order

LONGEST: Final = timedelta(hours=12)
"""No single piece of work is longer; one that says so is not counted and told."""
BILLABLE: Final = ("billable", "billed")
_MONTH: Final = re.compile(r"([0-9]{4})-([0-9]{2})")


@dataclass(frozen=True, kw_only=True)
class Span:
    """Time that somebody spent: `ref` the Communication or ChargeItem that tells of it."""

    ref: str
    start: datetime
    end: datetime
    who: str = ""
    reached: bool = True


@dataclass(frozen=True, kw_only=True)
class NotCounted:
    """Time that is told and not counted, and why."""

    ref: str
    why: str


def spans(events: Iterable[Event], now: datetime) -> tuple[tuple[Span, ...], tuple[NotCounted, ...]]:
    """The time that attempts and charge items tell, oldest first, and what of it cannot be counted."""
    found: list[Span] = []
    refused: list[NotCounted] = []
    for event in in_order(events):
        one = _told(event)
        if one is None:
            continue
        if why := _why_not(one, now):
            refused.append(NotCounted(ref=event.ref, why=why))
        else:
            found.append(one)
    return tuple(found), tuple(refused)


def union(found: Sequence[Span], start: datetime, end: datetime) -> timedelta:
    """The time in [start, end) that any of the spans covers, each moment once."""
    total, until = timedelta(), start
    for one in sorted(found, key=lambda span: (span.start, span.end)):
        begin, close = max(one.start, until), min(one.end, end)
        if close > begin:
            total += close - begin
            until = close
    return total


def minutes(time: timedelta) -> int:
    """Whole minutes, rounded down."""
    return int(time.total_seconds() // 60)


def month_of(zone: str, moment: datetime) -> str:
    """The month, such as `2026-10`, on the clock of a zone."""
    return f"{moment.astimezone(zone_of(zone)):%Y-%m}"


def month_bounds(zone: str, month: str) -> tuple[datetime, datetime]:
    """The first instant of the month and of the next on the clock of a zone, in UTC. UsageError for no month."""
    match = _MONTH.fullmatch(month)
    number = int(match[2]) if match else 0
    if match is None or not 1 <= number <= 12 or not 1900 <= int(match[1]) <= 9000:
        raise UsageError(f"{month!r} is not a month: write it as 2026-10.")
    year, place = int(match[1]), zone_of(zone)
    first = datetime(year, number, 1, tzinfo=place)
    after = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=place)
    return first.astimezone(UTC), after.astimezone(UTC)


def months_between(zone: str, found: Sequence[Span]) -> tuple[str, ...]:
    """Every month that a span touches, oldest first."""
    touched = {month_of(zone, moment) for one in found for moment in (one.start, one.end - timedelta(seconds=1))}
    return tuple(sorted(touched))


def _told(event: Event) -> Span | None:
    by = event.detail.get("by", "")
    if event.type == "ChargeItem" and event.status in BILLABLE and event.start and event.end:
        return Span(ref=event.ref, start=event.start, end=event.end, who=by)
    if event.type != "Communication" or event.status not in ("completed", "not-done"):
        return None
    told = event.detail.get("spent-from", ""), event.detail.get("spent-until", "")
    try:
        start, end = (parse_datetime(text) for text in told) if all(told) else (None, None)
    except Incorrect:
        return None
    if start is None or end is None:
        return None
    return Span(ref=event.ref, start=start, end=end, who=by, reached=event.detail.get("outcome") == "reached")


def _why_not(span: Span, now: datetime) -> str:
    if span.end <= span.start:
        return "it ends before it begins" if span.end < span.start else "it has no length"
    if span.end - span.start > LONGEST:
        return f"it is longer than {LONGEST.seconds // 3600} hours"
    return "it lies in the future" if span.end > now else ""
