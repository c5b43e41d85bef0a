"""Panels of dashboards against bare SQL, and over closed work at ten times the size (row 11 of the targets).

python -m tests.benchmarks.dashboards [--items 100000,1000000] [--database sqlite|postgresql] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import text

from fhir_tracker.measures.figures import alone
from fhir_tracker.measures.report import Asked
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import rollups
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.types import microseconds
from tests.benchmarks.dashboards.bare import statements
from tests.benchmarks.dashboards.data import DAYS, NOW, fill
from tests.benchmarks.stores import fresh_database

RUNS = 9
CLOSED = ("escalations", "outreach", "closed-work", "on-time", "handoffs")
Times = Mapping[str, tuple[float, float]]


def main() -> None:
    """Fill, fold, measure at each size, print ratios."""
    parser = argparse.ArgumentParser(prog="dashboards")
    parser.add_argument("--items", default="100000,1000000")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--output")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    sizes = [int(size) for size in asked.items.split(",")]
    found: list[Times] = []
    with fresh_database(asked.database, "dashboards") as database:
        held = 0
        for size in sizes:
            begun = time.perf_counter()
            fill(database, held, size)
            filled = time.perf_counter()
            with database.begin() as tx:
                rollups.rebuild(tx)
            rollups.fold(database, NOW)
            _tidy(database)
            held = size
            folded = time.perf_counter() - filled
            print(
                f"  {size:,} pieces of work: filled in {filled - begun:.0f} s, all sums made in {folded:.1f} s",
                flush=True,
            )
            found.append(_measured(database))
    lines = list(_table(asked.database, sizes, found))
    print("\n".join(lines))
    if asked.output:
        Path(asked.output).write_text("\n".join(lines) + "\n")


def _tidy(database: Database) -> None:
    """What an autovacuum or a quiet night does."""
    if database.dialect == "postgresql":
        with database.drivers.take() as driver:
            driver.rows("VACUUM ANALYZE", ())
    else:
        with database.begin() as tx:
            tx.execute(text("ANALYZE"))


def _measured(database: Database) -> Times:
    end = NOW.replace(minute=0)
    asked = Asked(viewer=open_viewer(), now=NOW, start=end - timedelta(days=DAYS), end=end)
    is_open = "open = 1" if database.dialect == "sqlite" else "open"
    hours = rollups.hour_of(asked.start), rollups.hour_of(asked.end)
    return {
        name: _both(database, name, asked, statement)
        for name, statement in statements(*hours, microseconds(NOW), is_open).items()
    }


def _both(database: Database, name: str, asked: Asked, statement: str) -> tuple[float, float]:
    """Seconds of the panel and of the bare statement, one after the other in turns."""

    def panel() -> object:
        return alone(database, name, asked).rows

    with database.drivers.take() as driver:

        def bare() -> object:
            return driver.rows(statement, ())

        panel(), bare()
        times = [(_timed(panel), _timed(bare)) for _ in range(RUNS)]
    return median(one for one, _ in times), median(one for _, one in times)


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _table(kind: str, sizes: list[int], found: list[Times]) -> list[str]:
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {kind}, load {os.getloadavg()[0]:.1f}"
    lines = [
        f"{machine}; median of {RUNS}, panel and bare SQL in turns; 15 of 100 open, 90 days.",
        "",
        f"| panel | {' | '.join(f'{size:,}: ms, bare ms, ratio' for size in sizes)} | last to first |",
        "|---|" + "---|" * (len(sizes) + 1),
    ]
    for name in found[0]:
        cells = [
            f"{one[name][0] * 1000:.1f}, {one[name][1] * 1000:.1f}, {one[name][0] / one[name][1]:.2f}" for one in found
        ]
        growth = f"{found[-1][name][0] / found[0][name][0]:.2f}"
        lines.append(f"| {name}{' (sums)' if name in CLOSED else ''} | {' | '.join(cells)} | {growth} |")
    return lines


if __name__ == "__main__":
    main()
