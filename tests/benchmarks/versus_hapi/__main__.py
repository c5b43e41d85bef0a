"""The tracker against HAPI on one machine and one PostgreSQL, in turns: rates, latencies and ratios as a table.

python -m tests.benchmarks.versus_hapi [--seconds 8] [--rounds 3] [--without-hapi] [--secured] [--output FILE]

With --secured each tracker runs once more on the same rows, with access tokens, scopes and all of the audit trail.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.versus_hapi.load import Measured, put, transactions, wrk
from tests.benchmarks.versus_hapi.servers import Target, hapi_on, secured_on, tracker_on
from tests.benchmarks.versus_hapi.stock import scripts, stock
from tests.peers.postgres.server import Postgres
from tests.peers.synthea import bundles

DURABLE = {"shared_buffers": "512MB", "log_min_messages": "fatal"}
COPIES = 6
"""How often each Synthea Bundle is posted in a round."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One row of the table: `unit` of the rate, the ratio to reach, and how it is measured."""

    name: str
    unit: str
    goal: float
    run: Callable[[Target], Measured]
    only_open: bool = False
    """Whether it writes what a system may not write where the EHR is the source of truth."""

    def is_for(self, target: Target) -> bool:
        """Whether this can be asked of a server."""
        return not (self.only_open and target.token)


def works(folder: Path, seconds: int) -> Sequence[Work]:
    """What is compared, in order."""
    lua = scripts(folder)
    imports = [json.dumps(bundle).encode() for bundle in bundles()] * COPIES

    def driven(name: str, connections: int) -> Callable[[Target], Measured]:
        return lambda target: wrk(target.base, lua[name], connections=connections, seconds=seconds, token=target.token)

    return (
        Work(name="create Task, 8 connections", unit="req/s", goal=10, run=driven("create", 8)),
        Work(name="create Task, 16 connections", unit="req/s", goal=10, run=driven("create", 16)),
        Work(name="read Task, 8 connections", unit="req/s", goal=10, run=driven("read", 8)),
        Work(name="search page of 50, 8 connections", unit="req/s", goal=25, run=driven("search", 8)),
        Work(
            name="Synthea transactions, 4 at a time",
            unit="res/s",
            goal=10,
            run=lambda target: transactions(target.base, imports, at_once=4),
            only_open=True,
        ),
    )


def main() -> None:
    """Start the servers, take the rounds in turns and print the table."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    folder = Path(tempfile.mkdtemp(prefix="versus-hapi-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        with ExitStack() as stack:
            (folder / "postgres").mkdir()
            postgres = Postgres(folder / "postgres", settings=DURABLE)
            stack.callback(postgres.stop)
            stores = {"PostgreSQL": postgres.url(postgres.create()), "SQLite": f"sqlite:///{folder}/tracker.db"}
            trackers = [
                stack.enter_context(tracker_on(url, folder / kind, f"tracker, {kind}")) for kind, url in stores.items()
            ]
            peer = [] if asked.without_hapi else [stack.enter_context(hapi_on(postgres, folder))]
            for target in (*peer, *trackers):
                put(target.base, stock())
            secured = [
                stack.enter_context(secured_on(url, folder / f"{kind}-secured", f"tracker, {kind}, secured"))
                for kind, url in (stores.items() if asked.secured else ())
            ]
            targets = [*peer, *trackers, *secured]
            measured = _measure(works(folder, asked.seconds), targets, asked.rounds)
            lines = [*_head(postgres, asked), *_table(works(folder, asked.seconds), targets, measured), *_tail(targets)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if asked.output:
        Path(asked.output).write_text(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="versus_hapi")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-hapi", action="store_true")
    parser.add_argument("--secured", action="store_true")
    parser.add_argument("--output")
    return parser.parse_args()


def _measure(
    rows: Sequence[Work], targets: Sequence[Target], rounds: int
) -> dict[tuple[str, str], tuple[Measured, float]]:
    """The best of a few rounds by (work, target), and the load of the machine then; a first round warms up."""
    best: dict[tuple[str, str], tuple[Measured, float]] = {}
    for turn in range(rounds + 1):
        for work in rows:
            for target in filter(work.is_for, targets):
                seen = work.run(target)
                print(f"  round {turn}: {work.name}: {target.name}: {seen.rate:,.0f} {work.unit}", flush=True)
                key = (work.name, target.name)
                if turn and (key not in best or best[key][0].rate < seen.rate):
                    best[key] = (seen, os.getloadavg()[0])
    return best


def _head(postgres: Postgres, asked: argparse.Namespace) -> Iterator[str]:
    yield f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, PostgreSQL {postgres.version}"
    yield "fsync, full_page_writes and synchronous_commit on; the servers, the databases and wrk share the machine."
    yield f"Best of {asked.rounds} rounds of {asked.seconds} s in turns, after one to warm up. Latencies in ms."
    yield ""


def _table(
    rows: Sequence[Work], targets: Sequence[Target], best: dict[tuple[str, str], tuple[Measured, float]]
) -> Iterator[str]:
    yield "| work | server | rate | p50 | p99 | ratio | goal | load |"
    yield "|---|---|---|---|---|---|---|---|"
    for work in rows:
        floor = best[work.name, targets[0].name][0].rate if targets[0].name.startswith("HAPI") else 0.0
        for target in filter(work.is_for, targets):
            seen, load = best[work.name, target.name]
            ratio = f"{seen.rate / floor:.1f}x" if floor and target is not targets[0] else ""
            goal = f"{work.goal:.0f}x" if target.name.endswith("PostgreSQL") else ""
            yield (
                f"| {work.name} | {target.name} | {seen.rate:,.0f} {work.unit} | {seen.p50:,.1f} | {seen.p99:,.1f} "
                f"| {ratio} | {goal} | {load:.1f} |"
            )


def _tail(targets: Sequence[Target]) -> Iterator[str]:
    yield ""
    yield "| server | start to first answer | resident memory after the load |"
    yield "|---|---|---|"
    for target in targets:
        yield f"| {target.name} | {target.started:.1f} s | {_resident(target.pid):,.0f} MB |"


def _resident(pid: int) -> float:
    """Megabytes of a process and of those it started; what they share counts once."""
    processes = [pid, *(int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    held = (Path(f"/proc/{one}/smaps_rollup").read_text().partition("\nPss:")[2].split()[0] for one in processes)
    return sum(map(int, held)) / 1024


if __name__ == "__main__":
    main()
