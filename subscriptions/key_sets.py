"""The public keys of systems that name an address of them: fetched when they are needed, kept as long as their server says.

https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html#registering-a-client-communicating-public-keys
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fhir_tracker.client_keys import MOST_BYTES, PublicKey, read_key_set, usable_keys
from fhir_tracker.errors import RemoteFailure, UsageError
from subscriptions.client import Answer, EhrClient, Limits

LIMITS = Limits(total_seconds=5.0, connect_seconds=3.0, max_bytes=MOST_BYTES, tries=1, redirects=0)
UNTOLD = timedelta(minutes=5)
SHORTEST, LONGEST = timedelta(seconds=30), timedelta(hours=24)
"""Within which a server may say how long its keys are kept; the shortest is also the time between two fetches."""
SPARE = timedelta(hours=1)
"""For how long keys are used whose server cannot be reached, after they should have been fetched anew."""
_MAX_AGE = re.compile(r"max-age\s*=\s*\"?([0-9]{1,9})")


def fetch_key_set(url: str) -> tuple[Mapping[str, Any], timedelta]:
    """The JWK Set at `url` now, and for how long it may be kept; RemoteFailure when there is none."""
    with EhrClient(url, limits=LIMITS) as client:
        answer = client.get(url, {"Accept": "application/jwk-set+json, application/json"})
    if answer.status != 200:
        raise RemoteFailure(f"The address of the keys answered {answer.status}.")
    try:
        return read_key_set(answer.body), _kept(answer)
    except UsageError as error:
        raise RemoteFailure(f"The address of the keys has none. {error.message}") from None


@dataclass(slots=True)
class _Held:
    """What is known of one address; fetches wait for each other."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    keys: tuple[PublicKey, ...] = ()
    asked_at: datetime | None = None
    fresh_until: datetime | None = None
    spare_until: datetime | None = None


class KeySets:
    """The key sets of one process, by address; only addresses that a person has registered are ever asked for."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[str, _Held] = {}

    def keys(self, url: str, kid: str, now: datetime) -> tuple[PublicKey, ...]:
        """The keys at `url`, fetched anew when they are too old, or when none has this id, though not soon again for that.

        Raises RemoteFailure when there are none to be had.
        """
        with self._guard:
            held = self._held.setdefault(url, _Held())
        with held.lock:
            is_fresh = held.fresh_until is not None and held.fresh_until > now
            if not (is_fresh and any(one.kid == kid for one in held.keys)) and _may_ask(held, now):
                self._renew(held, url, now)
            if held.spare_until is None or held.spare_until <= now:
                raise RemoteFailure("The keys of this client cannot be fetched now.")
            return held.keys

    def _renew(self, held: _Held, url: str, now: datetime) -> None:
        held.asked_at = now
        try:
            found, kept = fetch_key_set(url)
        except RemoteFailure:
            return
        held.keys = usable_keys(found)
        held.fresh_until = now + kept
        held.spare_until = held.fresh_until + SPARE


def _may_ask(held: _Held, now: datetime) -> bool:
    """Whether the last fetch was long enough ago; one that lies ahead tells of a clock that was put back."""
    return held.asked_at is None or not held.asked_at <= now < held.asked_at + SHORTEST


def _kept(answer: Answer) -> timedelta:
    told = answer.cache_control.lower()
    if "no-store" in told or "no-cache" in told:
        return SHORTEST
    match = _MAX_AGE.search(told)
    return min(max(timedelta(seconds=int(match[1])), SHORTEST), LONGEST) if match else UNTOLD
