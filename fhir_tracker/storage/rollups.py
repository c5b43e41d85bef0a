"""Sums of what happened, by the hour: what is over is added up once, what is not is counted as it is asked for.

Hours are of UTC, as numbers since 1970. Of the last two days the sums are made anew each hour, for a transaction may commit
late; an hour that is corrected later still is remembered and left out of every answer until its sum was made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    literal,
    select,
    union_all,
)

from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.storage import settings
from fhir_tracker.storage.buffer import Bulk
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.flow_facts import CORRECTED, FACTS, HOUR, MOMENTS, Period
from fhir_tracker.storage.measure_tables import figure_hour, stale_hour
from fhir_tracker.storage.running_tables import setting
from fhir_tracker.storage.types import microseconds, moment

ROLLED = "measures-rolled-to"
"""The state that says before which hour everything is added up."""
GRACE = timedelta(minutes=10)
AGAIN = 48
_STALE = Bulk(stale_hour, ("k", "hour"))
_STEP = 31 * 24
_WORKER = worker_viewer("measures")
KEYS = ("program", "a", "b", "c")
Offsets = tuple[tuple[int, int], ...]
_SUMS = ("n", "seconds")
_IS_STALE = and_(stale_hour.c.hour >= bindparam("first"), stale_hour.c.hour < bindparam("end"))
_KNOWN: Select[Any] = (
    select(setting.c.value, stale_hour.c.hour)
    .select_from(setting.outerjoin(stale_hour, _IS_STALE))
    .where(setting.c.key == bindparam("key"))
)
"""Up to which hour everything is added up, beside each hour of a span whose sum has to be made anew."""


@dataclass(frozen=True, kw_only=True)
class Sum:
    """How often, and how many seconds in all, for one combination of what was counted by."""

    by: tuple[str, ...]
    n: int
    seconds: int


def hour_of(at: datetime) -> int:
    """The number of the hour that a moment is in."""
    return microseconds(at) // HOUR


def sums(
    tx: Tx,
    viewer: Viewer,
    what: str,
    period: Period,
    *,
    by: Sequence[str],
    program: str | None = None,
    zone: str = "UTC",
) -> list[Sum]:
    """What happened in a period, counted by some of KEYS and `hour` (0 to 23 in `zone`), in that order."""
    rolled, live = _parts(tx, viewer, what, period)
    found: list[Any] = []
    for first, last in rolled:
        found += tx.execute(_rolled(what, first, last, tuple(by), program, _clock(period, zone, by))).all()
    if live:
        found += tx.execute(_counted(viewer, what, live, tuple(by), program, _clock(period, zone, by))).all()
    return _added(found, len(by), is_whole=len(rolled) + bool(live) == 1)


def _added(found: Sequence[Any], width: int, *, is_whole: bool) -> list[Sum]:
    """Rows of keys, number and seconds, those of the same keys as one; `is_whole`: there are none such."""
    if is_whole:
        return [Sum(by=tuple(map(str, row[:width])), n=int(row[-2]), seconds=int(row[-1])) for row in found]
    totals: dict[tuple[str, ...], tuple[int, int]] = {}
    for row in found:
        keys = tuple(map(str, row[:width]))
        n, seconds = totals.get(keys, (0, 0))
        totals[keys] = (n + int(row[-2]), seconds + int(row[-1]))
    return [Sum(by=keys, n=n, seconds=seconds) for keys, (n, seconds) in sorted(totals.items())]


def touch(tx: Tx, moments: Iterable[datetime], now: datetime) -> None:
    """Remember that the sums of these moments' hours have to be made anew, where they may have been made."""
    hours = sorted({hour_of(at) for at in moments if hour_of(at) < hour_of(now)})
    if hours:
        tx.added.add_all(_STALE, [(tx.keys.take(), hour) for hour in hours])


def fold(database: Database, now: datetime) -> int:
    """Add up the hours that are over; how many were. Any number of workers may do it at once."""
    target, done = hour_of(now - GRACE), 0
    with database.read() as tx:
        idle = (_rolled_to(tx) or -1) >= target and tx.value(select(func.count()).select_from(stale_hour)) == 0
    while not idle:
        with database.begin() as tx:
            counted = _fold_once(tx, target)
        done, idle = done + counted, counted < _STEP
    return done


def rebuild(tx: Tx) -> int:
    """Make every sum anew that there was; how many rows there are."""
    rolled = _rolled_to(tx)
    tx.execute(delete(figure_hour))
    tx.execute(delete(stale_hour))
    first = _first(tx)
    if rolled is not None and first is not None:
        _add_up(tx, min(first, rolled), rolled)
    return int(tx.value(select(func.count()).select_from(figure_hour)))


def _fold_once(tx: Tx, target: int) -> int:
    tx.wait_for_others("measures")
    rolled = _rolled_to(tx)
    stale = tx.rows(select(stale_hour))
    for hour in sorted({row["hour"] for row in stale if row["hour"] < (rolled or 0)}):
        _add_up(tx, hour, hour + 1)
    if stale:
        tx.execute(delete(stale_hour).where(stale_hour.c.k.in_([row["k"] for row in stale])))
    start = _first(tx) if rolled is None else rolled
    if start is None or target <= start:
        return 0
    end = min(target, start + _STEP)
    _add_up(tx, start if rolled is None else start - AGAIN, end)
    settings.put(tx, ROLLED, str(end))
    return end - start


