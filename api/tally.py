"""What the processes of one server count, in memory that all of them see: each writes its own part, any can read all."""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends of what requests took, in seconds; one more bucket has no end."""
SLOWED = "SLOWED"
"""Stands where a method does for what was answered by 429 alone; its route says whom that was to slow."""
AWAY = 1e9
"""Stands for the connections of a process that takes none."""

_NAME_CELLS = 16
_SUM = _NAME_CELLS + len(BUCKETS) + 1
_ROW = 32
_CELL = 8
_ROWS = 2048
_PART = _ROWS * _ROW
_HELD, _USED, _BEATS = 0, 1, 2
_OVERFLOW = ("OTHER", "other", 0)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Requests of one kind that one process answered: how many in each bucket, and the seconds of all."""

    method: str
    route: str
    status: int
    buckets: tuple[int, ...]
    seconds: float


class Tally:
    """The numbers of all processes, and the pen of the one at `place`, whose event loop alone writes there.

    A part is a row of its own (connections held, rows used, turns told), then a row for each kind of request: its name, its buckets and
    the seconds of all. A process that takes the place of another counts on where that one stood.
    """

    def __init__(self, processes: int = 1) -> None:
        self._memory = mmap.mmap(-1, processes * _PART * _CELL)
        self._cells = memoryview(self._memory).cast("d")
        self.processes = processes
        for place in range(processes):
            self._cells[place * _PART + _HELD] = AWAY
        self._take(0)

    def at(self, place: int) -> Self:
        """The same numbers, with the pen of another process."""
        other = object.__new__(type(self))
        other._memory, other._cells, other.processes = self._memory, self._cells, self.processes
        other._take(place)
        return other

    def _take(self, place: int) -> None:
        self.place = place
        self._start = place * _PART
        self._met = {kind: at for at, kind in self._kinds(place)}

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        at = self._met.get((method, route, status)) or self._meet(method, route, status)
        cells = self._cells
        cells[at + _NAME_CELLS + bisect_left(BUCKETS, seconds)] += 1.0
        cells[at + _SUM] += seconds

    def rows(self) -> Iterator[Row]:
        """What every process has counted."""
        for place in range(self.processes):
            for at, (method, route, status) in self._kinds(place):
                cells = self._cells[at + _NAME_CELLS : at + _SUM]
                counted = tuple(int(one) for one in cells)
                yield Row(method=method, route=route, status=status, buckets=counted, seconds=self._cells[at + _SUM])

    def answered(self, place: int) -> int:
        """How many requests the processes at `place` have answered."""
        rows = (at for at, kind in self._kinds(place) if kind[0] != SLOWED)
        return sum(int(sum(self._cells[at + _NAME_CELLS : at + _SUM])) for at in rows)

    def held(self, place: int) -> float:
        """How many connections the process at `place` holds; AWAY when it takes none."""
        return self._cells[place * _PART + _HELD]

    def hold(self, connections: float) -> None:
        """Tell the others how many connections this process holds."""
        self._cells[self._start + _HELD] = connections

    def beat(self) -> None:
        """Tell the others that this process goes on."""
        self._cells[self._start + _BEATS] += 1.0

    def beats(self, place: int) -> float:
        """How often the processes at `place` have told so."""
        return self._cells[place * _PART + _BEATS]

    @property
    def is_ahead(self) -> bool:
        """Whether some other process holds fewer connections than this one."""
        return self._cells[self._start + _HELD] > min(self.held(place) for place in range(self.processes))

    def _meet(self, method: str, route: str, status: int) -> int:
        used = int(self._cells[self._start + _USED])
        kind = (method, route, status) if used < _ROWS - 2 else _OVERFLOW
        at = self._met.get(kind)
        if at is None:
            at = self._start + (used + 1) * _ROW
            name = f"{kind[0]} {kind[2]} {kind[1]}".encode()[: _NAME_CELLS * _CELL]
            self._memory[at * _CELL : at * _CELL + len(name)] = name
            self._cells[self._start + _USED] = used + 1
            self._met[kind] = at
        return at

    def _kinds(self, place: int) -> Iterator[tuple[int, tuple[str, str, int]]]:
        start = place * _PART
        for number in range(int(self._cells[start + _USED])):
            at = start + (number + 1) * _ROW
            name = self._memory[at * _CELL : (at + _NAME_CELLS) * _CELL].rstrip(b"\0").decode(errors="replace")
            method, status, route = name.split(" ", 2)
            yield at, (method, route, int(status))
