"""How open work stood at a moment: now from the work items, before now from them and the spells that were over since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    and_,
    case,
    exists,
    func,
    not_,
    or_,
    select,
    tuple_,
    type_coerce,
    union_all,
)

from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.storage.database import Dialect, Tx
from fhir_tracker.storage.flow_facts import REACHED, SECOND
from fhir_tracker.storage.glance import LATER_GIVEN, Glance, NeedsTransaction, text_of
from fhir_tracker.storage.measure_tables import attempt_log, spell
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.types import EPOCH, microseconds
from fhir_tracker.storage.work_tables import firing, work_item

_SHARED = (
    "kind",
    "patient",
    "plan",
    "program",
    "program_version",
    "code",
    "status",
    "fhir_status",
    "clock",
    "role",
    "owner",
    "due_at",
    "hold_until",
    "hold_event",
    "focus",
    "created_at",
    "status_since",
)


Panel = Literal["aging", "overdue"]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """`at` is the moment that is looked at; `now` says that it is the present, of which the work items tell alone."""

    at: datetime
    now: bool


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Of one combination of `by`: how many, and the seconds since, by nearest rank; `counts` as they were asked for."""

    by: tuple[str, ...]
    n: int
    median: int
    p90: int
    oldest: int
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Found:
    """One piece of work that is not in order; `other` is the one it doubles."""

    ref: str
    program: str
    role: str
    other: str = ""


@dataclass(frozen=True, kw_only=True)
class OpenCase:
    """A case of a rule of which work is open still."""

    program: str
    rule: str
    item: str
    cycle: str
    patient: str | None


def standing(viewer: Viewer, moment: Moment) -> FromClause:
    """The open work and plans of the tracker's own at the moment; `ref` names each."""
    item = work_item.c
    present = select(item.ref.label("ref"), *(item[name] for name in _SHARED))
    present = present.where(item.open, item.kind != "outside", row_scope(viewer, work_item))
    if moment.now:
        return present.subquery("standing")
    past = select(spell.c.item.label("ref"), *(spell.c[name] for name in _SHARED))
    past = past.where(spell.c.open, spell.c.since <= moment.at, spell.c.until > moment.at, row_scope(viewer, spell))
    return union_all(present.where(item.stands_since <= moment.at), past).subquery("standing")


def aging(tx: Tx, viewer: Viewer, moment: Moment, program: str | None = None) -> list[Spread]:
    """Time in the present status or stage: by kind, program and status."""
    by = "kind", "program", "status"
    if isinstance(tx, Glance):
        return _glanced(tx, viewer, moment, "aging", program, by)
    return _spreads(tx, aging_rows(standing(viewer, moment), program), by, moment.at)


def aging_rows(stand: FromClause, program: str | None) -> Select[Any]:
    """What `aging` spreads."""
    by = stand.c.kind, _text(stand.c.program).label("program"), stand.c.status
    return _of(select(*by, stand.c.status_since.label("since")), stand, program)


def overdue(tx: Tx, viewer: Viewer, moment: Moment, program: str | None = None) -> list[Spread]:
    """Time since it was due: by owner, role and program."""
    by = "owner", "role", "program"
    if isinstance(tx, Glance):
        return _glanced(tx, viewer, moment, "overdue", program, by)
    return _spreads(tx, overdue_rows(standing(viewer, moment), moment.at, program), by, moment.at)


def overdue_rows(stand: FromClause, at: datetime | ColumnElement[Any], program: str | None) -> Select[Any]:
    """What `overdue` spreads."""
    columns: list[ColumnElement[Any]] = [_text(stand.c[name]).label(name) for name in ("owner", "role", "program")]
    chosen = select(*columns, stand.c.due_at.label("since"))
    late = stand.c.kind != "plan", stand.c.clock == "running", stand.c.due_at < at
    return _of(chosen.where(*late), stand, program)


def holds(tx: Tx, viewer: Viewer, moment: Moment, program: str | None = None) -> list[Spread]:
    """Time on hold: by program and status; `without_end` and `past_end` are counted too."""
    stand = standing(viewer, moment)
    endless = and_(stand.c.hold_until.is_(None), stand.c.hold_event.is_(None))
    flags = {"without_end": endless, "past_end": stand.c.hold_until < moment.at}
    by = _text(stand.c.program).label("program"), stand.c.status
    marks = (case((mark, 1), else_=0).label(name) for name, mark in flags.items())
    chosen: Select[Any] = select(*by, stand.c.status_since.label("since"), *marks)
    held = chosen.where(stand.c.kind == "task", stand.c.clock == "paused")
    return _spreads(tx, _of(held, stand, program), ("program", "status"), moment.at, counts=tuple(flags))


