"""The table that `make bench` prints, and the one way its numbers are taken: the best of a few runs."""

from __future__ import annotations

import time
from collections.abc import Callable


def best_seconds(work: Callable[[], object], *, runs: int = 5) -> float:
    """The shortest time `work` took: what the machine can do when nothing disturbs it."""
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


def row(what: str, number: float, unit: str) -> None:
    """One line of the table."""
    print(f"  {what:<64} {number:>10,.1f} {unit}")
