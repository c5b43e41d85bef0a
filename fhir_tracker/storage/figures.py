"""The numbers of the operations page; each comes with the queue filter that lists exactly what it counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, and_, case, func, select

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import staff
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.firings import ESCALATE
from fhir_tracker.storage.queue import AGES, QueueCounts, QueueFilter, State, conditions_of, counts
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.work_tables import firing, work_item


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number: `row` and `column` are its headings ("" for none: no owner, no program), `opens` lists it."""

    row: str
    column: str
    count: int
    opens: QueueFilter


def totals(tx: Tx, viewer: Viewer, now: datetime, zone: str = "UTC") -> QueueCounts:
    """Open, late, due today, escalated, on hold and unassigned items of everybody."""
    return counts(tx, viewer, QueueFilter(zone=zone), now)


def total_filters(zone: str = "UTC") -> dict[str, QueueFilter]:
    """The name of each total -> the filter that lists it."""
    every = QueueFilter(zone=zone)
    states: dict[str, State] = {
        "open": "open",
        "late": "late",
        "due_today": "due-today",
        "escalated": "escalated",
        "answers": "answers",
        "hold": "hold",
    }
    named = {name: replace(every, state=state) for name, state in states.items()}
    return named | {"unassigned": replace(every, unassigned=True)}


def overdue(tx: Tx, viewer: Viewer, now: datetime, by: Literal["owner", "role"]) -> list[Figure]:
    """Late items by owner or role (row) and program (column), most first."""
    late = QueueFilter(state="late")
    who, program = work_item.c[by], work_item.c.program
    chosen = select(who, program, func.count().label("n")).where(*conditions_of(viewer, late, now))
    rows = tx.rows(chosen.group_by(who, program))
    persons = staff.persons_behind(tx, {row[by] for row in rows if row[by]}) if by == "owner" else {}
    found: Counter[tuple[str | None, str | None]] = Counter()
    for row in rows:
        found[persons.get(row[by], row[by]), row["program"]] += row["n"]
    ordered = sorted(found.items(), key=lambda pair: (-pair[1], *(text or "" for text in pair[0])))
    return [
        Figure(row=name or "", column=code or "", count=count, opens=_late(late, by, name, code))
        for (name, code), count in ordered
    ]


def aging(tx: Tx, viewer: Viewer, now: datetime, program: str | None = None) -> list[Figure]:
    """Open items by status (row) and time in it (column, of AGES); statuses by name, every age given."""
    wanted = QueueFilter(program=program)
    ages = [func.count(case((_in_age(name, now), 1))).label(name) for name in AGES]
    chosen = select(work_item.c.program, work_item.c.status, *ages).where(*conditions_of(viewer, wanted, now))
    grouped = chosen.group_by(work_item.c.program, work_item.c.status).order_by(work_item.c.program, work_item.c.status)
    return [
        Figure(
            row=row["status"],
            column=age,
            count=row[age],
            opens=replace(
                wanted, status=row["status"], age=age, program=row["program"], no_program=row["program"] is None
            ),
        )
        for row in tx.rows(grouped)
        for age in AGES
    ]


def escalations(tx: Tx, viewer: Viewer, now: datetime, days: int = 30) -> list[Figure]:
    """Items that a rule escalated in the last `days` (row: the rule), open or closed since, most first."""
    since = now - timedelta(days=days)
    chosen = (
        select(firing.c.rule, func.count(firing.c.item.distinct()).label("n"))
        .select_from(firing.join(work_item, work_item.c.ref == firing.c.item))
        .where(firing.c.kind == ESCALATE, firing.c.fired_at > since)
        .where(
            work_item.c.kind != "plan", row_scope(viewer, work_item, right="s"), row_scope(viewer, firing, right="s")
        )
        .group_by(firing.c.rule)
        .order_by(func.count(firing.c.item.distinct()).desc(), firing.c.rule)
    )
    return [
        Figure(
            row=row["rule"],
            column="",
            count=row["n"],
            opens=QueueFilter(state="any", escalated_by=row["rule"], escalated_days=days),
        )
        for row in tx.rows(chosen)
    ]


def _late(late: QueueFilter, by: str, who: str | None, program: str | None) -> QueueFilter:
    narrowed = replace(late, program=program, no_program=program is None)
    if by == "role":
        return replace(narrowed, role=who, no_role=who is None)
    return replace(narrowed, owner=who, unassigned=True if who is None else None)


def _in_age(name: str, now: datetime) -> ColumnElement[bool]:
    least, most = AGES[name]
    old_enough = work_item.c.status_since <= now - least
    return old_enough if most is None else and_(old_enough, work_item.c.status_since > now - most)
