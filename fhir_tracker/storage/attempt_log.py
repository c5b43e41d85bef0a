"""Attempts to reach patients as measures read them: each as it was known, from when and until when."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update

from fhir_tracker.model.vocabulary import CHANNELS, OUTCOMES
from fhir_tracker.model.work import Event, WorkItem
from fhir_tracker.storage import rollups
from fhir_tracker.storage.buffer import Bulk
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.measure_tables import attempt_log
from fhir_tracker.storage.types import microseconds

_ATTEMPT = Bulk(attempt_log, tuple(column.name for column in attempt_log.c))
OTHER = "other"
"""A channel or outcome that has no code of ours; what an EHR wrote in its place stays out of every figure."""
REACHED = "reached"


def add(tx: Tx, told: Event, item: WorkItem, now: datetime) -> None:
    """An attempt about `item` became known at `now`."""
    channel, outcome = told.detail.get("channel", ""), told.detail.get("outcome", "")
    row: dict[str, object] = {
        "k": tx.keys.take(),
        "ref": told.ref,
        "item": item.ref,
        "plan": item.plan,
        "patient": told.patient,
        "program": item.program,
        "channel": channel if channel in CHANNELS else OTHER,
        "outcome": outcome if outcome in OUTCOMES else OTHER,
        "at": told.began,
        "since": now,
        "until": None,
    }
    tx.added.add(_ATTEMPT, tuple(_number(row[name]) for name in _ATTEMPT.columns))
    _touch(tx, told.began, item.plan if outcome == REACHED else None, now)


def _number(value: object) -> object:
    return microseconds(value) if isinstance(value, datetime) else value


def end(tx: Tx, ref: str, now: datetime) -> None:
    """What was known of `Communication/<id>` is not so any more."""
    known = attempt_log.c.ref == ref, attempt_log.c.until.is_(None)
    for row in tx.rows(select(attempt_log).where(*known)):
        tx.execute(update(attempt_log).where(attempt_log.c.k == row["k"]).values(until=now))
        _touch(tx, row["at"], row["plan"] if row["outcome"] == REACHED else None, now)


def _touch(tx: Tx, at: datetime, plan: str | None, now: datetime) -> None:
    """Have the sums made again of the hours that this changes: its own, and those of the plan's other contacts, of which
    another may be the first now.
    """
    moments = {at}
    if plan is not None:
        contacts = select(attempt_log.c.at).where(attempt_log.c.plan == plan, attempt_log.c.outcome == REACHED)
        moments |= {row["at"] for row in tx.rows(contacts)}
    rollups.touch(tx, moments, now)