def _add_up(tx: Tx, first: int, end: int) -> None:
    tx.execute(delete(figure_hour).where(figure_hour.c.hour >= first, figure_hour.c.hour < end))
    period = Period(start=_start_of(first), end=_start_of(end))
    for what in FACTS:
        counted = _live(_WORKER, what, period, None).subquery("counted")
        rows = select(literal(what, Text), counted.c.hour, *(counted.c[name] for name in (*KEYS, *_SUMS)))
        tx.execute(figure_hour.insert().from_select(["what", "hour", *KEYS, *_SUMS], rows))


def _parts(tx: Tx, viewer: Viewer, what: str, period: Period) -> tuple[list[tuple[int, int]], list[Period]]:
    """The spans of whole hours whose sums can be read, and the rest of the period."""
    if viewer.patient is not None or (period.as_of is not None and what in CORRECTED):
        return [], [period]
    first, last = -(-microseconds(period.start) // HOUR), microseconds(period.end) // HOUR
    known: Sequence[Any] = tx.execute(_KNOWN.params(key=ROLLED, first=first, end=last)).all()
    end = min(last, int(known[0][0])) if known else first
    if first >= end:
        return [], [period]
    stale = sorted({row[1] for row in known if row[1] is not None and row[1] < end})
    edges = [first - 1, *stale, end]
    spans = [(before + 1, after) for before, after in pairwise(edges) if before + 1 < after]
    live = [(_start_of(hour), _start_of(hour + 1)) for hour in stale]
    live += [(period.start, _start_of(first)), (_start_of(end), period.end)]
    rest = [replace(period, start=start, end=until) for start, until in live if start < until]
    return (spans, rest) if spans or rest else ([], [period])


def _rolled(what: str, first: int, end: int, by: tuple[str, ...], program: str | None, clock: Offsets) -> Select[Any]:
    """The sums of a span of whole hours, from a statement that was made before where one was."""
    values = {"what": what, "first": first, "end": end} | ({} if program is None else {"program": program})
    return _rolled_form(by, program is not None, clock).params(values)


@lru_cache(maxsize=64)
def _rolled_form(by: tuple[str, ...], of_program: bool, clock: Offsets) -> Select[Any]:
    table = figure_hour.c
    # Written into the text, so that PostgreSQL plans for a span of this length and not for any.
    first, end = (bindparam(name, type_=BigInteger, literal_execute=True) for name in ("first", "end"))
    span = table.what == bindparam("what", type_=Text, literal_execute=True), table.hour >= first, table.hour < end
    narrowed = (*span, table.program == bindparam("program")) if of_program else span
    return _grouped(figure_hour, by, clock).where(*narrowed)


def _counted(
    viewer: Viewer, what: str, live: Sequence[Period], by: tuple[str, ...], program: str | None, clock: Offsets
) -> Select[Any]:
    every = [_live(viewer, what, one, program) for one in live]
    return _grouped((union_all(*every) if len(every) > 1 else every[0]).subquery("found"), by, clock)


def _grouped(source: FromClause, by: tuple[str, ...], clock: Offsets) -> Select[Any]:
    columns = [_local_hour(source.c.hour, clock) if name == "hour" else source.c[name] for name in by]
    totals = (func.coalesce(func.sum(source.c[name]), 0).label(name) for name in _SUMS)
    chosen = select(*columns, *totals).select_from(source)
    return chosen.group_by(*columns).order_by(*columns) if columns else chosen


def _live(viewer: Viewer, what: str, period: Period, program: str | None) -> Select[Any]:
    facts = FACTS[what](viewer, period).subquery("facts")
    hour = cast(facts.c.at // HOUR, BigInteger).label("hour")
    keys = [facts.c[name] for name in KEYS]
    chosen = select(hour, *keys, func.count().label("n"), func.sum(facts.c.seconds).label("seconds"))
    chosen = chosen.group_by(hour, *keys)
    return chosen if program is None else chosen.where(facts.c.program == program)


def _local_hour(hour: ColumnElement[int], clock: Offsets) -> ColumnElement[Any]:
    """The hour of the day, with the offset that the zone had then."""
    cases = [(hour < end, (hour + offset + 24) % 24) for end, offset in clock[:-1]]
    last = (hour + clock[-1][1] + 24) % 24
    return cast(case(*cases, else_=last) if cases else last, Integer).label("hour")


def _clock(period: Period, zone: str, by: Sequence[str]) -> Offsets:
    """Before which hour of UTC the zone was how many whole hours ahead, in order, where that matters."""
    if "hour" not in by:
        return ()
    place, found = ZoneInfo(zone), list[tuple[int, int]]()
    hour, last = hour_of(period.start), hour_of(period.end)
    offset = _offset(place, hour)
    while hour < last:
        ahead = min(hour + 24, last)
        if _offset(place, ahead) != offset:
            while _offset(place, hour) == offset:
                hour += 1
            found.append((hour, offset))
            offset = _offset(place, hour)
        else:
            hour = ahead
    return (*found, (0, offset))


def _offset(place: ZoneInfo, hour: int) -> int:
    ahead = _start_of(hour).astimezone(place).utcoffset() or timedelta(0)
    return int(ahead.total_seconds() // 3600)


def _start_of(hour: int) -> datetime:
    return moment(hour * HOUR).astimezone(UTC)


def _rolled_to(tx: Tx) -> int | None:
    found = settings.get(tx, ROLLED)
    return int(found) if found is not None else None


def _first(tx: Tx) -> int | None:
    found = [at for at in (tx.value(select(func.min(one))) for one in MOMENTS) if at is not None]
    return min(hour_of(at) for at in found) if found else None
