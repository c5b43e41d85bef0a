"""Synthetic work of 90 days in any number, 15 of 100 open, written in bulk; nobody in it is real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_tracker.fhir.folding import fold
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.spell import ended
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.work import ClockState, WorkItem
from fhir_tracker.storage.buffer import Bulk
from fhir_tracker.storage.bulks import ITEM
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.measure_tables import attempt_log, spell
from fhir_tracker.storage.types import microseconds
from fhir_tracker.storage.work_items import due_order
from fhir_tracker.storage.work_tables import firing

NOW = datetime(2026, 6, 1, 15, 30, tzinfo=UTC)
DAYS = 90
PROGRAMS = ("tcm", "ccm", "diabetes", "hypertension", "bhi", "referral")
CODES = ("first-call", "visit", "labs", "follow-up", "letter")
ROLES = ("rn", "care-coordinator", "provider", "front-desk", "clinic-admin")
CHANNELS = ("phone", "sms", "email", "letter", "portal")
OUTCOMES = ("reached", "no-answer", "left-message", "no-answer")
RULES = ("late", "very-late", "no-contact", "no-summary")
STATUSES = ("to-call", "calling", "waiting", "booked")
_BY = worker_viewer("bench")
_CHUNK = 5000
_SPELL, _ATTEMPT, _FIRING = (
    Bulk(table, tuple(column.name for column in table.c)) for table in (spell, attempt_log, firing)
)
_ITEM_FIELDS = tuple(one.name for one in fields(WorkItem))


def fill(database: Database, start: int, end: int) -> None:
    """Add the pieces of work `start` to `end` with their spells, attempts and escalations."""
    for first in range(start, end, _CHUNK):
        with database.begin() as tx:
            for number in range(first, min(first + _CHUNK, end)):
                _one(tx, number)


def _one(tx: Tx, number: int) -> None:
    item = _item(number)
    closed_at = _worked(number * 7919, 0)
    if not item.open:
        made = item.having(open=True, status="calling", fhir_status="in-progress", clock="running")
        author = Author(viewer=_BY, origin="bench", at=closed_at)
        why = Why(code=("moved", "declined", "")[number % 3] or None)
        over = ended(made.having(stands_since=closed_at - timedelta(hours=number % 90)), item, author, why)
        _add(tx, _SPELL, vars(over))
        item = item.having(stands_since=closed_at, status_since=closed_at)
    elif item.owner and number % 2:
        author = Author(viewer=_BY, origin="bench", at=_worked(number * 4231, 4))
        before = item.having(owner="Practitioner/bench-before", stands_since=author.at - timedelta(hours=1))
        _add(tx, _SPELL, vars(ended(before, item, author, None)))
    tx.added.add(
        ITEM,
        (
            tx.keys.take(),
            *(_plain(getattr(item, name)) for name in _ITEM_FIELDS),
            microseconds(due_order(item)),
            fold(item.title),
            None,
            None,
        ),
    )
    if number % 2 == 0:
        _add(tx, _ATTEMPT, dict(_attempt(item, number)))
    if number % 10 == 0:
        _add(tx, _FIRING, dict(_firing(item, number)))


def _item(number: int) -> WorkItem:
    made = _worked(number * 104_729, 1)
    is_open = number % 100 < 15
    status = STATUSES[number % 4] if is_open else "done"
    clock: ClockState = "paused" if status == "waiting" else "running"
    return WorkItem(
        ref=f"Task/bench-{number}",
        kind="task" if number % 20 else "escalation",
        title="Synthetic work",
        patient=f"bench-{number // 20}",
        program=PROGRAMS[number // 3 % 6],
        program_version=1,
        code=CODES[number // 7 % 5],
        status=status,
        fhir_status="in-progress" if is_open else "completed",
        clock=clock if is_open else "stopped",
        open=is_open,
        role=ROLES[number // 13 % 5],
        owner=f"Practitioner/bench-{number // 13 % 40}" if number % 3 else None,
        due_at=made + timedelta(days=4 + number % 90),
        created_at=made,
        status_since=made + timedelta(hours=number % 24),
        stands_since=made,
    )


def _attempt(item: WorkItem, number: int) -> Iterator[tuple[str, Any]]:
    at = _worked(number * 7907, 2)
    yield from {"ref": f"Communication/bench-{number}", "item": item.ref, "plan": None, "patient": item.patient}.items()
    yield from {
        "program": item.program,
        "channel": CHANNELS[number // 5 % 5],
        "outcome": OUTCOMES[number // 2 % 4],
    }.items()
    yield from {"at": at, "since": at, "until": None}.items()


def _firing(item: WorkItem, number: int) -> Iterator[tuple[str, Any]]:
    yield from {"item": item.ref, "rule": RULES[number // 10 % 4], "cycle": "0", "level": 1 + number // 40 % 3}.items()
    yield from {"fired_at": _worked(number * 6007, 3), "kind": "escalate", "task": None, "state": "open"}.items()
    yield from {"to_role": ROLES[number // 50 % 5], "program": item.program, "program_version": 1}.items()
    yield from {"reason": "late", "patient": item.patient}.items()


def _worked(chance: int, salt: int) -> datetime:
    """Some moment of the 90 days, between 8 and 18 o'clock in New York."""
    minutes = (chance + salt * 31) % (DAYS * 600)
    return NOW - timedelta(days=1 + minutes // 600, hours=3) + timedelta(minutes=minutes % 600 - 30)


def _add(tx: Tx, bulk: Bulk, values: dict[str, Any]) -> None:
    row = values | {"k": tx.keys.take()}
    tx.added.add(bulk, tuple(_plain(row[name]) for name in bulk.columns))


def _plain(value: object) -> object:
    return microseconds(value) if isinstance(value, datetime) else value
