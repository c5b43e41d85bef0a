"""HTTP headers that carry moments: Date and Retry-After, both read leniently and never trusted to be sane.

https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER = 3600.0


def http_date(text: str | None) -> datetime | None:
    """An HTTP date in UTC, or None when it is absent or cannot be read."""
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def retry_after_seconds(text: str | None, served_at: datetime | None) -> float | None:
    """Seconds to wait, 0 to 3600, from delta-seconds or an HTTP date measured on the server's own clock; else None."""
    if not text:
        return None
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit():
        return min(float(stripped[:9]), LONGEST_RETRY_AFTER)
    moment = http_date(stripped)
    if moment is None or served_at is None:
        return None
    return min(max((moment - served_at).total_seconds(), 0.0), LONGEST_RETRY_AFTER)
