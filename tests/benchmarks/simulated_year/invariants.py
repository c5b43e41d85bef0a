"""What must hold of everything at the end of the simulated year; each finding is one line of words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from fhir_tracker import programs, records
from fhir_tracker.fhir.reading import objects_at, text_at
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.work import Firing, WorkItem
from fhir_tracker.storage import firings, resources, work_items
from fhir_tracker.storage.database import Database

_VIEWER = worker_viewer("invariants")
Case = tuple[str, str, str, int]


def broken(database: Database, end: datetime, step: timedelta) -> list[str]:
    """Everything that is wrong; empty when all holds."""
    found: list[str] = []
    told: Counter[Case] = Counter()
    fired: Counter[Case] = Counter()
    for page in _pages(database):
        found += [
            f"{one.ref} should have been looked at {one.next_action_at}" for one in page if _sleeps(one, end - step)
        ]
        found += _unknown_statuses(database, page)
        found += _firings(database, page, fired)
        told.update(_escalations(database, page))
    found += [f"{case} was told {times} times" for case, times in told.items() if times > 1]
    found += [f"{case} has no escalation Task" for case in fired.keys() - told.keys()]
    found += [f"{case} has a Task and never fired" for case in told.keys() - fired.keys()]
    return found


def _pages(database: Database) -> Iterator[list[WorkItem]]:
    after = 0
    while True:
        with database.read() as tx:
            rows = work_items.scan(tx, _VIEWER, after_k=after)
        if not rows:
            return
        after = rows[-1][0]
        yield [item for _, item in rows]


def _sleeps(item: WorkItem, since: datetime) -> bool:
    return item.open and item.next_action_at is not None and item.next_action_at < since


def _unknown_statuses(database: Database, page: Sequence[WorkItem]) -> Iterator[str]:
    with database.read() as tx:
        for item in page:
            program = programs.load(tx, item.program, item.program_version) if item.program else None
            if program and item.kind == "task" and item.open and program.status(item.status) is None:
                yield f"{item.ref} is in {item.status}, which {program.code} does not have"


def _firings(database: Database, page: Sequence[WorkItem], into: Counter[Case]) -> Iterator[str]:
    with database.read() as tx:
        rows = firings.of_items(tx, _VIEWER, [one.ref for one in page])
    for ref, some in rows.items():
        cases: dict[tuple[str, str], list[Firing]] = defaultdict(list)
        for one in some:
            if one.kind == "escalate" and one.state != "skipped":
                cases[one.key.rule, one.key.cycle].append(one)
                into[ref, one.key.rule, one.key.cycle, one.key.level] += 1
        for (rule, cycle), climbed in cases.items():
            steps = sorted(climbed, key=lambda one: one.key.level)
            if [one.key.level for one in steps] != list(range(1, len(steps) + 1)):
                yield f"{ref} {rule} {cycle} left out a level: {[one.key.level for one in steps]}"
            if any(later.fired_at < one.fired_at for one, later in pairwise(steps)):
                yield f"{ref} {rule} {cycle} climbed backwards"


def _escalations(database: Database, page: Sequence[WorkItem]) -> Iterator[Case]:
    refs = [one.ref for one in page if one.kind == "escalation"]
    with database.read() as tx:
        stored = resources.find_many(tx, _VIEWER, refs)
    for one in stored.values():
        task = records.resource_of(one)
        given = {text_at(entry, "type", "text"): entry for entry in objects_at(task, "input")}
        yield (
            text_at(task, "focus", "reference") or "",
            text_at(given.get("rule"), "valueString") or "",
            text_at(given.get("cycle"), "valueString") or "",
            int(given["level"]["valuePositiveInt"]),
        )
