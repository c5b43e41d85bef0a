"""What it costs to know who asks: the first request with a token beside those after it, in microseconds, on both databases.

python -m tests.benchmarks.authentication [--database postgresql://...]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

from api.context import Access
from fhir_tracker import access_tokens, clock
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.epochs import Watch
from fhir_tracker.storage.schema import prepare
from tests.peers.postgres.server import Postgres
from tests.support.contexts import context_of
from tests.support.systems import let_in

ROUNDS = 300
GROUP = 8
"""Requests that share one look at the epoch: as many as wait together under load."""
GOAL = 0.1


def main() -> None:
    """Print a line for each database."""
    given = argparse.ArgumentParser(prog="authentication")
    given.add_argument("--database", help="a PostgreSQL of your own, empty")
    asked = given.parse_args()
    print(f"| database | first request | later ones, alone | later ones, {GROUP} together | ratio | goal |")
    print("|---|---|---|---|---|---|")
    with ExitStack() as undo:
        for kind, url in _stores(undo, asked.database):
            with closing(Database.open(url)) as database:
                prepare(database)
                cold, alone, together = _measured(database)
                print(
                    f"| {kind} | {cold:,.0f} us | {alone:,.0f} us | {together:,.0f} us | {alone / cold:.3f}x alone, "
                    f"{together / cold:.3f}x together | {GOAL}x |"
                )


def _stores(undo: ExitStack, url: str | None) -> Iterator[tuple[str, str]]:
    folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="authentication-", dir="/var/tmp")))
    folder.chmod(0o755)
    yield "SQLite", f"sqlite:///{folder}/tracker.db"
    if url is None:
        (folder / "postgres").mkdir()
        server = Postgres(folder / "postgres", settings={})
        undo.callback(server.stop)
        url = server.url(server.create())
    yield "PostgreSQL", url


def _measured(database: Database) -> tuple[float, float, float]:
    """Microseconds: of a first request, of a later one, and of one of several that came together."""
    client, context = let_in(database), context_of(database, access=Access.LOCKED)
    with database.begin() as tx:
        made = access_tokens.issue(tx, client, "system/*.rs", timedelta(hours=1), clock.now())
    assert made is not None
    admission, watch, token = context.admission, Watch(database), made.value

    def cold() -> None:
        admission.admit(token, "127.0.0.1", clock.now())

    def later(arrived: float) -> None:
        found = admission.remembered(token, "127.0.0.1", clock.now())
        assert found is not None
        assert found.epoch == watch.at(arrived)

    def together() -> None:
        arrived = clock.monotonic()
        for _ in range(GROUP):
            later(arrived)

    cold()
    return _median(cold), _median(lambda: later(clock.monotonic())), _median(together) / GROUP


def _median(work: Callable[[], None]) -> float:
    spent = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        spent.append((time.perf_counter() - begun) * 1e6)
    return statistics.median(spent)


if __name__ == "__main__":
    main()
