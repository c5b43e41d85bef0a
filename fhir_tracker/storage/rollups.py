"""Sums of what happened, by the hour: what is over is added up once, what is not is counted as it is asked for.

Hours are of UTC, as numbers since 1970. Of the last two days the sums are made anew each hour, for a transaction may commit
late; an hour that is corrected later still is remembered and left out of every answer until its sum was made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import groupby, pairwise
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

from fhir_tracker.errors import UsageError
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.storage import settings
from fhir_tracker.storage.buffer import Bulk
from fhir_tracker.storage.database import Database, Dialect, Tx
from fhir_tracker.storage.flow_facts import CORRECTED, FACTS, HOUR, MOMENTS, Period
from fhir_tracker.storage.glance import Glance, text_of
from fhir_tracker.storage.measure_tables import figure_hour, stale_hour
from fhir_tracker.storage.running_tables import setting
from fhir_tracker.storage.slices import slices
from fhir_tracker.storage.types import microseconds, moment

ROLLED = "measures-rolled-to"
"""The state that says before which hour everything is added up."""
GRACE = timedelta(minutes=10)
AGAIN = 48
_STALE = Bulk(stale_hour, ("k", "hour"))
_STEP = 31 * 24
_LOT = 20
_WORKER = worker_viewer("measures")
KEYS = ("program", "a", "b", "c")
Offsets = tuple[tuple[int, int], ...]
Clocks = tuple[tuple[tuple[str, ...], Offsets], ...]
"""The offsets of each group of programs, those of all others last, with no program's code."""
LONGEST = timedelta(days=36_525)
"""Of a longer period no hour of the day is asked: each change of each zone's clock in it is looked up."""
_SUMS = ("n", "seconds")
_IS_STALE = and_(stale_hour.c.hour >= bindparam("first"), stale_hour.c.hour < bindparam("end"))
_KNOWN: Select[Any] = (
    select(setting.c.value, stale_hour.c.hour)
    .select_from(setting.outerjoin(stale_hour, _IS_STALE))
    .where(setting.c.key == bindparam("key"))
)
"""Up to which hour everything is added up, beside each hour of a span whose sum has to be made anew."""


@dataclass(frozen=True, kw_only=True)
class Zones:
    """On which wall clock an hour of the day is told: each program's own, and `usual` for work of no other."""

    usual: str = "UTC"
    own: Mapping[str, str] = field(default_factory=dict)

    def of(self, program: str | None) -> str:
        """The zone of that program."""
        return self.own.get(program or "", self.usual)


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
    zones: Zones = Zones(),
) -> list[Sum]:
    """What happened in a period, counted by some of KEYS and `hour` (0 to 23 on its program's clock), in that order.

    Raises UsageError for hours of the day over more than LONGEST.
    """
    asked = _Asked(what=what, by=tuple(by), program=program, clocks=_clocks(period, zones, program, by))
    span = _whole_hours(period) if viewer.sees_all and not _is_corrected(what, period) else None
    if span is None:
        return _added(_live_rows(tx, viewer, asked, [period]), len(by), is_whole=True)
    found: Sequence[Any]
    if isinstance(tx, Glance) and not _rest(period, span, span[1]):
        found = tx.select(_rolled_text(asked, *span, tx.dialect), ())
    else:
        found = tx.execute(_rolled(asked, *span)).all()
    rolled_to, stale = (int(found[0][-2] or span[0]), found[0][-1]) if found else (span[0], 1)
    spans, rest = _parts(tx, period, span) if stale else ([], _rest(period, span, rolled_to))
    if stale:
        found = [row for first, end in spans for row in tx.execute(_rolled(asked, first, end)).all()]
    live = _live_rows(tx, viewer, asked, rest) if rest else []
    return _added([*(row[:-2] for row in found), *live], len(by), is_whole=len(spans) < 2 and not live)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    what: str
    by: tuple[str, ...]
    program: str | None
    clocks: Clocks


def _is_corrected(what: str, period: Period) -> bool:
    return period.as_of is not None and what in CORRECTED


