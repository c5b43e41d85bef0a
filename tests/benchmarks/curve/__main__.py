"""What a search, a read and a create cost as the store grows: medians in ms at each size, and what they returned.

python -m tests.benchmarks.curve [--sizes 10000,100000,1000000] [--database sqlite|postgresql] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median

from fhir_tracker.fhir.query import parse_query
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.search import search
from tests.benchmarks.curve.data import SYSTEM, fill
from tests.benchmarks.stores import fresh_database

RUNS = 15
QUERIES: tuple[tuple[str, str, str], ...] = (
    ("newest 50", "Task", ""),
    ("owner + status (registered)", "Task", "owner=Practitioner/curve-o17&status=requested"),
    ("patient + status (registered)", "Task", "patient=Patient/curve-p17&status=requested"),
    ("code + status (registered)", "Task", "code=work-3&status=completed"),
    ("one day + status (registered)", "Task", "authored-on=2026-03-01&status=completed"),
    ("performer + priority", "Task", "performer=coordinator&priority=stat"),
    ("owner + code + status", "Task", "owner=Practitioner/curve-o3&code=work-3&status=on-hold"),
    ("two frequent values that never meet", "Task", "performer=admin&priority=stat"),
    ("identifier", "Task", f"identifier={SYSTEM}/numbers|T-000000017"),
    ("chain patient.identifier", "Task", f"patient.identifier={SYSTEM}/patients|P-00000017"),
    ("_has:Task:patient:code", "Patient", "_has:Task:patient:code=work-3"),
    ("name prefix", "Patient", "name=Synthetic17"),
    ("sorted by -authored-on, status", "Task", "status=requested&_sort=-authored-on"),
    ("count of a status", "Task", "status=completed&_summary=count"),
)


def main() -> None:
    """Fill, measure, fill on, and print the table."""
    parser = argparse.ArgumentParser(prog="curve")
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--output")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    sizes = [int(size) for size in asked.sizes.split(",")]
    rows: dict[str, list[str]] = {}
    with fresh_database(asked.database, "curve") as database:
        held = 0
        for size in sizes:
            begun = time.perf_counter()
            fill(database, held, size)
            rate = (size - held) / (time.perf_counter() - begun)
            print(f"  {size:,} Tasks: the last {size - held:,} at {rate:,.0f} a second", flush=True)
            held = size
            for name, cell in _measured(database, size):
                rows.setdefault(name, []).append(cell)
    machine = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {asked.database}, load {os.getloadavg()[0]:.1f}; "
        f"median of {RUNS} in ms, warm, inside one process; rows found on the page in brackets."
    )
    lines = [
        machine,
        "",
        f"| search | {' | '.join(f'{size:,} Tasks' for size in sizes)} |",
        "|---|" + "---|" * len(sizes),
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if asked.output:
        Path(asked.output).write_text(text)


def _measured(database: Database, size: int) -> Iterator[tuple[str, str]]:
    for name, type_, text in QUERIES:
        pairs = [(key, value) for key, _, value in (part.partition("=") for part in text.split("&") if part)]
        query = parse_query(type_, pairs, strict=True)

        def ask() -> str:
            with database.read() as tx:
                page = search(tx, open_viewer(), query)  # noqa: B023
            return f"{len(page.matches)}" if page.total is None or page.matches else f"{page.total:,}"

        yield name, _timed(ask)

    def read() -> str:
        with database.read() as tx:
            assert resources.find(tx, open_viewer(), "Task", f"curve-t{size // 2}")
        return "1"

    yield "read by id", _timed(read)

    numbers = count(1_000_000_000 + size)

    def create() -> str:
        number = next(numbers)
        fill(database, number, number + 1)
        return "1"

    yield "create, one a transaction", _timed(create)


def _timed(work: Callable[[], str]) -> str:
    found, times = work(), []
    for _ in range(RUNS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return f"{median(times) * 1000:.2f} ({found})"


if __name__ == "__main__":
    main()
