"""Reads `calendar` of a program file: zone, hours, holidays and days closed, and those of each site."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import available_timezones

from holidays import list_supported_countries

from fhir_tracker.model.program import Calendar
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.durations import parse_hours
from fhir_tracker.rules.source import CODE, Fields, Listing, Node, Table, fields, items_of, suggestion, text_of

DEFAULT_HOURS: Final = "Mon-Fri 08:00-17:00"
DEFAULT_ZONE: Final = "America/New_York"


def read_calendar(node: Node | None, draft: Draft) -> Calendar:
    """The calendar; absent gives New York, weekdays 8 to 17, US holidays, with a warning."""
    default = Calendar(zone=DEFAULT_ZONE, hours=parse_hours(DEFAULT_HOURS), holidays="US")
    if node is None:
        return default
    given = fields(node, draft.problems, ("zone",), ("hours", "holidays", "closed", "sites"))
    if given is None:
        return default
    main = Calendar(
        zone=_zone(given, DEFAULT_ZONE, draft),
        hours=_hours(given, draft) or default.hours,
        holidays=_holidays(given, "US", draft),
        closed=_closed(given, draft),
    )
    return replace(main, sites=_sites(given.node("sites"), main, draft))


def _sites(node: Node | None, main: Calendar, draft: Draft) -> dict[str, Calendar]:
    """Site code to calendar; what a site leaves out is the practice's, and days closed are closed everywhere."""
    if node is None:
        return {}
    if not isinstance(node, Table):
        draft.problems.add(node.place, "must map each site to its calendar, such as north: {zone: America/Chicago}")
        return {}
    found: dict[str, Calendar] = {}
    taken: dict[str, str] = {}
    for code, inner in node.entries.items():
        if not CODE.fullmatch(code):
            draft.problems.add(node.keys[code], f'"{code}" is not a code: use lower-case letters, digits and hyphens')
        given = fields(inner, draft.problems, (), ("zone", "hours", "holidays", "closed", "locations"))
        if given is None:
            continue
        found[code] = Calendar(
            zone=_zone(given, main.zone, draft),
            hours=(_hours(given, draft) if given.node("hours") else main.hours) or main.hours,
            holidays=_holidays(given, main.holidays or "none", draft),
            closed=tuple(sorted({*main.closed, *_closed(given, draft)})),
            site=code,
            locations=_locations(given, code, taken, draft),
        )
    return found


def _locations(given: Fields, code: str, taken: dict[str, str], draft: Draft) -> tuple[str, ...]:
    found = []
    for text in given.texts("locations"):
        if text.value in taken:
            draft.problems.add(text.place, f'"{text.value}" is a location of {taken[text.value]} already')
        taken.setdefault(text.value, code)
        found.append(text.value)
    return tuple(found)


def weekly_hours(calendar: Calendar) -> timedelta:
    """How long the site is open in a week without holidays."""
    spans = (span for day in calendar.hours.values() for span in day)
    return sum((_length(opening, closing) for opening, closing in spans), timedelta())


def _length(opening: time, closing: time) -> timedelta:
    day = date(2000, 1, 1)
    end = datetime.combine(day + timedelta(days=closing == time(0)), closing)
    return end - datetime.combine(day, opening)


def _zone(given: Fields, default: str, draft: Draft) -> str:
    zone = given.text("zone", default)
    if zone in _zones():
        return zone
    place = given.table.entries["zone"].place
    draft.problems.add(place, f'unknown time zone "{zone}"{suggestion(zone, _zones()) or ""}'.split(" (known")[0])
    return default


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _hours(given: Fields, draft: Draft) -> dict[int, tuple[tuple[time, time], ...]]:
    node = given.node("hours")
    text = text_of(node, draft.problems) if node else DEFAULT_HOURS
    try:
        return dict(parse_hours(text)) if text else {}
    except ValueError as error:
        draft.problems.add(given.table.entries["hours"].place, str(error))
        return {}


def _holidays(given: Fields, default: str, draft: Draft) -> str | None:
    text = given.text("holidays", default)
    if text in ("none", "no", "false"):
        return None
    country, _, part = text.partition("-")
    known = list_supported_countries()
    if country not in known or (part and part not in known[country]):
        hint = suggestion(part, known[country]) if country in known else ' (write "US", "US-NY" or "none")'
        draft.problems.add(given.table.entries["holidays"].place, f'unknown country or region "{text}"{hint}')
        return None
    return text


def _closed(given: Fields, draft: Draft) -> tuple[date, ...]:
    node = given.node("closed")
    nodes = items_of(node, draft.problems) if isinstance(node, Listing) else (node,) if node else ()
    days = []
    for item in nodes:
        text = text_of(item, draft.problems)
        try:
            days.append(date.fromisoformat(text))
        except ValueError:
            if text:
                draft.problems.add(item.place, f'"{text}" is not a date: write 2026-12-24')
    return tuple(sorted(days))