def waiting(tx: Tx, viewer: Viewer, moment: Moment, program: str | None = None) -> list[Spread]:
    """Time since they began, of open plans whose patient nobody has reached: by program."""
    stand = standing(viewer, moment)
    known: ColumnElement[bool] = attempt_log.c.until.is_(None)
    if not moment.now:
        known = and_(attempt_log.c.since <= moment.at, or_(known, attempt_log.c.until > moment.at))
    reached = exists().where(attempt_log.c.plan == stand.c.ref, attempt_log.c.outcome == REACHED, known)
    chosen = select(_text(stand.c.program).label("program"), stand.c.created_at.label("since"))
    return _spreads(tx, _of(chosen.where(stand.c.kind == "plan", ~reached), stand, program), ("program",), moment.at)


def unresolved(
    tx: Tx, viewer: Viewer, moment: Moment, rules: Sequence[tuple[str, str]], program: str | None = None
) -> list[Spread]:
    """Time since these rules (program, rule) fired, of what they led to that is open still: by program and rule."""
    if not rules:
        return []
    stand = standing(viewer, moment)
    by = firing.c.program, firing.c.rule, firing.c.item, firing.c.cycle
    led = select(*by, func.min(firing.c.fired_at).label("since")).join(stand, stand.c.ref == firing.c.task)
    led = led.where(_by_rules(rules), firing.c.fired_at <= moment.at, row_scope(viewer, firing)).group_by(*by)
    found = led if program is None else led.where(firing.c.program == program)
    return _spreads(tx, found, ("program", "rule"), moment.at)


def open_cases(
    tx: Tx, viewer: Viewer, moment: Moment, rules: Sequence[tuple[str, str]], program: str | None = None
) -> list[OpenCase]:
    """What `unresolved` counts, one by one."""
    if not rules:
        return []
    stand = standing(viewer, moment)
    columns = [firing.c[name] for name in ("program", "rule", "item", "cycle", "patient")]
    led = select(*columns).join(stand, stand.c.ref == firing.c.task).distinct()
    led = led.where(_by_rules(rules), firing.c.fired_at <= moment.at, row_scope(viewer, firing))
    found = led if program is None else led.where(firing.c.program == program)
    return [from_row(OpenCase, row) for row in tx.rows(found.order_by(*columns))]


def first_firings(
    tx: Tx, viewer: Viewer, start: datetime, end: datetime, rules: Sequence[tuple[str, str]], program: str | None = None
) -> dict[tuple[str, str], int]:
    """How many cases of these rules (program, rule) came up in a period, each counted with its first firing."""
    if not rules:
        return {}
    by = firing.c.program, firing.c.rule, firing.c.item, firing.c.cycle
    firsts = select(*by, func.min(firing.c.fired_at).label("since"))
    firsts = firsts.where(_by_rules(rules), firing.c.fired_at < end, row_scope(viewer, firing)).group_by(*by)
    cases = (firsts if program is None else firsts.where(firing.c.program == program)).subquery("cases")
    counted = select(cases.c.program, cases.c.rule, func.count().label("n")).where(cases.c.since >= start)
    return {(row["program"], row["rule"]): row["n"] for row in tx.rows(counted.group_by(cases.c.program, cases.c.rule))}


def _spreads(tx: Tx, rows: Select[Any], by: Sequence[str], at: datetime, *, counts: Sequence[str] = ()) -> list[Spread]:
    """Rows with `by` and a moment `since`, spread by how long that is before `at`."""
    return _as_spreads(tx.execute(spread_statement(rows, by, counts)).all(), len(by), at, counts)


def _glanced(
    tx: Glance, viewer: Viewer, moment: Moment, what: Panel, program: str | None, by: tuple[str, ...]
) -> list[Spread]:
    if not viewer.sees_all or not moment.now:
        raise NeedsTransaction(what)
    values = [tx.number(microseconds(moment.at))] if what == "overdue" else []
    return _as_spreads(tx.select(_panel_text(what, program, by, tx.dialect), values), len(by), moment.at)


@lru_cache(maxsize=64)
def _panel_text(what: Panel, program: str | None, by: tuple[str, ...], dialect: Dialect) -> str:
    stand = standing(worker_viewer("measures"), Moment(at=EPOCH, now=True))
    rows = aging_rows(stand, program) if what == "aging" else overdue_rows(stand, LATER_GIVEN, program)
    return text_of(spread_statement(rows, by), dialect)


def _as_spreads(found: Sequence[Sequence[Any]], width: int, at: datetime, counts: Sequence[str] = ()) -> list[Spread]:
    now = microseconds(at)
    return [
        Spread(
            by=tuple(row[:width]),
            n=row[width],
            median=max(0, now - row[width + 1]) // SECOND,
            p90=max(0, now - row[width + 2]) // SECOND,
            oldest=max(0, now - row[width + 3]) // SECOND,
            counts={name: int(row[at_]) for at_, name in enumerate(counts, width + 4)},
        )
        for row in found
    ]


