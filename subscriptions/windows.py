"""How far a pull has come, reckoned only in the server's own clocks; ours never enters.

A row stamped L (meta.lastUpdated) and served at D (the Date header) shows that the clock which stamps rows is at most
D - L behind the one which dates answers. The least such lag ever seen, taken from the moment a complete pass began,
is a watermark below which nothing can still be missing but what becomes visible late; the overlap is for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import date_range, from_milliseconds, instant, parse_datetime

DAY_PRECISION = "_lastUpdated is understood to the day only"
ROUNDING = timedelta(seconds=2)
"""Date headers are cut to whole seconds, on both sides of the subtraction."""
PLAINEST = 2
DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What is known between two pages of a pass, and kept between passes; seconds and pages.

    `as_of` is when the pass in progress began by the server's clock, `lag` the least seen, `grain` the coarsest stamp
    seen (60 for minute precision), `high` the newest stamp of this pass, `previous_high` that of the last complete one,
    `plainness` how much of the query the server has refused, `days` whether it knows no time of day in `_lastUpdated`,
    `partial` whether the server said of this pass that it should hold more,
    `failures` how often in a row the pass could not go on, `quirks` what it was seen to do besides.
    """

    as_of: datetime | None = None
    lag: float | None = None
    grain: float = 0.0
    high: datetime | None = None
    previous_high: datetime | None = None
    plainness: int = 0
    pages: int = 0
    failures: int = 0
    days: bool = False
    partial: bool = False
    quirks: tuple[str, ...] = ()
    completed_at: datetime | None = None

    def begun(self, as_of: datetime | None) -> Progress:
        """A new pass, begun at the server's moment `as_of`."""
        return replace(self, as_of=as_of, high=None, pages=0, partial=False)

    def plainer(self, *, has_bound: bool) -> Progress:
        """Asking for less after a refusal: first no order, then days instead of moments, then everything each time."""
        if self.plainness == PLAINEST - 1 and has_bound and not self.days:
            return replace(self, days=True)
        return replace(self, plainness=self.plainness + 1, days=False)

    def having(self, quirks: Iterable[str]) -> Progress:
        """With what the server was just seen to do."""
        seen = tuple(sorted({*self.quirks, *quirks}))
        return replace(self, quirks=seen, days=self.days or DAY_PRECISION in seen)

    def seen(self, stamps: Iterable[str], served_at: datetime | None, ours: datetime | None = None) -> Progress:
        """After a page whose rows carry `stamps` and which the server dated `served_at`; unreadable stamps do not count.

        Nor do those that lie more than a day ahead, of our own time `ours` where the server dates nothing.
        """
        now = served_at or ours
        limit = None if now is None else (now.timestamp() + DAY) * 1000
        ranges = [found for stamp in stamps if (found := _range(stamp)) and (limit is None or found[0] <= limit)]
        fresh = replace(self, pages=self.pages + 1, failures=0)
        if not ranges:
            return fresh
        newest = from_milliseconds(max(low for low, _ in ranges))
        grain = max(self.grain, *((high - low) / 1000 for low, high in ranges))
        lag = self.lag
        if served_at is not None:
            behind = max((served_at - newest).total_seconds(), 0.0)
            lag = behind if lag is None else min(lag, behind)
        return replace(fresh, high=max(newest, self.high or newest), grain=grain, lag=lag)

    def watermark(self, before: datetime | None) -> datetime | None:
        """The watermark once the pass is complete; never behind `before`. None: the next pass reads everything."""
        if self.as_of is None:
            reached = self.previous_high
        elif self.lag is None:
            reached = None
        else:
            reached = self.as_of - timedelta(seconds=self.lag)
        if reached is None or before is None:
            return reached or before
        return max(reached, before)

    def completed(self, at: datetime) -> Progress:
        """Between passes; `at` is our own time, for showing only."""
        return replace(self, as_of=None, previous_high=self.high or self.previous_high, high=None, completed_at=at)

    def lower_bound(self, watermark: datetime | None, overlap: timedelta) -> datetime | None:
        """Where the next pass has to begin, or None for the beginning."""
        if watermark is None:
            return None
        grain = max(self.grain, DAY if self.days else 0.0)
        return watermark - overlap - ROUNDING - timedelta(seconds=grain)

    def as_detail(self) -> dict[str, Any]:
        """As JSON values, to be kept with the cursor."""
        moments = {name: getattr(self, name) for name in _MOMENTS}
        told = {name: instant(moment) for name, moment in moments.items() if moment is not None}
        empty = dict.fromkeys(_MOMENTS)
        return {**empty, **told, **{name: getattr(self, name) for name in _NUMBERS}, "quirks": list(self.quirks)}


def progress_from(detail: Mapping[str, Any]) -> Progress:
    """What `as_detail` made; unknown members are left alone."""
    kept: dict[str, Any] = {name: detail[name] for name in _NUMBERS if name in detail}
    kept |= {name: parse_datetime(detail[name]) for name in _MOMENTS if detail.get(name)}
    kept["quirks"] = tuple(detail.get("quirks", ()))
    return Progress(**kept)


_MOMENTS = ("as_of", "high", "previous_high", "completed_at")
_NUMBERS = ("lag", "grain", "plainness", "pages", "failures", "days", "partial", "quirks")


def _range(stamp: str) -> tuple[int, int] | None:
    try:
        return date_range(stamp)
    except Incorrect:
        return None