def _whole_hours(period: Period) -> tuple[int, int] | None:
    first, end = -(-microseconds(period.start) // HOUR), microseconds(period.end) // HOUR
    return (first, end) if first < end else None


def _rest(period: Period, span: tuple[int, int], rolled_to: int, stale: Sequence[int] = ()) -> list[Period]:
    """What of the period is counted: hours whose sum has to be made anew, and what is before and after all sums."""
    first, end = span[0], max(span[0], min(span[1], rolled_to))
    live = [(_start_of(hour), _start_of(hour + 1)) for hour in stale]
    live += [(period.start, _start_of(first)), (_start_of(end), period.end)]
    return [replace(period, start=start, end=until) for start, until in live if start < until]


def _live_rows(tx: Tx, viewer: Viewer, asked: _Asked, live: Sequence[Period]) -> Sequence[Any]:
    every = [_live(viewer, asked.what, one, asked.program) for one in live]
    source = (union_all(*every) if len(every) > 1 else every[0]).subquery("found")
    return tx.execute(_grouped(source, asked.by, asked.clocks)).all()


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
            counted, is_left = _fold_once(tx, target)
        done, idle = done + counted, counted < _STEP and not is_left
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


def _fold_once(tx: Tx, target: int) -> tuple[int, bool]:
    """How many hours were added up, and whether there are corrections left: others write between two lots of them."""
    tx.wait_for_others("measures")
    rolled = _rolled_to(tx)
    if _correct(tx, rolled or 0):
        return 0, True
    start = _first(tx) if rolled is None else rolled
    if start is None or target <= start:
        return 0, False
    following = start if rolled is None else _first(tx, _start_of(rolled)) or target
    end = min(target, following + _STEP)
    _add_up(tx, start if rolled is None else start - AGAIN, end)
    settings.put(tx, ROLLED, str(end))
    return end - start, False


def _correct(tx: Tx, rolled: int) -> bool:
    """Make the sums of the first corrected hours anew; whether there are more."""
    found = tx.rows(select(stale_hour.c.hour).distinct().order_by(stale_hour.c.hour).limit(_LOT + 1))
    hours = [row["hour"] for row in found[:_LOT]]
    told = [row["k"] for row in tx.rows(select(stale_hour.c.k).where(stale_hour.c.hour.in_(hours)))]
    for first, end in _runs([hour for hour in hours if hour < rolled]):
        _add_up(tx, first, end)
    for some in slices(told):
        tx.execute(delete(stale_hour).where(stale_hour.c.k.in_(some)))
    return len(found) > _LOT


def _runs(hours: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and the end of each stretch of hours that follow each other."""
    for _, some in groupby(enumerate(hours), lambda one: one[1] - one[0]):
        run = [hour for _, hour in some]
        yield run[0], run[-1] + 1


def _add_up(tx: Tx, first: int, end: int) -> None:
    tx.execute(delete(figure_hour).where(figure_hour.c.hour >= first, figure_hour.c.hour < end))
    period = Period(start=_start_of(first), end=_start_of(end))
    for what in FACTS:
        counted = _live(_WORKER, what, period, None).subquery("counted")
        rows = select(literal(what, Text), counted.c.hour, *(counted.c[name] for name in (*KEYS, *_SUMS)))
        tx.execute(figure_hour.insert().from_select(["what", "hour", *KEYS, *_SUMS], rows))


def _parts(tx: Tx, period: Period, span: tuple[int, int]) -> tuple[list[tuple[int, int]], list[Period]]:
    """The spans of whole hours whose sums can be read, and the rest of the period."""
    first, last = span
    known: Sequence[Any] = tx.execute(_KNOWN.params(key=ROLLED, first=first, end=last)).all()
    end = max(first, min(last, int(known[0][0]))) if known else first
    stale = sorted({row[1] for row in known if row[1] is not None and row[1] < end})
    edges = [first - 1, *stale, end]
    spans = [(before + 1, after) for before, after in pairwise(edges) if before + 1 < after]
    return spans, _rest(period, span, end, stale)


def _rolled(asked: _Asked, first: int, end: int) -> Select[Any]:
    """The sums of a span of whole hours, from a statement that was made before where one was; each row tells up to which
    hour there are sums, and how many of the span have to be made anew.
    """
    values = {"what": asked.what, "first": first, "end": end, "key": ROLLED}
    values |= {} if asked.program is None else {"program": asked.program}
    return _rolled_form(asked.by, asked.program is not None, asked.clocks).params(values)


@lru_cache(maxsize=64)
def _rolled_text(asked: _Asked, first: int, end: int, dialect: Dialect) -> str:
    return text_of(_rolled(asked, first, end), dialect)


@lru_cache(maxsize=64)
def _rolled_form(by: tuple[str, ...], of_program: bool, clocks: Clocks) -> Select[Any]:
    table = figure_hour.c
    # Written into the text, so that PostgreSQL plans for a span of this length and not for any.
    first, end = (bindparam(name, type_=BigInteger, literal_execute=True) for name in ("first", "end"))
    span = table.what == bindparam("what", type_=Text, literal_execute=True), table.hour >= first, table.hour < end
    narrowed = (*span, table.program == bindparam("program")) if of_program else span
    known = select(setting.c.value).where(setting.c.key == bindparam("key")).scalar_subquery()
    stale = select(func.count()).select_from(stale_hour).where(stale_hour.c.hour >= first, stale_hour.c.hour < end)
    return _grouped(figure_hour, by, clocks).add_columns(known, stale.scalar_subquery()).where(*narrowed)


def _grouped(source: FromClause, by: tuple[str, ...], clocks: Clocks) -> Select[Any]:
    columns = [_local_hour(source, clocks) if name == "hour" else source.c[name] for name in by]
    totals = (func.coalesce(func.sum(source.c[name]), 0).label(name) for name in _SUMS)
    chosen = select(*columns, *totals).select_from(source)
    return chosen.group_by(*columns).order_by(*columns) if columns else chosen


def _live(viewer: Viewer, what: str, period: Period, program: str | None) -> Select[Any]:
    facts = FACTS[what](viewer, period).subquery("facts")
    hour = cast(_whole(facts.c.at) // HOUR, BigInteger).label("hour")
    keys = [facts.c[name] for name in KEYS]
    chosen = select(hour, *keys, func.count().label("n"), func.sum(facts.c.seconds).label("seconds"))
    chosen = chosen.group_by(hour, *keys)
    return chosen if program is None else chosen.where(facts.c.program == program)


def _whole(at: ColumnElement[int]) -> ColumnElement[int]:
    """The beginning of the hour, before 1970 too, where databases divide towards zero."""
    return at - (at % HOUR + HOUR) % HOUR


def _local_hour(source: FromClause, clocks: Clocks) -> ColumnElement[Any]:
    """The hour of the day, with the offset that its program's zone had then."""
    *own, (_, usual) = clocks
    hours = [(source.c.program.in_(codes), _at_offset(source.c.hour, offsets)) for codes, offsets in own]
    last = _at_offset(source.c.hour, usual)
    return cast(case(*hours, else_=last) if hours else last, Integer).label("hour")


def _at_offset(hour: ColumnElement[int], offsets: Offsets) -> ColumnElement[int]:
    *before, (_, last) = ((end, ((hour + offset) % 24 + 24) % 24) for end, offset in offsets)
    return case(*((hour < end, found) for end, found in before), else_=last) if before else last


def _clocks(period: Period, zones: Zones, program: str | None, by: Sequence[str]) -> Clocks:
    """The clock of each zone that matters, with the programs whose it is."""
    if "hour" not in by:
        return ()
    if period.end - period.start > LONGEST:
        raise UsageError(
            f"Hours of the day are told of at most {LONGEST.days // 365} years at once; ask for a shorter period."
        )
    usual = _offsets(period, zones.of(program))
    own: dict[Offsets, list[str]] = {}
    for code, zone in sorted(zones.own.items()) if program is None else ():
        own.setdefault(_offsets(period, zone), []).append(code)
    own.pop(usual, None)
    return (*((tuple(codes), offsets) for offsets, codes in own.items()), ((), usual))


def _offsets(period: Period, zone: str) -> Offsets:
    """Before which hour of UTC the zone was how many whole hours ahead, in order."""
    return _changes(zone, hour_of(period.start), max(hour_of(period.end), hour_of(period.start)))


@lru_cache(maxsize=256)
def _changes(zone: str, hour: int, last: int) -> Offsets:
    place, found = ZoneInfo(zone), list[tuple[int, int]]()
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


def _first(tx: Tx, since: datetime | None = None) -> int | None:
    """The hour of what happened first (since a moment), or None."""
    firsts = (select(func.min(one)) if since is None else select(func.min(one)).where(one >= since) for one in MOMENTS)
    found = [at for at in map(tx.value, firsts) if at is not None]
    return min(hour_of(at) for at in found) if found else None
