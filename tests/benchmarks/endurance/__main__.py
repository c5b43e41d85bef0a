"""Mixed load for minutes: what memory the server holds meanwhile, and how fast it answers at the end as at the beginning.

python -m tests.benchmarks.endurance [--minutes 10] [--database postgresql|sqlite] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.versus_hapi.load import Measured, put, transactions, wrk
from tests.benchmarks.versus_hapi.servers import Target, tracker_on
from tests.benchmarks.versus_hapi.stock import scripts, stock
from tests.peers.postgres.server import Postgres
from tests.peers.synthea import bundles

SLOW_CLIENTS = 50
"""Connections that send a request byte by byte, or ask for a page and never read it."""


def main() -> None:
    """Start the server, load it in rounds, print a line a round, and say how memory went."""
    parser = argparse.ArgumentParser(prog="endurance")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    parser.add_argument("--output")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    folder = Path(tempfile.mkdtemp(prefix="endurance-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        with ExitStack() as stack:
            url = f"sqlite:///{folder}/tracker.db"
            if asked.database == "postgresql":
                (folder / "postgres").mkdir()
                postgres = Postgres(folder / "postgres", settings={"shared_buffers": "256MB"})
                stack.callback(postgres.stop)
                url = postgres.url(postgres.create())
            target = stack.enter_context(tracker_on(url, folder / "own", asked.database))
            put(target.base, stock())
            stack.enter_context(_slow_clients(target))
            lines = [*_head(asked), *_rounds(target, scripts(folder), asked.minutes * 60)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if asked.output:
        Path(asked.output).write_text("\n".join(lines) + "\n")


def _head(asked: argparse.Namespace) -> Iterator[str]:
    yield (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {asked.database}, {asked.minutes:g} minutes; "
        f"{SLOW_CLIENTS} slow clients all the while."
    )
    yield ""
    yield "| minute | creates/s (p99) | reads/s (p99) | pages/s (p99) | imported/s | resident MB of each process |"
    yield "|---|---|---|---|---|---|"


def _rounds(target: Target, lua: dict[str, Path], seconds: float) -> Iterator[str]:
    begun = time.perf_counter()
    imports = [json.dumps(bundle).encode() for bundle in bundles()]
    held: list[float] = []
    while (spent := time.perf_counter() - begun) < seconds:
        rates = [wrk(target.base, lua[name], connections=12, seconds=8) for name in ("create", "read", "search")]
        imported = transactions(target.base, imports, at_once=4)
        resident = [_resident(pid) for pid in _processes(target.pid)]
        held.append(sum(resident))
        cells = [*map(_cell, rates), f"{imported.rate:,.0f}", " + ".join(f"{one:,.0f}" for one in resident)]
        line = f"| {spent / 60:.1f} | {' | '.join(cells)} |"
        print(line, flush=True)
        yield line
    growth = (
        f"Resident memory of all processes: {held[0]:,.0f} MB after the first round, {held[-1]:,.0f} MB after the last."
    )
    print(growth, flush=True)
    yield from ("", growth)


def _cell(measured: Measured) -> str:
    return f"{measured.rate:,.0f} ({measured.p99:,.0f} ms)"


@contextmanager
def _slow_clients(target: Target) -> Iterator[None]:
    address = urlsplit(target.base)
    page = b"GET /fhir/Task?_count=1000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    half = b"POST /fhir/Task HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n{"
    with ExitStack() as stack:
        for number in range(SLOW_CLIENTS):
            client = stack.enter_context(socket.create_connection((address.hostname, address.port or 80)))
            client.sendall((page, half)[number % 2])
        yield


def _processes(first: int) -> Sequence[int]:
    """The server's first process and those it has forked."""
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return [first, *map(int, children)]


def _resident(pid: int) -> float:
    """Proportional set size: pages that processes share are counted once."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.partition("\nPss:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