def spread_statement(rows: Select[Any], by: Sequence[str], counts: Sequence[str] = ()) -> Select[Any]:
    """The statement of `_spreads`: the latest `since` is the shortest time, so ranks count from it."""
    source = rows.subquery("source")
    keys = [source.c[name] for name in by]
    number = func.row_number().over(partition_by=keys, order_by=source.c.since.desc()).label("rank")
    ranked = select(
        *keys,
        source.c.since,
        *(source.c[name] for name in counts),
        number,
        func.count().over(partition_by=keys).label("n"),
    ).subquery("ranked")
    since, rank, n = type_coerce(ranked.c.since, BigInteger), ranked.c.rank, ranked.c.n
    own = [ranked.c[name] for name in by]
    chosen = select(
        *own,
        func.max(n).label("n"),
        func.max(case((rank == (n * 50 + 99) // 100, since))).label("median"),
        func.max(case((rank == (n * 90 + 99) // 100, since))).label("p90"),
        func.min(since).label("oldest"),
        *(func.sum(ranked.c[name]).label(name) for name in counts),
    )
    return chosen.group_by(*own).order_by(*own)


def owners(tx: Tx, viewer: Viewer, moment: Moment) -> list[str]:
    """Everybody who owned open work."""
    stand = standing(viewer, moment)
    return [row["owner"] for row in tx.rows(select(stand.c.owner).where(stand.c.owner.is_not(None)).distinct())]


def without_owner(tx: Tx, viewer: Viewer, moment: Moment) -> list[Found]:
    """Open tasks that nobody owns."""
    stand = standing(viewer, moment)
    return _found(tx, stand, stand.c.kind == "task", stand.c.owner.is_(None))


def without_due(tx: Tx, viewer: Viewer, moment: Moment) -> list[Found]:
    """Open tasks without a due time."""
    stand = standing(viewer, moment)
    return _found(tx, stand, stand.c.kind == "task", stand.c.due_at.is_(None))


def endless_holds(tx: Tx, viewer: Viewer, moment: Moment) -> list[Found]:
    """Tasks on hold until nothing."""
    stand = standing(viewer, moment)
    no_end = stand.c.hold_until.is_(None), stand.c.hold_event.is_(None)
    return _found(tx, stand, stand.c.kind == "task", stand.c.clock == "paused", *no_end)


def left_open(tx: Tx, viewer: Viewer, moment: Moment) -> list[Found]:
    """Open tasks of plans that are closed or deleted."""
    stand, plans = standing(viewer, moment), standing(viewer, moment).alias("plans")
    begun = exists().where(
        spell.c.item == stand.c.plan, spell.c.kind == "plan", spell.c.status == "", spell.c.until <= moment.at
    )
    is_open = exists().where(plans.c.ref == stand.c.plan, plans.c.kind == "plan")
    return _found(tx, stand, stand.c.kind == "task", stand.c.plan.is_not(None), begun, not_(is_open))


def owned_by(tx: Tx, viewer: Viewer, moment: Moment, owners: Iterable[str]) -> list[Found]:
    """Open tasks of these owners."""
    stand, whose = standing(viewer, moment), sorted(set(owners))
    return _found(tx, stand, stand.c.kind == "task", stand.c.owner.in_(whose)) if whose else []


def doubles(tx: Tx, viewer: Viewer, moment: Moment) -> list[Found]:
    """Open tasks of one code for one patient and plan, due at one time and about one thing: all but the first made."""
    stand = standing(viewer, moment)
    same = [stand.c[name] for name in ("patient", "program", "plan", "code", "due_at", "focus")]
    order = (stand.c.created_at, stand.c.ref)
    number = func.row_number().over(partition_by=same, order_by=order).label("number")
    first = func.first_value(stand.c.ref).over(partition_by=same, order_by=order).label("other")
    columns = stand.c.ref, _text(stand.c.program).label("program"), _text(stand.c.role).label("role")
    chosen = select(*columns, number, first)
    chosen = chosen.where(stand.c.kind == "task", stand.c.code != "", stand.c.patient.is_not(None))
    ranked = chosen.subquery("ranked")
    rows = tx.rows(select(ranked).where(ranked.c.number > 1).order_by(ranked.c.ref))
    return [Found(ref=row["ref"], program=row["program"], role=row["role"], other=row["other"]) for row in rows]


def _found(tx: Tx, stand: FromClause, *conditions: ColumnElement[bool]) -> list[Found]:
    columns = stand.c.ref, _text(stand.c.program).label("program"), _text(stand.c.role).label("role")
    rows = tx.rows(select(*columns).where(*conditions).order_by(stand.c.ref))
    return [Found(ref=row["ref"], program=row["program"], role=row["role"]) for row in rows]


def _by_rules(rules: Sequence[tuple[str, str]]) -> ColumnElement[bool]:
    return tuple_(firing.c.program, firing.c.rule).in_(list(rules))


def _of(chosen: Select[Any], stand: FromClause, program: str | None) -> Select[Any]:
    return chosen if program is None else chosen.where(stand.c.program == program)


def _text(column: ColumnElement[Any]) -> ColumnElement[str]:
    return func.coalesce(column, "")
