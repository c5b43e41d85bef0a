"""A measure's figures for one moment or period, as rows of keys and values, and what is worked out from sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fhir_tracker.errors import UsageError
from fhir_tracker.measures.definitions import Measure
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.rollups import Zones

Number = int | float | None
_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Whose eyes, which moment or period, and of which program (None: all); `zones` say which hour of the day it was.

    `as_of` is None for the present; the period is from `start` until before `end`.
    """

    viewer: Viewer
    now: datetime
    start: datetime
    end: datetime
    as_of: datetime | None = None
    program: str | None = None
    zones: Zones = field(default_factory=Zones)

    @property
    def moment(self) -> datetime:
        """The moment that is looked at."""
        return self.now if self.as_of is None else self.as_of

    @property
    def zone(self) -> str:
        """In which zone its days are."""
        return self.zones.of(self.program)


@dataclass(frozen=True, kw_only=True)
class Row:
    """`keys` in the order of the measure's, `values` by name."""

    keys: tuple[str, ...]
    values: Mapping[str, Number]


@dataclass(frozen=True, kw_only=True)
class Report:
    """The rows of one measure, by keys; nothing in it names a patient."""

    measure: Measure
    asked: Asked
    rows: tuple[Row, ...]

    def total(self, name: str) -> Number:
        """The sum of a count over all rows, or the share of such sums; None for times, which do not add up."""
        if self.measure.rate and name == self.measure.main:
            part, whole = (self.total(one) for one in self.measure.rate)
            return percent(int(part or 0), int(whole or 0))
        if self.measure.value(name).unit != "count":
            return None
        return sum(int(row.values[name] or 0) for row in self.rows)


def check_period(asked: Asked) -> None:
    """Raise UsageError for a period that ends before it begins, or a moment that is still to come."""
    if asked.start > asked.end:
        raise UsageError("The period ends before it begins.")
    if asked.as_of is not None and asked.as_of > asked.now:
        raise UsageError("Nothing is known of a moment that is still to come.")


def percent(part: int, whole: int) -> float | None:
    """A share in percent with one decimal; None of nothing."""
    return round(100 * part / whole, 1) if whole else None


def hours(seconds: float) -> float:
    """Seconds as hours with two decimals."""
    return round(seconds / _HOUR, 2)


def ranked(counts: Sequence[tuple[int, int]]) -> dict[str, Number]:
    """Median, ninetieth percentile and longest of (whole hours, how often), by nearest rank."""
    ordered = sorted(counts)
    total = sum(n for _, n in ordered)
    return {
        "median_hours": _at_rank(ordered, -(-total * 50 // 100)),
        "p90_hours": _at_rank(ordered, -(-total * 90 // 100)),
        "longest_hours": float(ordered[-1][0]) if ordered else None,
    }


def _at_rank(ordered: Sequence[tuple[int, int]], rank: int) -> float | None:
    for value, n in ordered:
        rank -= n
        if rank <= 0:
            return float(value)
    return None
