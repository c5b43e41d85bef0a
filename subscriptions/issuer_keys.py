"""The public keys of issuers: pages kept for as long as they say, asked anew once when a key is not on them.

https://openid.net/specs/openid-connect-core-1_0.html#RotateSigKeys
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from fhir_tracker.errors import RemoteFailure
from subscriptions.client import EhrClient, Limits
from subscriptions.issuer_metadata import members_of
from subscriptions.outbound import Reach

LIMITS = Limits(total_seconds=10.0, max_bytes=200_000, tries=1, redirects=0)
LEAST, MOST = timedelta(minutes=1), timedelta(hours=1)
MISSED_EVERY = timedelta(seconds=30)
"""How often a page is asked again for a key that is not on it."""
SPARE = timedelta(hours=1)
"""For how long keys are used whose page cannot be read, after it should have been read anew."""
MOST_KEYS = 50
JWK_SET = "application/jwk-set+json"
"""The media type of RFC 7517, section 8.5, which some servers use."""
_MAX_AGE = re.compile(r"max-age=\"?([0-9]{1,9})\"?")
_KINDS = {"RS256": ("RSA", None), "ES384": ("EC", "P-384")}
_LEAST_BITS = 2048
Key = RSAKey | ECKey


@dataclass
class _Page:
    lock: threading.Lock = field(default_factory=threading.Lock)
    keys: Sequence[Mapping[str, Any]] = ()
    until: datetime | None = None
    at: datetime | None = None
    missed_at: datetime | None = None
    failed_at: datetime | None = None
    failures: int = 0
    failure: RemoteFailure | None = None

    def counts(self, now: datetime, longer: timedelta = timedelta(0)) -> bool:
        """Whether its keys may be used now, or might if they were good for so much longer."""
        return self.at is not None and self.until is not None and self.at <= now < self.until + longer


class KeyPages:
    """The pages of keys that this process has read; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pages: dict[str, _Page] = {}

    def key(self, url: str, reach: Reach, kid: str | None, alg: str, now: datetime) -> Key:
        """The one key at `url` that is called `kid` and made for `alg`; without `kid` the only one made for it.

        A key that is missing is looked for once more on a fresh page. While a page cannot be read, the keys that were on it
        count an hour longer, and who waited while another could not read it does not try again. Raises RemoteFailure.
        """
        with self._lock:
            page = self._pages.setdefault(url, _Page())
        failures = page.failures
        found = _fitting(page.keys, kid, alg) if page.counts(now) else []
        if len(found) != 1:
            with page.lock:
                is_fresh = page.counts(now)
                if not is_fresh:
                    _renew(page, url, reach, now, failures)
                found = _fitting(page.keys, kid, alg)
                if not found and is_fresh and not _is_recent(page.missed_at, now):
                    page.missed_at = now
                    _read(page, url, reach, now)
                    found = _fitting(page.keys, kid, alg)
        if len(found) != 1:
            why = "has no key" if not found else "has more than one key"
            raise RemoteFailure(f"The EHR's page of keys {why} for what it signed.", auth=True)
        return _imported(found[0])


KEY_PAGES = KeyPages()


def _is_recent(moment: datetime | None, now: datetime) -> bool:
    """Whether that was less than MISSED_EVERY ago; what lies ahead tells of a clock that was put back."""
    return moment is not None and moment <= now < moment + MISSED_EVERY


def _renew(page: _Page, url: str, reach: Reach, now: datetime, failures: int) -> None:
    """Read a page anew, unless another just could not: `failures` are those before we waited. What was on it is spare."""
    is_spare = page.counts(now, SPARE)
    if page.failures == failures and not (is_spare and _is_recent(page.failed_at, now)):
        try:
            _read(page, url, reach, now)
        except RemoteFailure as failure:
            page.failures, page.failure, page.failed_at = page.failures + 1, failure, now
        else:
            page.failure = page.failed_at = None
    if page.failure is not None and not is_spare:
        raise RemoteFailure(page.failure.message, permanent=page.failure.permanent)


def _read(page: _Page, url: str, reach: Reach, now: datetime) -> None:
    try:
        with EhrClient(url, limits=LIMITS, reach=reach) as client:
            answer = client.get(url, {"Accept": f"application/json, {JWK_SET}"})
        told = members_of(answer, also=JWK_SET)
    except RemoteFailure as failure:
        raise RemoteFailure(f"The EHR's page of keys cannot be read. {failure.message}") from None
    keys = told.get("keys")
    if not isinstance(keys, list) or len(keys) > MOST_KEYS:
        raise RemoteFailure("The EHR's page of keys is no JWK Set.", permanent=True)
    found = [one for one in keys if isinstance(one, dict)]
    page.keys = [one for number, one in enumerate(found) if one not in found[:number]]
    page.at, page.until = now, now + _kept_for(answer.cache_control)


def _kept_for(told: str) -> timedelta:
    """How long a page is kept: as long as it says, within bounds."""
    words = told.lower()
    match = _MAX_AGE.search(words)
    if "no-store" in words or "no-cache" in words or match is None:
        return LEAST
    return max(LEAST, min(timedelta(seconds=int(match[1])), MOST))


def _fitting(keys: Sequence[Mapping[str, Any]], kid: str | None, alg: str) -> list[Mapping[str, Any]]:
    kind, curve = _KINDS[alg]
    return [
        one
        for one in keys
        if one.get("kty") == kind
        and (curve is None or one.get("crv") == curve)
        and one.get("alg", alg) == alg
        and one.get("use", "sig") == "sig"
        and (kid is None or one.get("kid") == kid)
    ]


def _imported(found: Mapping[str, Any]) -> Key:
    """A key with its public part only."""
    names = ("kty", "n", "e") if found["kty"] == "RSA" else ("kty", "crv", "x", "y")
    told: dict[str, Any] = {name: found.get(name) for name in names}
    try:
        key: Key = RSAKey.import_key(told) if found["kty"] == "RSA" else ECKey.import_key(told)
        size = key.raw_value.key_size
    except (JoseError, ValueError, KeyError, TypeError, OverflowError):
        raise RemoteFailure("The EHR's page of keys holds a key that is none.", permanent=True) from None
    if isinstance(key, RSAKey) and size < _LEAST_BITS:
        raise RemoteFailure("The EHR signs with a key that is too short to be trusted.", permanent=True)
    return key
