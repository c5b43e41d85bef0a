"""fhir-tracker in a process whose clock jumps: `python -m tests.faults.jumping FILE WORDS...` is ahead by the seconds in FILE.

The whole process believes it, but for the monotonic clock, which no machine turns back.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import time_machine

from api.cli import main

ROOT = Path(__file__).parents[2]


class Jumps:
    """The file that says how far a process is ahead; written whole, or not at all."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ahead"
        self.set(0)

    def set(self, seconds: float) -> None:
        """From now on so far ahead."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(self._path)

    @property
    def program(self) -> tuple[str | Path, ...]:
        """What to start in place of `fhir-tracker`, from the folder ROOT or with it as PYTHONPATH."""
        return (sys.executable, "-m", "tests.faults.jumping", self._path)


def _run(path: Path, words: Sequence[str]) -> int:
    ahead = float(path.read_text())
    moved = time_machine.travel(datetime.now(UTC) + timedelta(seconds=ahead), tick=True).start()

    def follow() -> None:
        nonlocal ahead
        while True:
            time.sleep(0.05)
            told = float(path.read_text())
            if told != ahead:
                moved.shift(timedelta(seconds=told - ahead))
                ahead = told

    threading.Thread(target=follow, daemon=True).start()
    return main(list(words))


if __name__ == "__main__":
    raise SystemExit(_run(Path(sys.argv[1]), sys.argv[2:]))
