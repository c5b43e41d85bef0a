"""Heartbeats of rules: when each was last evaluated, and how often it matched, fired and failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.work_tables import rule_heartbeat


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """One rule of a program; the counts are since it was first seen."""

    program: str
    rule: str
    last_evaluated: datetime
    matched: int = 0
    fired: int = 0
    failed: int = 0


def note(tx: Tx, beat: Heartbeat) -> None:
    """Add the counts of one sweep."""
    table = rule_heartbeat.c
    row = {name: getattr(beat, name) for name in ("program", "rule", "last_evaluated", "matched", "fired", "failed")}
    sums = {name: table[name] + row[name] for name in ("matched", "fired", "failed")}
    told = tx.insert(rule_heartbeat).values(row)
    latest = {"last_evaluated": beat.last_evaluated}
    tx.execute(told.on_conflict_do_update(index_elements=["program", "rule"], set_=sums | latest))


def all(tx: Tx) -> list[Heartbeat]:  # noqa: A001 - read as heartbeats.all
    """Every rule's heartbeat, by program and rule."""
    rows = tx.rows(select(rule_heartbeat).order_by(rule_heartbeat.c.program, rule_heartbeat.c.rule))
    return [from_row(Heartbeat, row) for row in rows]
