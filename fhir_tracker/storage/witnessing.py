"""The rows that a process has committed to the tables it watches, for whoever compares them with what is there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

Row = Sequence[Any]
MOST_SEEN = 20_000
"""So many are remembered while nobody takes them; the oldest are let go first."""
SEEN = "seen"
"""Under which name a transaction knows where to tell, among what is kept."""


class Seen:
    """Rows that were committed, oldest first; for many threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._rows: list[Row] = []

    def add(self, rows: Sequence[Row]) -> None:
        """Remember rows: their transaction is committed."""
        with self._guard:
            self._rows.extend(rows)
            del self._rows[:-MOST_SEEN]

    def take(self) -> list[Row]:
        """What was committed since the last time."""
        with self._guard:
            taken, self._rows = self._rows, []
        return taken
