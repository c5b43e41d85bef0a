"""What a sweep costs: as the open work grows, beside a transaction for each item, and what the job queue does beside Celery.

python -m tests.benchmarks.sweep [--items 100000,1000000] [--due 1000] [--database sqlite|postgresql] [--jobs 20000] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import NamedTuple

import redis
from celery import Celery
from sqlalchemy import text

from fhir_tracker import enrolment, job_running, publishing, records, sweep
from fhir_tracker.brake import Limit
from fhir_tracker.model.author import Author
from fhir_tracker.model.program import Program
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import jobs, work_items
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.peers.postgres.server import running_postgres
from tests.peers.process import Process
from tests.peers.redis.server import RedisServer
from tests.support.clinic import MONDAY, RING, encounter

SYSTEM = worker_viewer("benchmark")
LIMITS = sweep.Limits(brake=Limit(share=0, floor=0))
GROWTH = {"postgresql": 1.5, "sqlite": 2.0}
ALONE = 0.10
QUEUE = 10.0
ROUNDS = 3
DAY = timedelta(days=1)


class Cost(NamedTuple):
    """Microseconds for each escalation: as time passes, and of this process's processor time (which has all of SQLite)."""

    passed: float
    used: float

    @property
    def told(self) -> str:
        return f"{self.used:,.0f} us of it on a processor here"


class Practice:
    """A database with the ring program, patients who are enrolled in rounds, and open work that is not due for long."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.held = self.patients = 0
        with database.begin() as tx:
            self.program: Program = publishing.publish(tx, RING, Author(viewer=SYSTEM, origin="bench", at=MONDAY))

    def grow(self, size: int) -> None:
        """Fill up to so many open items that nobody has to look at for a year."""
        while self.held < size:
            some = min(5000, size - self.held)
            with self.database.begin() as tx:
                for number in range(self.held, self.held + some):
                    work_items.add(tx, self._resting(number))
            self.held += some
        with self.database.begin() as tx:
            tx.execute(text("ANALYZE"))

    def _resting(self, number: int) -> WorkItem:
        return WorkItem(
            ref=f"Task/resting-{number}",
            kind="task",
            title="Call",
            patient=f"r{number}",
            program=self.program.code,
            program_version=self.program.version,
            code="first-call",
            status="to-call",
            fhir_status="requested",
            role="care-coordinator",
            due_at=MONDAY + 400 * DAY,
            created_at=MONDAY,
            status_since=MONDAY,
            next_action_at=MONDAY + timedelta(days=365, seconds=number % 86_400),
        )

    def enrol(self, count: int, at: datetime) -> float:
        """So many discharges, enrolled; enrolments a second."""
        author = Author(viewer=SYSTEM, origin="bench", at=at)
        first, self.patients = self.patients, self.patients + count
        for start in range(first, self.patients, 500):
            with self.database.begin() as tx:
                for number in range(start, min(start + 500, self.patients)):
                    body = {"resourceType": "Patient", "id": f"p{number}", "name": [{"family": "Synthetic"}]}
                    records.save(tx, body, author, fresh=True)
                    records.save(tx, encounter(f"p{number}", at, id_=f"stay-{number}"), author, fresh=True)
        begun = time.perf_counter()
        more = True
        while more:
            with self.database.begin() as tx:
                more = enrolment.consume(tx, self.program, at).more
        return count / (time.perf_counter() - begun)

    def escalate(self, count: int, at: datetime, limits: sweep.Limits) -> Cost:
        """Enrol so many, let all of them be late, and sweep once: what each escalation costs."""
        self.enrol(count, at)
        sweep.settle(self.database, at, LIMITS)
        begun, used, fired = time.perf_counter(), time.process_time(), 0
        while fired < count:
            report = sweep.sweep(self.database, at + 2 * DAY, limits)
            fired += report.escalated
            if not report.items:
                break
        cost = Cost(1e6 * (time.perf_counter() - begun) / count, 1e6 * (time.process_time() - used) / count)
        assert fired == count, (fired, count)
        sweep.settle(self.database, at + 2 * DAY, LIMITS)
        with self.database.begin() as tx:
            tx.execute(text("UPDATE work_item SET open = false WHERE patient LIKE 'p%'"))
        return cost


def alone() -> sweep.Limits:
    """A transaction for each item."""
    return sweep.Limits(batch=1, brake=Limit(share=0, floor=0))


@contextmanager
def opened(kind: str) -> Iterator[Database]:
    with ExitStack() as stack:
        if kind == "postgresql":
            server = stack.enter_context(running_postgres())
            url = server.url(server.create())
        else:
            url = f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/tracker.db"
        database = stack.enter_context(closing(Database.open(url)))
        prepare(database)
        yield database


def measure(kind: str, sizes: list[int], due: int) -> Iterator[str]:
    """The rows of the table for one database."""
    with opened(kind) as database:
        practice, at = Practice(database), MONDAY
        costs: list[Cost] = []
        for size in sizes:
            practice.grow(size)
            found = []
            for _ in range(ROUNDS):
                at += timedelta(hours=1)
                found.append(practice.escalate(due, at, LIMITS))
            costs.append(Cost(min(one.passed for one in found), min(one.used for one in found)))
            yield line(kind, f"{due} due of {size:,} open: each escalation", costs[-1].passed, "us", costs[-1].told)
        if len(costs) > 1:
            what, goal = f"row 7: {sizes[-1]:,} beside {sizes[0]:,}", f"<= {GROWTH[kind]}"
            yield ratio(kind, what, costs[-1].passed / costs[0].passed, goal)
            yield ratio(kind, f"{what}, processor time here", costs[-1].used / costs[0].used, goal)
        together, one_by_one = [], []
        for _ in range(ROUNDS):
            at += timedelta(hours=1)
            together.append(practice.escalate(500, at, LIMITS))
            at += timedelta(hours=1)
            one_by_one.append(practice.escalate(60, at, alone()))
        batch, single = (median(one.passed for one in some) for some in (together, one_by_one))
        yield line(kind, "500 together: each escalation", batch, "us", min(together).told)
        yield line(kind, "one transaction each", single, "us", min(one_by_one).told)
        yield ratio(kind, "row 8: together beside alone", batch / single, f"<= {ALONE}")
        yield line(kind, "patients enrolled", practice.enrol(2000, at), "a second", "")


def measure_jobs(kind: str, count: int) -> Iterator[str]:
    """No-op jobs by the embedded worker, and by Celery over Redis; Celery is measured once, with PostgreSQL."""
    with opened(kind) as database:
        rates = []
        for turn in range(ROUNDS):
            with database.begin() as tx:
                keys = [f"{turn}-{number}" for number in range(count)]
                jobs.enqueue_many(tx, "nothing", keys, {}, MONDAY)
            begun, done = time.perf_counter(), 0
            while worked := job_running.work_off(database, {"nothing": lambda *_: None}, lambda: MONDAY).done:
                done += worked
            assert done == count
            rates.append(count / (time.perf_counter() - begun))
        yield line(kind, f"{count:,} no-op jobs by the embedded worker", median(rates), "a second", "")
        celery = celery_rate(3000)
        yield line(kind, "no-op tasks by Celery over Redis", celery, "a second", "")
        yield ratio(kind, "row 10: embedded beside Celery", median(rates) / celery, f">= {QUEUE:.0f}")


def celery_rate(count: int) -> float:
    """How many tasks that do nothing one Celery worker takes from Redis in a second."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = RedisServer(folder)
        (folder / "nothing.py").write_text(
            f"from celery import Celery\napp = Celery('nothing', broker='{server.url}')\n"
            "app.conf.task_ignore_result = True\n"
            "@app.task(name='nothing')\ndef nothing():\n    pass\n"
        )
        app = Celery("nothing", broker=server.url)
        worker = None
        try:
            for _ in range(count):
                app.send_task("nothing")
            command: list[str | Path] = [Path(sys.executable).parent / "celery", "--app", "nothing", "worker"]
            flags = ["--pool", "prefork", "--concurrency", "2", "--without-mingle", "--without-gossip"]
            with redis.Redis.from_url(server.url) as client:
                worker = Process([*command, *flags], log=folder / "worker.log", cwd=folder)
                begun = worker_began(client, count)
                while client.llen("celery") or client.hlen("unacked"):
                    time.sleep(0.01)
                return count / (time.perf_counter() - begun)
        finally:
            if worker is not None:
                worker.kill()
            app.close()
            server.stop()


