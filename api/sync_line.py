"""How far a sync is: one live line on a terminal, a plain line now and then elsewhere; on standard error."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TextIO

from fhir_tracker.intake import Tally

EVERY_SECONDS = 10.0
LIVE_SECONDS = 0.1
_CLEARED = "\r\x1b[2K"


class SyncLine:
    """Adds up what the pages of the type under way came to, and tells it."""

    def __init__(self, stream: TextIO, monotonic: Callable[[], float]) -> None:
        self._stream = stream
        self._monotonic = monotonic
        self._live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._every = LIVE_SECONDS if self._live else EVERY_SECONDS
        self._told_at = monotonic()
        self._type = ""
        self._sum = Tally()

    def heard(self, type_: str, page: Tally) -> None:
        """One more page of a type is written."""
        if type_ != self._type:
            self._type, self._sum = type_, Tally()
        self._sum += page
        if self._monotonic() - self._told_at >= self._every:
            self._told_at = self._monotonic()
            self._stream.write(f"{_CLEARED}  {self._text()}" if self._live else f"  {self._text()}\n")
            self._stream.flush()

    def clear(self) -> None:
        """Make room for what is printed next."""
        if self._live:
            self._stream.write(_CLEARED)
            self._stream.flush()

    def _text(self) -> str:
        told = self._sum
        aside = f", {told.quarantined} in quarantine" if told.quarantined else ""
        return f"{self._type}: {told.fetched} fetched, {told.applied} applied{aside} ..."
