"""Firings: what happened once, by a key that is unique in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, delete, func, select, update

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import Firing, FiringKey
from fhir_tracker.storage import many
from fhir_tracker.storage.buffer import Row
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.keyed import Keyed
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.types import microseconds
from fhir_tracker.storage.work_tables import firing

_COLUMNS = tuple(column.name for column in firing.c)
ESCALATE = "escalate"
"""The kind of a firing that is a level of an escalation ladder."""


@dataclass(frozen=True, kw_only=True)
class LevelCount:
    """How often one level of a rule's ladder fired, over all items."""

    program: str
    rule: str
    level: int
    count: int


@dataclass(frozen=True, kw_only=True)
class _Fired:
    """A firing as its row lies there."""

    item: str
    rule: str
    cycle: str
    level: int
    fired_at: datetime
    kind: str
    task: str | None
    to_role: str | None
    state: str
    program: str | None
    program_version: int | None
    reason: str


_ROWS = Keyed(_Fired, firing, order="fired_at, k")


def fire(tx: Tx, fired: Firing, patient: str | None) -> bool:
    """Write down that it fired; False when it had already, and then nothing may be done."""
    return bool(fire_many(tx, [(fired, patient)]))


def fire_many(tx: Tx, fired: Sequence[tuple[Firing, str | None]]) -> set[FiringKey]:
    """Write down what fired, each with its patient; the keys of those that had not before. One statement for many."""
    keys = {tx.keys.take(): one.key for one, _ in fired}
    rows = [_row(k, one, patient) for k, (one, patient) in zip(keys, fired, strict=True)]
    new = many.add_new(tx, firing, _COLUMNS, rows, ("item", "rule", "cycle", "level"), "k")
    return {keys[k] for k in new}


def take_back(tx: Tx, keys: Sequence[FiringKey]) -> None:
    """Forget firings of this transaction whose effects were not even tried."""
    for key in keys:
        tx.execute(delete(firing).where(_is(key)))


def of_items(tx: Tx, viewer: Viewer, items: Sequence[str]) -> dict[str, tuple[Firing, ...]]:
    """Item -> its firings, oldest first; an empty tuple for an item without any."""
    found: dict[str, list[Firing]] = {item: [] for item in items}
    for row in _ROWS.read(tx, viewer, "item", items):
        found[row.item].append(_firing(vars(row)))
    return {item: tuple(fired) for item, fired in found.items()}


def of_task(tx: Tx, viewer: Viewer, task: str) -> Firing | None:
    """The firing that made `Task/<id>`, or None."""
    return next((_firing(vars(row)) for row in _ROWS.read(tx, viewer, "task", [task])), None)


def levels(tx: Tx, viewer: Viewer) -> list[LevelCount]:
    """How often each level of a ladder fired, by program and rule."""
    named = (firing.c.program, firing.c.rule, firing.c.level)
    fired = firing.c.kind == ESCALATE, firing.c.program.is_not(None), row_scope(viewer, firing)
    chosen = select(*named, func.count().label("count")).where(*fired)
    return [LevelCount(**row) for row in tx.rows(chosen.group_by(*named).order_by(*named))]


def recent_levels(tx: Tx, viewer: Viewer, since: datetime, until: datetime) -> dict[tuple[str, str], int]:
    """How many ladders began between two moments (both included), by program and kind of item (`task` or `plan`)."""
    kind = case((firing.c.item.startswith("CarePlan/"), "plan"), else_="task").label("of")
    began = (firing.c.kind == ESCALATE, firing.c.level == 1, firing.c.fired_at >= since, firing.c.fired_at <= until)
    chosen = select(firing.c.program, kind, func.count().label("count")).where(*began, row_scope(viewer, firing))
    found = tx.rows(chosen.group_by(firing.c.program, kind))
    return {(row["program"] or "", row["of"]): row["count"] for row in found}


def set_state(tx: Tx, key: FiringKey, state: str) -> bool:
    """Let the firing's state follow its Task; False when there is no such firing."""
    return tx.changed(update(firing).where(_is(key)).values(state=state)) == 1


def skip(tx: Tx, key: FiringKey, reason: str) -> None:
    """Remember that it did not apply any more, and why."""
    tx.execute(update(firing).where(_is(key)).values(state="skipped", reason=reason))


def link_task(tx: Tx, key: FiringKey, task: str) -> None:
    """Remember the Task that the firing made."""
    tx.execute(update(firing).where(_is(key)).values(task=task))


def _row(k: int, fired: Firing, patient: str | None) -> Row:
    values = vars(fired) | vars(fired.key) | {"k": k, "patient": patient, "fired_at": microseconds(fired.fired_at)}
    return tuple(values[name] for name in _COLUMNS)


def _is(key: FiringKey) -> ColumnElement[bool]:
    return (
        (firing.c.item == key.item)
        & (firing.c.rule == key.rule)
        & (firing.c.cycle == key.cycle)
        & (firing.c.level == key.level)
    )


def _firing(row: Mapping[str, Any]) -> Firing:
    key = FiringKey(item=row["item"], rule=row["rule"], cycle=row["cycle"], level=row["level"])
    names = ("fired_at", "kind", "task", "to_role", "state", "program", "program_version", "reason")
    return Firing(key=key, **{name: row[name] for name in names})
