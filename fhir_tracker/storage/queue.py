"""Queues: open work by role, owner and much else, late first, page by page without offsets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, FromClause, Text, and_, case, cast, exists, false, func, or_, select
from sqlalchemy.engine import RowMapping

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.folding import fold
from fhir_tracker.model.sight import Sight
from fhir_tracker.model.told import shown_summary, tells_descriptions, tells_flags, tells_names
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.firings import ESCALATE
from fhir_tracker.storage.owners import owners_of
from fhir_tracker.storage.patients import PatientSummary
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.titles import titled
from fhir_tracker.storage.types import microseconds, moment
from fhir_tracker.storage.work_tables import firing, patient_summary, work_item

State = Literal["open", "late", "hold", "escalated", "answers", "due-today", "due-week", "done", "any"]
STATES: tuple[State, ...] = ("open", "late", "hold", "escalated", "answers", "due-today", "due-week", "done", "any")
AGES: Mapping[str, tuple[timedelta, timedelta | None]] = {
    "<1d": (timedelta(days=-1), timedelta(days=1)),
    "1-3d": (timedelta(days=1), timedelta(days=3)),
    "3-7d": (timedelta(days=3), timedelta(days=7)),
    "7-14d": (timedelta(days=7), timedelta(days=14)),
    ">14d": (timedelta(days=14), None),
}
_COUNTED: tuple[State, ...] = ("late", "due-today", "escalated", "answers", "hold")
MOST_COUNTED = 1000


@dataclass(frozen=True, kw_only=True)
class QueueFilter:
    """What a queue shows; None asks for nothing. Plans are shown only where `kind` is `plan`.

    A person is the `owner` also of what is a PractitionerRole's of theirs, with `teams` of what is a care team's they are in.
    `unassigned` True: no owner, False: some owner; `no_role`, `no_program`: without one, as None means any.
    `age` (of AGES) is the time in the present status; `escalated_by` a rule one of whose levels fired in
    the last `escalated_days`; `text` is looked for in patient name, MRN and title; `zone` says when
    `due-today` begins; `due-week` is it and the six days after.
    """

    role: str | None = None
    roles: tuple[str, ...] = ()
    owner: str | None = None
    teams: bool = False
    unassigned: bool | None = None
    no_role: bool = False
    state: State = "open"
    program: str | None = None
    no_program: bool = False
    status: str | None = None
    flag: str | None = None
    patient: str | None = None
    plan: str | None = None
    text: str | None = None
    reason: str | None = None
    kind: str | None = None
    age: str | None = None
    escalated_by: str | None = None
    escalated_days: int = 30
    zone: str = "UTC"


@dataclass(frozen=True, kw_only=True)
class QueueRow:
    """One line: the item and its patient, None where we hold no summary."""

    item: WorkItem
    patient: PatientSummary | None


@dataclass(frozen=True, kw_only=True)
class QueuePage:
    """Rows in order, `next` the text to go on from (None at the end), `total` exact up to 1000, 1001 meaning more."""

    rows: tuple[QueueRow, ...]
    next: str | None
    total: int


@dataclass(frozen=True, kw_only=True)
class QueueCounts:
    """Counts for badges, over the items the filter lets through but for its `state`.

    `escalated` is late work that climbed; `answers` also counts the escalations themselves, which wait for an answer.
    """

    open: int
    late: int
    due_today: int
    escalated: int
    answers: int
    hold: int
    unassigned: int


def queue(
    tx: Tx, viewer: Viewer, wanted: QueueFilter, now: datetime, after: str | None = None, limit: int = 50
) -> QueuePage:
    """A page of a queue: what is late, then by due time, then what has none; what is done by its end, latest first.

    Raises Incorrect for an unknown `after`.
    """
    conditions = [*conditions_of(viewer, wanted, now), *_owned(tx, viewer, wanted, now)]
    chosen = select(work_item, *_summary_columns()).select_from(_with_patient(viewer)).where(*conditions)
    by, k, latest_first = work_item.c.due_order, work_item.c.k, wanted.state == "done"
    if latest_first:
        by = work_item.c.status_since
    if after is not None:
        at, last = _place(after)
        chosen = chosen.where(
            *((by <= at, or_(by < at, k < last)) if latest_first else (by >= at, or_(by > at, k > last)))
        )
    rows = tx.rows(chosen.order_by(*((by.desc(), k.desc()) if latest_first else (by, k))).limit(limit + 1))
    shown = rows[:limit]
    following = f"{microseconds(shown[-1][by.name])}.{shown[-1]['k']}" if len(rows) > limit and shown else None
    items = [from_row(WorkItem, row) for row in shown]
    if viewer.sight.hides:
        items = titled(tx, viewer, items)
    lines = tuple(_line(viewer.sight, row, item) for row, item in zip(shown, items, strict=True))
    return QueuePage(rows=lines, next=following, total=_total(tx, viewer, conditions))


def counts(tx: Tx, viewer: Viewer, wanted: QueueFilter, now: datetime) -> QueueCounts:
    """How many open items are late, due today, escalated, to be answered, on hold and without an owner, in one query."""
    base = conditions_of(viewer, QueueFilter(**{**vars(wanted), "state": "open"}), now)
    base += _owned(tx, viewer, wanted, now)
    parts = {name: state_condition(name, now, wanted.zone) for name in _COUNTED}
    columns = [func.count().label("open"), func.count(case((work_item.c.owner.is_(None), 1))).label("unassigned")]
    columns += [func.count(case((part, 1))).label(name.replace("-", "_")) for name, part in parts.items()]
    row = tx.first(select(*columns).select_from(_with_patient(viewer)).where(*base))
    return QueueCounts(**(row or {}))


def conditions_of(viewer: Viewer, wanted: QueueFilter, now: datetime) -> list[ColumnElement[bool]]:
    """The conditions on `work_item` (joined with `patient_summary`) of a filter and its viewer, but for `owner`."""
    item = work_item.c
    conditions = [row_scope(viewer, work_item, right="s"), state_condition(wanted.state, now, wanted.zone)]
    conditions.append(item.kind == wanted.kind if wanted.kind else item.kind != "plan")
    for column in ("role", "program", "status", "patient", "plan"):
        value = getattr(wanted, column)
        if value is not None:
            conditions.append(item[column] == value)
    if wanted.roles:
        conditions.append(item.role.in_(wanted.roles))
    if wanted.reason is not None:
        conditions.append(item.escalation_reason == wanted.reason)
    if wanted.unassigned is not None:
        conditions.append(item.owner.is_(None) if wanted.unassigned else item.owner.is_not(None))
    if wanted.no_role:
        conditions.append(item.role.is_(None))
    if wanted.no_program:
        conditions.append(item.program.is_(None))
    return conditions + _further_conditions(viewer.sight, wanted, now)


def _owned(tx: Tx, viewer: Viewer, wanted: QueueFilter, now: datetime) -> list[ColumnElement[bool]]:
    if wanted.owner is None:
        return []
    owners = owners_of(tx, viewer, wanted.owner, now, teams=wanted.teams)
    return [work_item.c.owner == owners[0] if len(owners) == 1 else work_item.c.owner.in_(owners)]


def state_condition(state: str, now: datetime, zone: str) -> ColumnElement[bool]:
    """What makes an item late, on hold and so on at `now`; raises Incorrect for an unknown state."""
    item = work_item.c
    if state == "late":
        return and_(item.open, item.clock == "running", item.due_at.is_not(None), item.due_order < now)
    if state == "hold":
        return and_(item.open, item.clock == "paused")
    if state == "escalated":
        return and_(item.open, item.escalation_level > 0)
    if state == "answers":
        return and_(item.open, or_(item.escalation_level > 0, item.kind == "escalation"))
    if state in ("due-today", "due-week"):
        start, end = _days(now, zone, 1 if state == "due-today" else 7)
        return and_(
            item.open, item.clock == "running", item.due_at.is_not(None), item.due_order >= start, item.due_order < end
        )
    if state == "open":
        return and_(item.open)
    if state == "done":
        return ~item.open
    if state == "any":
        return or_(item.open, ~item.open)
    raise Incorrect(f"There is no queue state {state[:40]!r}; there are {', '.join(STATES)}.")


def _further_conditions(sight: Sight, wanted: QueueFilter, now: datetime) -> list[ColumnElement[bool]]:
    item = work_item.c
    conditions: list[ColumnElement[bool]] = []
    if wanted.age is not None:
        if wanted.age not in AGES:
            raise Incorrect(f"There is no age {wanted.age[:40]!r}; there are {', '.join(AGES)}.")
        least, most = AGES[wanted.age]
        conditions.append(item.status_since <= now - least)
        if most is not None:
            conditions.append(item.status_since > now - most)
    if wanted.escalated_by is not None:
        since = now - timedelta(days=wanted.escalated_days)
        fired = and_(firing.c.item == item.ref, firing.c.rule == wanted.escalated_by, firing.c.fired_at > since)
        conditions.append(exists().where(fired, firing.c.kind == ESCALATE))
    if wanted.flag is not None:
        coded = json.dumps(wanted.flag, ensure_ascii=False)
        has_flag = cast(patient_summary.c.flags, Text).contains(coded, autoescape=True)
        conditions.append(has_flag if tells_flags(sight) else false())
    for word in fold(wanted.text or "").split():
        in_title = item.folded_title.contains(word, autoescape=True)
        if not tells_descriptions(sight):
            in_title = and_(in_title, item.code != "")
        in_name = patient_summary.c.folded.contains(word, autoescape=True)
        conditions.append(or_(in_name, in_title) if tells_names(sight) else in_title)
    return conditions


def _with_patient(viewer: Viewer) -> FromClause:
    same = and_(patient_summary.c.patient == work_item.c.patient, row_scope(viewer, patient_summary))
    return work_item.outerjoin(patient_summary, same)


def _total(tx: Tx, viewer: Viewer, conditions: Sequence[ColumnElement[bool]]) -> int:
    found = select(work_item.c.k).select_from(_with_patient(viewer)).where(*conditions).limit(MOST_COUNTED + 1)
    return int(tx.value(select(func.count()).select_from(found.subquery())))


def _summary_columns() -> list[ColumnElement[object]]:
    return [column.label(f"summary_{column.name}") for column in patient_summary.c if column.name != "folded"]


def _summary(row: RowMapping) -> PatientSummary | None:
    if row["summary_patient"] is None:
        return None
    own = {name.removeprefix("summary_"): value for name, value in row.items() if name.startswith("summary_")}
    return from_row(PatientSummary, own)


def _line(sight: Sight, row: RowMapping, item: WorkItem) -> QueueRow:
    patient = _summary(row)
    named = None if patient is None else shown_summary(patient, sight)
    return QueueRow(item=item, patient=named)


def _place(after: str) -> tuple[datetime, int]:
    due, _, k = after.partition(".")
    try:
        return moment(int(due)), int(k)
    except (ValueError, OverflowError):
        raise Incorrect("The place to go on from is not one this queue gave.") from None


def _days(now: datetime, zone: str, number: int) -> tuple[datetime, datetime]:
    start = now.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return start, start + timedelta(days=number)
