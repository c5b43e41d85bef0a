"""The one place that reads the clock; everywhere else time is an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The present instant, aware, in UTC, to the microsecond."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that never goes back; for time limits only."""
    return time.monotonic()


def pause(seconds: float) -> None:
    """Let `seconds` pass."""
    time.sleep(seconds)


def check_aware(moment: datetime) -> datetime:
    """The same instant in UTC; a naive datetime is a programming mistake and raises ValueError."""
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        raise ValueError(f"naive datetime {moment!r}: give it a zone")
    return moment.astimezone(UTC)
