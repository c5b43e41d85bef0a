"""What a server was seen to do that it should not, or need not: shown to people, and remembered with each type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from subscriptions.bundles import Page
from subscriptions.steadying import counts_rows
from subscriptions.windows import DAY, DAY_PRECISION, PLAINEST

NO_DATE = "no Date header"
OFFSETS = "pages are counted by rows"
CACHED = "answers come out of a search cache"
UNECHOED = "does not say that it looked at _lastUpdated"
CLOCK_SET_BACK = "its clock was set back"
_STALE = timedelta(seconds=2)
_DAY = re.compile(r"(ge)?\d{4}-\d{2}-\d{2}")


def quirks_of(page: Page, asked_url: str) -> tuple[str, ...]:
    """What the first page of a pass shows; `asked_url` is what was asked."""
    found = []
    if page.served_at is None:
        found.append(NO_DATE)
    if page.next_url and counts_rows(page.next_url):
        found.append(OFFSETS)
    if page.as_of and page.served_at and page.served_at - page.as_of > _STALE:
        found.append(CACHED)
    asked = parse_qs(urlsplit(asked_url).query).get("_lastUpdated")
    told = parse_qs(urlsplit(page.self_url).query)
    if asked and page.self_url and "_lastUpdated" not in told:
        found.append(UNECHOED)
    if asked and "T" in asked[0] and any(_DAY.fullmatch(one) for one in told.get("_lastUpdated", ())):
        found.append(DAY_PRECISION)
    return tuple(found)


def quirks_in(detail: Mapping[str, Any]) -> tuple[str, ...]:
    """All that is known of one type, from what is kept with its cursor."""
    found = list(detail.get("quirks", ()))
    plainness = int(detail.get("plainness", 0))
    if plainness:
        found.append("refuses _sort")
    if plainness >= PLAINEST:
        found.append("refuses _lastUpdated")
    if detail.get("days") and DAY_PRECISION not in found:
        found.append(DAY_PRECISION)
    grain = float(detail.get("grain", 0.0))
    if grain > 1:
        found.append("stamps rows to the day" if grain >= DAY else "stamps rows to the minute")
    return tuple(found)
