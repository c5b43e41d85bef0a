"""How many requests a minute an EHR server is asked, by day and by night; read from the words of a connection."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fhir_tracker.errors import UsageError

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = "|".join(_DAYS)
_TEXT = re.compile(
    r"(?P<usual>[0-9]{1,6})(?P<aligned> aligned)?"
    rf"(?:, ?(?P<peak>[0-9]{{1,6}}) (?P<first>{_DAY})-(?P<last>{_DAY}) "
    r"(?P<opens>[0-2][0-9]:[0-5][0-9])-(?P<closes>[0-2][0-9]:[0-5][0-9]) (?P<zone>[A-Za-z_+/0-9-]+))?"
)
FORM = "`250`, `250 aligned` or `600, 60 Mon-Fri 08:00-18:00 America/New_York`"


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The hours in which less is asked: weekdays (0 is Monday) and wall clock in a zone, the end not included."""

    per_minute: int
    days: frozenset[int]
    opens: time
    closes: time
    zone: str


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """Requests a minute; `aligned` when the server counts whole minutes of the clock instead of any sixty seconds."""

    per_minute: int
    aligned: bool = False
    peak: Peak | None = None

    def at(self, now: datetime) -> int:
        """Requests a minute at `now`."""
        peak = self.peak
        if peak is None:
            return self.per_minute
        there = now.astimezone(ZoneInfo(peak.zone))
        is_peak = there.weekday() in peak.days and peak.opens <= there.time() < peak.closes
        return peak.per_minute if is_peak else self.per_minute


def read_allowance(told: object) -> Allowance | None:
    """The allowance that a connection's `budget` tells, a number or words; None for none. UsageError for anything else."""
    if told is None or told == "":
        return None
    match = _TEXT.fullmatch(str(told).strip())
    if match is None or not int(match["usual"]) or match["peak"] == "0":
        raise UsageError(f"A budget is requests a minute: {FORM}.")
    return Allowance(per_minute=int(match["usual"]), aligned=bool(match["aligned"]), peak=_peak(match))


def _peak(match: re.Match[str]) -> Peak | None:
    if match["peak"] is None:
        return None
    first, last = _DAYS.index(match["first"]), _DAYS.index(match["last"])
    days = frozenset((first + ahead) % 7 for ahead in range((last - first) % 7 + 1))
    try:
        opens, closes = time.fromisoformat(match["opens"]), time.fromisoformat(match["closes"])
        ZoneInfo(match["zone"])
    except (ValueError, ZoneInfoNotFoundError, OSError):
        raise UsageError(f"The hours or the zone of a budget cannot be read; it has the form {FORM}.") from None
    return Peak(per_minute=int(match["peak"]), days=days, opens=opens, closes=closes, zone=match["zone"])
