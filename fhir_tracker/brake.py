"""The mass-escalation brake: a sweep that would escalate too much at once stops and asks a person (DESIGN section 6).

It is put on for one program, or for all where the sum of them is too much. What counts is the share of the work that can
escalate: of open tasks for what escalates tasks, of open plans for what escalates plans. Several sweeps that follow each
other within `TOGETHER`, or run side by side, count as one.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_tracker import records, task_resources
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.storage import firings, resources, settings, work_items
from fhir_tracker.storage.database import Tx

_KEY = "mass-escalation-brake"
_TURN = "mass-escalation-turn"
_RELEASED = "mass-escalation-released-until"
RELEASED_FOR = timedelta(minutes=30)
TOGETHER = timedelta(minutes=5)
ALL = ""
"""Where a program's code stands: all programs."""
_PLURAL = {"task": "tasks", "plan": "plans"}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The brake trips above `share` of the open work that can escalate and above `floor` escalations; a share of 0 switches
    it off.
    """

    share: float
    floor: int


@dataclass(frozen=True, kw_only=True)
class Brake:
    """The brake as put on: since when, what the sweep would have done, and for which program (`ALL`: for every one)."""

    since: str
    escalations: int
    open_items: int
    task: str
    program: str = ALL


def all_engaged(tx: Tx) -> list[Brake]:
    """Every brake that is on, that of all programs first."""
    text = settings.get(tx, _KEY)
    found = json.loads(text) if text else []
    return [Brake(**one) for one in (found if isinstance(found, list) else [found])]


def engaged(tx: Tx) -> Brake | None:
    """One brake that is on, that of all programs before others; else None."""
    return next(iter(all_engaged(tx)), None)


def held(tx: Tx, planned: Mapping[tuple[str, str], int], limit: Limit, now: datetime) -> frozenset[str]:
    """The programs among `planned` ((program, kind of item) -> escalations) whose escalations may not go out.

    Puts brakes on where they are too many, each with a Task for the clinic admin.
    """
    programs = frozenset(program for program, _ in planned)
    if limit.share <= 0:
        return frozenset()
    on = {one.program for one in all_engaged(tx)}
    if ALL in on:
        return programs
    if now < _released_until(tx, now):
        return programs & on
    free = {key: count for key, count in planned.items() if key[0] not in on}
    found = _too_many(tx, free, limit, now)
    if found is not None:
        _engage(tx, *found, now)
        return held(tx, planned, limit, now)
    return programs & on


def _too_many(
    tx: Tx, planned: Mapping[tuple[str, str], int], limit: Limit, now: datetime
) -> tuple[str, str, int, int] | None:
    """Program (or ALL), kind, escalations and open items, where there are too many; the sum of all before one program."""
    if not planned:
        return None
    recent = firings.recent_levels(tx, RULE_WORKER, now - TOGETHER, now)
    sums: Counter[tuple[str, str]] = Counter()
    for (program, kind), count in planned.items():
        sums[program, kind] += count + recent.get((program, kind), 0)
        sums[ALL, kind] += count
    for (_, kind), count in recent.items():
        if (ALL, kind) in sums:
            sums[ALL, kind] += count
    several = len({program for program, _ in planned}) > 1
    for (program, kind), count in sorted(sums.items()):
        if count <= limit.floor or (program == ALL and not several):
            continue
        enough = math.ceil(count / limit.share) + 1
        open_items = work_items.open_up_to(tx, RULE_WORKER, kind, program or None, enough)
        if count > limit.share * open_items:
            return program, kind, count, open_items
    return None


def _engage(tx: Tx, program: str, kind: str, escalations: int, open_items: int, now: datetime) -> None:
    settings.put(tx, _TURN, now.isoformat())
    on = all_engaged(tx)
    if any(one.program in (ALL, program) for one in on):
        return
    where = f"of the program {program}" if program else "of all programs"
    release = "fhir-tracker rules release" + (f" --program {program}" if program else "")
    reason = (
        f"One sweep would have escalated {escalations} of {open_items} open {_PLURAL.get(kind, kind)} {where}. "
        "A wrong clock or calendar is likelier than a disaster: check them, then release the brake with "
        f"`{release}`."
    )
    author = Author(viewer=RULE_WORKER, origin="rules", at=now)
    task = task_resources.admin_task(records.fresh_id(now), "mass-escalation", "Mass escalation stopped", reason, now)
    stored = records.save(tx, task, author)
    new = Brake(since=now.isoformat(), escalations=escalations, open_items=open_items, task=stored.ref, program=program)
    _put(tx, [*on, new])


def _put(tx: Tx, on: list[Brake]) -> None:
    ordered = sorted(on, key=lambda one: one.program)
    settings.put(tx, _KEY, json.dumps([vars(one) for one in ordered]) if ordered else None)


def release(tx: Tx, now: datetime, program: str | None = None) -> Brake | None:
    """Let escalations go out again (of one program), all of those waiting included; None when no such brake was on.

    For `RELEASED_FOR` nothing puts a brake on again, or what waits would stop itself once more. Its Task is completed.
    """
    settings.put(tx, _TURN, now.isoformat())
    on = all_engaged(tx)
    released = [one for one in on if program in (None, one.program)]
    if not released:
        return None
    _put(tx, [one for one in on if one not in released])
    settings.put(tx, _RELEASED, (now + RELEASED_FOR).isoformat())
    work_items.wake_all(tx, now, program)
    author = Author(viewer=RULE_WORKER, origin="rules", at=now)
    for one in released:
        stored = resources.find(tx, RULE_WORKER, *one.task.split("/"))
        if stored is not None and not stored.deleted:
            done = task_resources.with_status(records.resource_of(stored), None, "completed", now)
            records.save(tx, done, author, why=Why(reason="The brake was released."))
    return released[0]


def _released_until(tx: Tx, now: datetime) -> datetime:
    text = settings.get(tx, _RELEASED)
    return datetime.fromisoformat(text) if text else now