def worker_began(client: redis.Redis, count: int) -> float:
    """When the worker took its first task."""
    while int(client.llen("celery")) == count:
        time.sleep(0.005)
    return time.perf_counter()


def line(kind: str, what: str, number: float, unit: str, note: str) -> str:
    return f"| {kind} | {what} | {number:,.1f} {unit} | {note} |"


def ratio(kind: str, what: str, number: float, goal: str) -> str:
    return f"| {kind} | **{what}** | {number:.3f}x | {goal} |"


def main() -> int:
    """Print the table, and write it to a file when one is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sweep")
    parser.add_argument("--items", default="100000", help="how much open work there is, one size after the other")
    parser.add_argument("--due", type=int, default=1000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--jobs", type=int, default=20_000, help="0: none")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    sizes = [int(one) for one in given.items.split(",")]
    rows = ["| database | what | measured | goal |", "|---|---|---|---|"]
    print("\n".join(rows), flush=True)
    for kind in given.database or ("sqlite", "postgresql"):
        for found in (measure(kind, sizes, given.due), measure_jobs(kind, given.jobs) if given.jobs else ()):
            for one in found:
                rows.append(one)
                print(one, flush=True)
    rows.append(f"\nLoad average {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores, Python {sys.version.split()[0]}.")
    print(rows[-1])
    if given.output:
        given.output.write_text("\n".join(rows) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
