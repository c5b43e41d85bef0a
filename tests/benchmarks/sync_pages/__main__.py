"""What it costs to take an EHR's pages in: beside the bare database, as the store grows, and when nothing is new.

python -m tests.benchmarks.sync_pages [--sizes 20000,100000] [--beside 20000] [--database sqlite|postgresql] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from fhir_tracker import clock, connections
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from subscriptions.poll import poll_type
from subscriptions.sync import following
from tests.benchmarks.sync_pages.bare import BareCopy, BareMany, Copied, put_in_pages, row_counts
from tests.benchmarks.sync_pages.pages import BASE, PAGE, ROUND, SHARES, Pages
from tests.peers.postgres.server import Postgres, running_postgres

GOALS = {"postgresql": 0.20, "sqlite": 0.30}
AGAIN = 5.0
GROWTH = 1.5
LAST = 10_000
"""Entries over which the cost at a size is taken."""
KEY = "bench"


@dataclass
class Taken:
    """Seconds: of each round's first pass, of its second, and of the bare database with the same rows."""

    first: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    rows: int = 0
    rewritten: int = 0
    by_type: dict[str, float] = field(default_factory=dict)


class Clinic:
    """A tracker's database that follows a made-up EHR."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.client = Pages()
        self.held = 0
        with database.begin() as tx:
            self.connection = connections.add(tx, KEY, BASE, now=clock.now(), types=list(SHARES))

    def pass_over(self, taken: Taken | None = None) -> float:
        """Poll every type of the present round; the seconds, without those in which the EHR made its pages."""
        total = 0.0
        with following(self.database, self.connection, client=self.client, now=clock.now) as follow:
            for type_, pages in SHARES.items():
                self.client.made = 0.0
                begun = time.perf_counter()
                done = poll_type(follow, type_)
                took = time.perf_counter() - begun - self.client.made
                assert (done.error, done.pages) == (None, pages), done
                assert done.tally.applied + done.tally.unchanged == pages * PAGE, done
                total += took
                if taken is not None:
                    taken.by_type[type_] = taken.by_type.get(type_, 0.0) + took
        return total

    def go_on(self) -> None:
        """The next round."""
        self.held += ROUND
        self.client.round += 1


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="sync_pages")
    parser.add_argument("--sizes", default="20000,100000", help="up to which sizes the store grows")
    parser.add_argument(
        "--beside", type=int, default=20_000, help="how many entries are taken beside the bare database"
    )
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--output")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    sizes = [int(size) for size in asked.sizes.split(",")]
    with _databases(asked.database) as (database, bare):
        clinic = Clinic(database)
        taken = _beside(clinic, bare, asked.beside)
        curve = _grown(clinic, sizes)
    text = "\n".join(_lines(asked.database, taken, curve)) + "\n"
    print(text)
    if asked.output:
        Path(asked.output).write_text(text)


def _beside(clinic: Clinic, bare: BareCopy | BareMany, entries: int) -> Taken:
    """In turns: a round taken in, its rows put into the bare database, and the round polled again."""
    taken, copied = Taken(), Copied(clinic.database)
    clinic.pass_over()
    clinic.go_on()
    put_in_pages(bare, copied.fresh(), sum(SHARES.values()))
    while clinic.held < entries:
        taken.first.append(clinic.pass_over(taken))
        rows = copied.fresh()
        taken.rows += sum(map(len, rows.values()))
        taken.bare.append(put_in_pages(bare, rows, sum(SHARES.values())))
        before = row_counts(clinic.database)
        taken.again.append(clinic.pass_over())
        taken.rewritten += sum(row_counts(clinic.database).values()) - sum(before.values())
        clinic.go_on()
    return taken


def _grown(clinic: Clinic, sizes: list[int]) -> list[tuple[int, float]]:
    """(size, microseconds an entry over the last that were added) for each size."""
    found = []
    for size in sizes:
        last: list[float] = []
        while clinic.held < size:
            took = clinic.pass_over()
            clinic.go_on()
            if clinic.held > size - LAST:
                last.append(took)
            if clinic.held % 50_000 == 0:
                print(f"  {clinic.held:,} entries", flush=True)
        if last:
            found.append((size, median(last) / ROUND * 1e6))
    return found


def _lines(kind: str, taken: Taken, curve: list[tuple[int, float]]) -> Iterator[str]:
    count = ROUND * len(taken.first)
    first, again, bare = sum(taken.first), sum(taken.again), sum(taken.bare)
    ratio = median(one / other for one, other in zip(taken.bare, taken.first, strict=True))
    faster = median(one / other for one, other in zip(taken.first, taken.again, strict=True))
    yield (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {kind}, load {os.getloadavg()[0]:.1f}; "
        f"{count:,} entries in pages of {PAGE}, {taken.rows / count:.1f} rows each, a transaction a page on both sides; "
        "ratios are medians of rounds in turns."
    )
    yield ""
    yield "| work | entries a second | ratio | goal | |"
    yield "|---|---|---|---|---|"
    name = "COPY" if kind == "postgresql" else "executemany"
    yield f"| the same rows by bare {name} | {count / bare:,.0f} | | | |"
    yield _line("pages of entries to committed rows", count / first, ratio, GOALS[kind])
    yield _line(f"the same pages again, {taken.rewritten} rows written", count / again, faster, AGAIN)
    yield ""
    each = {one: took / len(taken.first) / SHARES[one] / PAGE for one, took in taken.by_type.items()}
    yield f"us an entry, by type: {', '.join(f'{one} {took * 1e6:,.0f}' for one, took in each.items())}"
    yield ""
    yield "| entries held | us an entry, the last 10,000 | ratio to the size before | goal | |"
    yield "|---|---|---|---|---|"
    before = None
    for size, cost in curve:
        grown = f"{cost / before:.2f}x" if before else ""
        judged = ("met" if cost / before <= GROWTH else "MISSED") if before else ""
        yield f"| {size:,} | {cost:,.0f} | {grown} | {f'{GROWTH}x' if before else ''} | {judged} |"
        before = cost


def _line(what: str, rate: float, ratio: float, goal: float) -> str:
    return f"| {what} | {rate:,.0f} | {ratio:.2f}x | {goal:.2f}x | {'met' if ratio >= goal else 'MISSED'} |"


@contextmanager
def _databases(kind: str) -> Iterator[tuple[Database, BareCopy | BareMany]]:
    """The tracker's database and one with the same empty tables."""
    with ExitStack() as undo:
        folder = Path(tempfile.mkdtemp(prefix="sync-pages-", dir="/var/tmp"))
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        server = undo.enter_context(running_postgres(settings=SETTINGS)) if kind == "postgresql" else None
        ours, other = _url(server, folder, "tracker"), _url(server, folder, "bare")
        databases = [undo.enter_context(closing(Database.open(url))) for url in (ours, other)]
        for one in databases:
            prepare(one)
        if server is None:
            yield databases[0], BareMany(databases[1])
        else:
            yield databases[0], undo.enter_context(closing(BareCopy(other)))


SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB"}


def _url(server: Postgres | None, folder: Path, name: str) -> str:
    return server.url(server.create()) if server else f"sqlite:///{folder}/{name}.db"


if __name__ == "__main__":
    main()
