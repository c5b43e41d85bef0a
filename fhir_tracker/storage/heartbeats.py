"""Heartbeats of rules: when each was last evaluated, and how often it matched, fired and failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BindParameter, bindparam, case, select

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
    note_many(tx, [beat])


def note_many(tx: Tx, beats: Sequence[Heartbeat]) -> None:
    """Add the counts of one sweep, a rule at a time; `last_evaluated` never goes back."""
    given: dict[str, BindParameter[int]] = {name: bindparam(f"given_{name}") for name in ("matched", "fired", "failed")}
    seen = bindparam("given_last_evaluated", type_=rule_heartbeat.c.last_evaluated.type)
    table = rule_heartbeat.c
    told = tx.insert(rule_heartbeat).values(
        program=bindparam("given_program"), rule=bindparam("given_rule"), last_evaluated=seen, **given
    )
    latest = case(
        (table.last_evaluated > told.excluded.last_evaluated, table.last_evaluated), else_=told.excluded.last_evaluated
    )
    sums = {name: table[name] + told.excluded[name] for name in given}
    statement = told.on_conflict_do_update(index_elements=["program", "rule"], set_=sums | {"last_evaluated": latest})
    ordered = sorted(beats, key=lambda one: (one.program, one.rule))
    if ordered:
        tx.execute(statement, [{f"given_{name}": value for name, value in vars(one).items()} for one in ordered])


def all(tx: Tx) -> list[Heartbeat]:  # noqa: A001 - read as heartbeats.all
    """Every rule's heartbeat, by program and rule."""
    rows = tx.rows(select(rule_heartbeat).order_by(rule_heartbeat.c.program, rule_heartbeat.c.rule))
    return [from_row(Heartbeat, row) for row in rows]
