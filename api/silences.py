"""Processes that hang: whose event loop does not turn, while that of another does."""

from __future__ import annotations

from collections.abc import Iterable

from api.tally import Tally

_LOOKS = 12
"""How often one looks before a process has been silent for too long."""


class Silences:
    """How long each process has been silent, in looks `interval` seconds apart.

    A look counts only when another process was heard since the last one, and for one interval at most: that the whole machine
    stood still, or all processes of the server did, is nobody's silence. Nor is the time that a process takes to begin.
    """

    def __init__(self, tally: Tally, seconds: float) -> None:
        self.interval = seconds / _LOOKS
        self._seconds = seconds
        self._tally = tally
        self._heard = dict.fromkeys(range(tally.processes), 0.0)
        self._silent: dict[int, float] = {}
        self._looked = 0.0

    def look(self, places: Iterable[int], now: float) -> list[int]:
        """Those of the `places` that have been silent for too long at `now`, a monotonic clock."""
        passed = min(now - self._looked, self.interval)
        self._looked = now
        beats = {place: self._tally.beats(place) for place in places}
        others = [place for place, beat in beats.items() if beat != self._heard[place]]
        for place, beat in beats.items():
            if place in others:
                self._silent[place] = 0.0
            elif others and place in self._silent:
                self._silent[place] += passed
            self._heard[place] = beat
        return [place for place in beats if self._silent.get(place, 0.0) >= self._seconds]

    def forget(self, place: int) -> None:
        """Another process begins there."""
        self._silent.pop(place, None)
