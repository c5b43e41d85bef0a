"""Moments, spans and people in the words of the pages; every function takes `now` and the site's calendar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from fhir_tracker.model.program import Calendar
from fhir_tracker.rules.calendar import is_working_day, local

Tone = Literal["", "late", "today", "hold", "done", "escalated"]
_REFERENCE = re.compile(r"\b([A-Z][A-Za-z]+)/[A-Za-z0-9.\-]{1,64}")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_NEAR_DAYS = 6
_FAR_DAYS = 28


@dataclass(frozen=True, kw_only=True)
class When:
    """A moment for people: in words, exactly, and as FHIR instant for `<time datetime>`."""

    words: str
    exact: str
    iso: str
    tone: Tone = ""


def due(moment: datetime, now: datetime, calendar: Calendar) -> When:
    """A due time: `2 h late`, `in 25 min`, `today 15:30`, `tomorrow 9:00`, `Thu 9:00`, `in 8 business days`, `12 Mar 2027`."""
    if moment < now:
        return _when(f"{span(now - moment)} late", moment, calendar, "late")
    days = (local(calendar, moment).date() - local(calendar, now).date()).days
    return _when(_ahead(moment, now, calendar, days), moment, calendar, "today" if days == 0 else "")


def ahead(moment: datetime, now: datetime, calendar: Calendar) -> When:
    """Something that will happen, or has: as `due` before it, as `ago` after."""
    if moment < now:
        return ago(moment, now, calendar)
    days = (local(calendar, moment).date() - local(calendar, now).date()).days
    return _when(_ahead(moment, now, calendar, days), moment, calendar, "")


def ago(moment: datetime, now: datetime, calendar: Calendar) -> When:
    """Something that happened: `just now`, `25 min ago`, `10:40`, `yesterday 10:40`, `Mon 10:40`, `12 Mar 2026`."""
    seconds = (now - moment).total_seconds()
    here, today = local(calendar, moment), local(calendar, now).date()
    days = (today - here.date()).days
    if seconds < _MINUTE:
        text = "just now"
    elif seconds < _HOUR:
        text = f"{int(seconds // _MINUTE)} min ago"
    elif days == 0:
        text = clock_time(here)
    elif days == 1:
        text = f"yesterday {clock_time(here)}"
    elif days <= _NEAR_DAYS:
        text = f"{here:%a} {clock_time(here)}"
    else:
        text = day(here.date(), today)
    return _when(text, moment, calendar, "")


def to_the_second(moment: datetime, calendar: Calendar) -> When:
    """A moment of a record, to be compared with others: `2026-03-09 10:40:07 EDT`."""
    return _when(f"{local(calendar, moment):%Y-%m-%d %H:%M:%S %Z}", moment, calendar, "")


def span(value: timedelta) -> str:
    """The largest whole unit: `40 s`, `25 min`, `2 h`, `3 days`, `5 weeks`; never negative."""
    seconds = max(0, int(value.total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h"
    days = seconds // _DAY
    return counted(days, "day") if days <= _FAR_DAYS else f"{days // 7} weeks"


def waiting(since: datetime, now: datetime) -> str:
    """How long work has been waiting, in days: `new today`, `waiting 1 day`, `waiting 12 days`."""
    days = max(0, (now - since).days)
    return f"waiting {counted(days, 'day')}" if days else "new today"


def exact(moment: datetime, calendar: Calendar) -> str:
    """`Mon 9 Mar 2026, 17:00 EDT` on the site's clock."""
    here = local(calendar, moment)
    return f"{here:%a} {here.day} {here:%b %Y}, {clock_time(here)} {here:%Z}"


def clock_time(here: datetime) -> str:
    """`9:00`, `17:05`."""
    return f"{here.hour}:{here:%M}"


def day(value: date, today: date) -> str:
    """`12 Mar`, with the year when it is another one."""
    return f"{value.day} {value:%b}" + (f" {value.year}" if value.year != today.year else "")


def business_days(start: date, end: date, calendar: Calendar) -> int:
    """How many working days lie in (start, end]."""
    return sum(is_working_day(calendar, start + timedelta(days=n)) for n in range(1, (end - start).days + 1))


def age(birth_date: str | None, today: date) -> str:
    """`78 y`, `4 months` below two years; empty when the date is partial or unknown."""
    try:
        born = date.fromisoformat(birth_date or "")
    except ValueError:
        return ""
    months = (today.year - born.year) * 12 + today.month - born.month - (today.day < born.day)
    if months < 0:
        return ""
    return f"{months // 12} y" if months >= 24 else counted(months, "month")


def birth_year(birth_date: str | None) -> str:
    """The year of a FHIR date."""
    return (birth_date or "")[:4]


def born(birth_date: str | None) -> str:
    """A FHIR birth date as people read it: `9 Mar 1948`, `Mar 1948`, `1948`."""
    text = birth_date or ""
    try:
        value = date.fromisoformat(text + "-01-01"[(len(text) - 4) :])
    except ValueError:
        return ""
    return {4: f"{value:%Y}", 7: f"{value:%b %Y}"}.get(len(text), f"{value.day} {value:%b %Y}")


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 day`, `2 days`, `3 tries`."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def plural(noun: str) -> str:
    """`Appointments`, `FamilyMemberHistories`."""
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def listed(names: Sequence[str], most: int) -> str:
    """`A`, `A and B`, `A, B and 3 more` when there are more than `most`."""
    shown = [*names] if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def without_ids(text: str) -> str:
    """A reason without the ids of resources in it: `Encounter/north-7 (finished)` is `Encounter (finished)`."""
    return _REFERENCE.sub(r"\1", text)


def initials(name: str) -> str:
    """Up to two letters for the disc beside a name; titles such as `Dr.` do not count."""
    parts = [part for part in name.split() if part[0].isalpha() and not part.endswith(".")]
    letters = [parts[0][0], *([parts[-1][0]] if len(parts) > 1 else [])] if parts else ["?"]
    return "".join(letters).upper()


def _ahead(moment: datetime, now: datetime, calendar: Calendar, days: int) -> str:
    here = local(calendar, moment)
    left = moment - now
    if left < timedelta(hours=1):
        return f"in {span(left)}"
    if days == 0:
        return f"today {clock_time(here)}"
    if days == 1:
        return f"tomorrow {clock_time(here)}"
    if days <= _NEAR_DAYS:
        return f"{here:%a} {clock_time(here)}"
    today = local(calendar, now).date()
    if days <= _FAR_DAYS:
        return f"in {counted(business_days(today, here.date(), calendar), 'business day')}"
    return day(here.date(), today)


def _when(text: str, moment: datetime, calendar: Calendar, tone: Tone) -> When:
    return When(
        words=text, exact=exact(moment, calendar), iso=f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", tone=tone
    )
