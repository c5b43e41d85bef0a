"""Moments, spans and names in the plain words that explanations use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from fhir_tracker.model.program import Calendar, Program
from fhir_tracker.model.work import Event, WorkItem
from fhir_tracker.rules.calendar import local


def moment(calendar: Calendar, value: datetime) -> str:
    """`Mon 9 Mar 17:00` on the site's clock, with seconds when they matter and the year for the files."""
    here = local(calendar, value)
    seconds = f":{here:%S}" if here.second else ""
    return f"{here:%a} {here.day} {here:%b %Y %H:%M}{seconds}"


def span(value: timedelta) -> str:
    """The largest whole units of a span: `3 days 4 h`, `2 h 5 min`, `40 s`."""
    seconds = max(0, int(value.total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return _count(days, "day") + (f" {hours} h" if hours and days < 7 else "")
    if hours:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    return f"{minutes} min" if minutes else f"{seconds} s"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def named(program: Program, item: WorkItem) -> str:
    """What the work is called: its title, else its template's, else its code."""
    template = program.task(item.code)
    return item.title or (template.title if template else "") or item.code or "the work"


def status_named(program: Program, code: str) -> str:
    """A status as people read it."""
    status = program.status(code)
    return status.title.lower() if status else code or "unknown"


def event_named(event: Event) -> str:
    """`Inpatient stay (finished)`, or `Appointment/a1 (noshow)` for what has no title."""
    name = event.detail.get("title") or event.ref
    return f"{name} ({event.status})" if event.status else name


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
