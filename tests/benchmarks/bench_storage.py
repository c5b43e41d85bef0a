from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

from fhir_tracker.fhir.body import read_resource, write_json
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import open_viewer, worker_viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage.database import Database
from scripts.budgets import ROOT
from tests.benchmarks.table import best_seconds, row

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
AUTHOR = Author(viewer=worker_viewer("sync"), origin="ehr:bench", at=NOW)
PLAN = read_resource((ROOT / "fixtures" / "r4-examples" / "CarePlan-example.json").read_bytes())
BATCH = 100


def save_plans(database: Database, numbers: count[int], *, batch: int = BATCH) -> None:
    with database.begin() as tx:
        for _ in range(batch):
            id_ = f"bench-{next(numbers)}"
            resource = {**PLAN, "id": id_}
            new = resources.NewVersion(
                type="CarePlan", id=id_, version=1, updated_at=NOW, body=write_json(resource), patient="p", op="create"
            )
            resources.save(tx, new, extract(resource), AUTHOR)


def fill(database: Database, *, start: int, items: int, due: int) -> None:
    with database.begin() as tx:
        for number in range(start, start + items):
            at = NOW - timedelta(minutes=1) if number < start + due else NOW + timedelta(days=30)
            item = WorkItem(
                ref=f"Task/t{number}", kind="task", title="Call", created_at=NOW, status_since=NOW, next_action_at=at
            )
            work_items.save(tx, item)


def claim(database: Database) -> int:
    with database.begin() as tx:
        taken = work_items.claim_due(tx, NOW, 500, timedelta(seconds=30))
        for item in taken.items:
            work_items.postpone(tx, taken, item.ref, NOW - timedelta(minutes=1))
    return len(taken.items)


def test_writing_and_reading_versions(database: Database) -> None:
    numbers = count()
    for batch in (1, BATCH):
        seconds = best_seconds(lambda batch=batch: save_plans(database, numbers, batch=batch))  # type: ignore[misc]
        row(f"{database.dialect}: CarePlans written, {batch} a transaction", batch / seconds, "a second")

    def read() -> None:
        with database.read() as tx:
            for number in range(BATCH):
                assert resources.find(tx, open_viewer(), "CarePlan", f"bench-{number}")

    row(f"{database.dialect}: CarePlans read by id", BATCH / best_seconds(read), "a second")


def test_a_sweep_costs_what_is_due_and_not_what_there_is(database: Database) -> None:
    fill(database, start=0, items=1_000, due=100)
    assert claim(database) == 100
    small = best_seconds(lambda: claim(database))
    fill(database, start=1_000, items=9_000, due=0)
    large = best_seconds(lambda: claim(database))
    row(f"{database.dialect}: 100 due items claimed among 1,000", small * 1e3, "ms")
    row(f"{database.dialect}: 100 due items claimed among 10,000", large * 1e3, "ms")
    assert large < 3 * small
