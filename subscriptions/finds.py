"""Telling what was missed from what the next poll would have found by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.intake import Received, Tally, Unusable
from subscriptions.following import Follow, nothing_else


def write_late(
    follow: Follow, entries: Sequence[Received | Unusable], lower: datetime | None
) -> tuple[Tally, int, list[Received | Unusable]]:
    """Write the entries stamped before `lower`; how it went, how many were news, and the entries still to be written.

    What carries no stamp, or one that cannot be read, is no find: such servers are read as a whole each time.
    """
    late: list[Received | Unusable] = []
    rest: list[Received | Unusable] = []
    for one in entries:
        (late if lower is not None and _is_before(one, lower) else rest).append(one)
    tally = follow.write(late, nothing_else)
    return tally, tally.applied, rest


def _is_before(entry: Received | Unusable, lower: datetime) -> bool:
    try:
        return isinstance(entry, Received) and bool(entry.updated) and parse_datetime(entry.updated) < lower
    except Incorrect:
        return False
