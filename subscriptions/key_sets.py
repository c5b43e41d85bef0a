"""The public keys of systems that name an address of them: fetched when they are needed, kept as long as their server says.

https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html#registering-a-client-communicating-public-keys
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fhir_tracker.client_keys import MOST_BYTES, PublicKey, read_key_set, usable_keys
from fhir_tracker.errors import Busy, RemoteFailure, UsageError
from subscriptions.client import Answer, EhrClient, Limits

LIMITS = Limits(total_seconds=5.0, connect_seconds=3.0, max_bytes=MOST_BYTES, tries=1, redirects=0)
UNTOLD = timedelta(minutes=5)
SHORTEST, LONGEST = timedelta(seconds=30), timedelta(hours=24)
"""Within which a server may say how long its keys are kept; the shortest is also the time between two fetches."""
SPARE = timedelta(hours=1)
"""For how long keys are used whose server cannot be reached, after they should have been fetched anew."""
MOST_WAITING, MOST_FOR_ONE = 16, 8
"""How many requests may wait for keys at once, of all addresses and of one: a slow server keeps no others from being served."""
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


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What was last fetched from one address, and until when it counts: fresh, and while its server cannot be reached."""

    keys: tuple[PublicKey, ...]
    fresh_until: datetime
    spare_until: datetime

    def has(self, kid: str) -> bool:
        return any(one.kid == kid for one in self.keys)


@dataclass(slots=True)
class _Held:
    """One address; fetches wait for each other, and `waiting` are all that do, with the one that fetches."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    known: _Known | None = None
    asked_at: datetime | None = None
    waiting: int = 0


class KeySets:
    """The key sets of one process, by address; only addresses that a person has registered are ever asked for."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._waiting = 0

    def keys(self, url: str, kid: str, now: datetime) -> tuple[PublicKey, ...]:
        """The keys at `url`, fetched anew when they are too old, or when none has this id, though not soon again for that.

        Raises RemoteFailure when there are none to be had, and Busy when too many wait for them already.
        """
        with self._guard:
            held = self._held.setdefault(url, _Held())
        known = held.known
        if known is not None and known.fresh_until > now and known.has(kid):
            return known.keys
        if not self._entered(held):
            if known is not None and known.spare_until > now and known.has(kid):
                return known.keys
            raise Busy("The keys of this client are being fetched; try again.")
        try:
            with held.lock:
                return self._looked_up(held, url, kid, now)
        finally:
            self._left(held)

    def _looked_up(self, held: _Held, url: str, kid: str, now: datetime) -> tuple[PublicKey, ...]:
        known = held.known
        is_good = known is not None and known.fresh_until > now and known.has(kid)
        if not is_good and _may_ask(held, now):
            held.asked_at = now
            with suppress(RemoteFailure):
                found, kept = fetch_key_set(url)
                fresh_until = now + kept
                held.known = _Known(keys=usable_keys(found), fresh_until=fresh_until, spare_until=fresh_until + SPARE)
        if held.known is None or held.known.spare_until <= now:
            raise RemoteFailure("The keys of this client cannot be fetched now.")
        return held.known.keys

    def _entered(self, held: _Held) -> bool:
        with self._guard:
            has_room = self._waiting < MOST_WAITING and held.waiting < MOST_FOR_ONE
            self._waiting += has_room
            held.waiting += has_room
        return has_room

    def _left(self, held: _Held) -> None:
        with self._guard:
            self._waiting -= 1
            held.waiting -= 1


def _may_ask(held: _Held, now: datetime) -> bool:
    """Whether the last fetch was long enough ago; one that lies ahead tells of a clock that was put back."""
    return held.asked_at is None or not held.asked_at <= now < held.asked_at + SHORTEST


def _kept(answer: Answer) -> timedelta:
    told = answer.cache_control.lower()
    if "no-store" in told or "no-cache" in told:
        return SHORTEST
    match = _MAX_AGE.search(told)
    return min(max(timedelta(seconds=int(match[1])), SHORTEST), LONGEST) if match else UNTOLD
