"""Paging by offset skips rows when others are changed meanwhile: it is replaced by asking again from the last row seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import date_range, from_milliseconds

_OFFSETS = frozenset({"_offset", "offset", "_page", "page", "_skip", "skip"})


def counts_rows(url: str) -> bool:
    """Whether a paging link counts rows; one that names a stored result as HAPI's `_getpages` does not."""
    return not _OFFSETS.isdisjoint(parse_qs(urlsplit(url).query))


def is_in_order(stamps: Sequence[str], bound: datetime | None) -> bool:
    """Whether rows come oldest first and none is older than `bound`; what the server then says of order can be relied on."""
    moments = _moments(stamps)
    if moments is None:
        return False
    return moments == sorted(moments) and (bound is None or not moments or moments[0] >= bound)


def last_moment(stamps: Sequence[str], bound: datetime | None) -> datetime | None:
    """From when to ask on: the newest stamp, if it lies behind `bound`; None when that would lead nowhere."""
    moments = _moments(stamps)
    if not moments or (bound is not None and moments[-1] <= bound) or moments[0] == moments[-1]:
        return None
    return moments[-1]


def _moments(stamps: Sequence[str]) -> list[datetime] | None:
    try:
        return [from_milliseconds(date_range(stamp)[0]) for stamp in stamps]
    except Incorrect:
        return None
