"""How often something may be done from one place, counted over all processes that share the database.

It is the bucket of `api.limits`, told by one moment: when it would be full again (the generic cell rate algorithm).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from fhir_tracker.digests import digest_of
from fhir_tracker.local_accounts import REMEMBERED
from fhir_tracker.storage import local_logins
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.local_logins import Guesses

SKEW = timedelta(minutes=1)
"""How far the clocks of the machines that share a database may differ."""


def take(tx: Tx, what: str, place: str, *, size: float, rate: float, now: datetime) -> float:
    """Take one out of the bucket of a place, which holds `size` and fills at `rate` a second; the seconds to wait, or 0.0."""
    key = digest_of(f"{what}:{place}")
    tx.wait_for_others(f"login:{key}")
    full_at = _full_at(tx, key, now, size / rate)
    wait = (full_at - now).total_seconds() - (size - 1) / rate
    if wait > 0:
        return wait
    later = full_at + timedelta(seconds=1 / rate)
    local_logins.note(tx, Guesses(key=key, failures=0, last_at=now, barred_until=later), now - REMEMBERED)
    return 0.0


def is_empty(tx: Tx, what: str, place: str, *, size: float, rate: float, now: datetime) -> bool:
    """Whether nothing could be taken now; takes nothing."""
    return (_full_at(tx, digest_of(f"{what}:{place}"), now, size / rate) - now).total_seconds() > (size - 1) / rate


def _full_at(tx: Tx, key: str, now: datetime, longest: float) -> datetime:
    """When it would be full again: not before now, nor later than from empty; now when our clock was put back."""
    held = next(iter(local_logins.guesses(tx, (key,))), None)
    if held is None or held.last_at > now + SKEW:
        return now
    return min(max(held.barred_until, now), now + timedelta(seconds=longest))
