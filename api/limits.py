"""How often one client may ask, and how often one address may fail to show who it is.

Requests are counted by each process for itself. What guards secrets and begins logins is counted there first, which keeps a flood
from the database, and then over all processes; passwords have counts of their own (`fhir_tracker.local_accounts`).
"""

from __future__ import annotations

import ipaddress
import math
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from fhir_tracker import clock, shared_limits
from fhir_tracker.errors import Busy, TooMany, Unavailable
from fhir_tracker.storage.database import Database

MOST_KEPT = 10_000
FAILURES, FAILURES_A_SECOND = 100, 2.0
"""Bad tokens and assertions that one address may send at once, and how fast it may go on; nobody guesses one."""
LOGINS, LOGINS_A_SECOND = 10, 0.1
"""The same for passwords, which can be guessed."""
LAUNCHES, LAUNCHES_A_SECOND = 300, 10.0
"""Logins that may be begun: a whole clinic may sit behind one address."""
_NOT_GOOD = "Too much that is not good comes from this address."


class Buckets:
    """One bucket a key: it holds `size`, fills again at `rate` a second, and of many keys those met longest ago are let go."""

    def __init__(self, size: float, rate: float, most: int = MOST_KEPT) -> None:
        self._size, self._rate, self._most = size, rate, most
        self._guard = threading.Lock()
        self._held: dict[str, tuple[float, float]] = {}

    def take(self, key: str, now: float) -> float:
        """Take one out of the bucket of `key`; 0.0, or, when it is empty, the seconds until there is one again."""
        with self._guard:
            left, at = self._held.pop(key, (self._size, now))
            left = min(self._size, left + max(0.0, now - at) * self._rate)
            is_there = left >= 1.0
            self._held[key] = (left - 1.0 if is_there else left, now)
            if len(self._held) > self._most:
                del self._held[next(iter(self._held))]
        return 0.0 if is_there else (1.0 - left) / self._rate

    def is_empty(self, key: str, now: float) -> bool:
        """Whether nothing could be taken now; takes nothing."""
        with self._guard:
            left, at = self._held.get(key, (self._size, now))
        return left + max(0.0, now - at) * self._rate < 1.0

    def __len__(self) -> int:
        return len(self._held)


class Shared(Protocol):
    """Buckets that all processes share, by what they limit and the network it comes from."""

    def take(self, what: str, network: str, size: float, rate: float) -> float:
        """As `Buckets.take`."""

    def is_empty(self, what: str, network: str, size: float, rate: float) -> bool:
        """As `Buckets.is_empty`."""


class InDatabase:
    """Buckets in the database; while that does not answer, there are none."""

    def __init__(self, database: Database, now: Callable[[], datetime] = clock.now) -> None:
        self._database = database
        self._now = now

    def take(self, what: str, network: str, size: float, rate: float) -> float:
        """See Shared."""
        with suppress(Busy, Unavailable), self._database.begin() as tx:
            return shared_limits.take(tx, what, network, size=size, rate=rate, now=self._now())
        return 0.0

    def is_empty(self, what: str, network: str, size: float, rate: float) -> bool:
        """See Shared."""
        with suppress(Busy, Unavailable), self._database.read() as tx:
            return shared_limits.is_empty(tx, what, network, size=size, rate=rate, now=self._now())
        return False


def _nobody_counts(limit: str) -> None:
    del limit


class Limits:
    """The buckets of one server. Every method raises TooMany with the seconds to wait.

    `slowed` is told which limit was met, each time.
    Who shows a good token or assertion is never held back by failures of others behind the same address.
    """

    def __init__(
        self, requests_a_second: int, slowed: Callable[[str], None] = _nobody_counts, shared: Shared | None = None
    ) -> None:
        self._clients = Buckets(2.0 * requests_a_second, float(requests_a_second)) if requests_a_second else None
        self._slowed = slowed
        self._failures = Buckets(FAILURES, FAILURES_A_SECOND)
        self._logins = Buckets(LOGINS, LOGINS_A_SECOND)
        self._launches = Buckets(LAUNCHES, LAUNCHES_A_SECOND)
        self._shared = shared

    def request(self, client: str) -> None:
        """One request of a client."""
        if self._clients is not None:
            self._check("client", self._clients.take(client, clock.monotonic()), "This client asks too often.")

    def failure(self, address: str) -> None:
        """One token or assertion from this address that was not good."""
        network = network_of(address)
        wait = self._failures.take(network, clock.monotonic())
        self._check("address", wait or self._everywhere("failure", network, FAILURES, FAILURES_A_SECOND), _NOT_GOOD)

    def check_failures(self, address: str) -> None:
        """Before others are asked about a token from this address: nothing, unless too many were not good lately."""
        now, network = clock.monotonic(), network_of(address)
        if self._failures.is_empty(network, now):
            self._check("address", self._failures.take(network, now), _NOT_GOOD)
        if self._shared and self._shared.is_empty("failure", network, FAILURES, FAILURES_A_SECOND):
            self._check("address", 1 / FAILURES_A_SECOND, _NOT_GOOD)

    def login(self, address: str) -> None:
        """One try with a password, before it is looked at."""
        self._check("login", self._logins.take(network_of(address), clock.monotonic()), "Too many logins are tried.")

    def launch(self, address: str) -> None:
        """One login that is begun at an EHR or provider, of which we keep something until its end."""
        network = network_of(address)
        wait = self._launches.take(network, clock.monotonic())
        wait = wait or self._everywhere("launch", network, LAUNCHES, LAUNCHES_A_SECOND)
        self._check("launch", wait, "Too many logins are begun.")

    def _everywhere(self, what: str, network: str, size: float, rate: float) -> float:
        return self._shared.take(what, network, size, rate) if self._shared else 0.0

    def _check(self, limit: str, wait: float, message: str) -> None:
        if wait:
            self._slowed(limit)
            raise TooMany(f"{message} Try again later.", retry_after=math.ceil(wait))


def network_of(address: str) -> str:
    """Whom an address stands for: of IPv6 everybody has a whole network of their own, /64."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address
