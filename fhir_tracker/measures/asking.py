"""What was asked in words: moments and days in the practice's time zone, the period when none is named."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fhir_tracker.errors import Incorrect, NotFound
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.measures.figures import TICK
from fhir_tracker.measures.report import Asked
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.programs import readable
from fhir_tracker.storage import programs as rows
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.rollups import Zones

USUAL = timedelta(days=30)
_YEARS = (2, 9998)
"""Those of which every hour can be counted in any zone."""
_TOO_FAR = "A moment so near to the beginning or the end of time cannot be asked for."
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """FHIR dates or dateTimes, or None: `start` and `end` of the period, of which a day as `end` is a part."""

    as_of: str | None = None
    start: str | None = None
    end: str | None = None
    program: str | None = None


def asked(tx: Tx, viewer: Viewer, wanted: Wanted, now: datetime) -> Asked:
    """The question that was meant: the present, and the 30 days before the moment, where nothing was said.

    Raises Incorrect for what is no moment, NotFound for a program that there never was.
    """
    if wanted.program is not None and not rows.versions(tx, wanted.program):
        raise NotFound(f"There is no program {wanted.program[:60]}.")
    try:
        found = _asked(viewer, wanted, now, zones_at(tx, now))
        if found.as_of is not None:
            found = replace(found, zones=zones_at(tx, found.as_of))
    except OverflowError:
        raise Incorrect(_TOO_FAR) from None
    if min(found.start, found.end).year < _YEARS[0] or max(found.start, found.end, found.moment).year > _YEARS[1]:
        raise Incorrect(_TOO_FAR)
    return found


def _asked(viewer: Viewer, wanted: Wanted, now: datetime, zones: Zones) -> Asked:
    zone = zones.of(wanted.program)
    as_of = _known_at(wanted.as_of, zone, now) if wanted.as_of else None
    last = now if as_of is None else as_of
    end = _moment(wanted.end, zone, is_end=True) if wanted.end else last + TICK
    start = _moment(wanted.start, zone, is_end=False) if wanted.start else min(end, last) - USUAL
    return Asked(viewer=viewer, now=now, start=start, end=end, as_of=as_of, program=wanted.program, zones=zones)


def zones_at(tx: Tx, at: datetime) -> Zones:
    """The zone of each program's calendar, by the version that was in use at the moment or was the last before; the
    practice's is that of the first program in use, UTC where there is none.
    """
    own, used = dict[str, str](), dict[str, str]()
    begun = [(one.active_from, one) for one in rows.versions(tx) if one.active_from and one.active_from <= at]
    for _, one in sorted(begun, key=lambda pair: (pair[0], pair[1].version)):
        if program := readable(one):
            own[one.code] = program.calendar.zone
            if one.retired_at is None or one.retired_at > at:
                used[one.code] = program.calendar.zone
    return Zones(usual=used[min(used)] if used else "UTC", own=own)


def _known_at(text: str, zone: str, now: datetime) -> datetime:
    """A moment, or the end of a day, of which what is still to come is left out."""
    if not _DAY.fullmatch(text) or _moment(text, zone, is_end=False) > now:
        return _moment(text, zone, is_end=False)
    return min(_moment(text, zone, is_end=True) - TICK, now)


def _moment(text: str, zone: str, *, is_end: bool) -> datetime:
    """A moment, or the beginning of a day in the zone; the end of a period that names a day is the end of that day."""
    if not _DAY.fullmatch(text):
        return parse_datetime(text)
    parse_datetime(text)
    start = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return (start + timedelta(days=1 if is_end else 0)).astimezone(UTC)
