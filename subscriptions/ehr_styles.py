"""The style sheets of EHRs, had from the EHR's own origins alone, without any token, and kept by their address.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#smart_style_url-experimental
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime, timedelta

from fhir_tracker.errors import RemoteFailure
from fhir_tracker.model import smart_style
from fhir_tracker.storage.issuers import Issuer
from subscriptions.client import JSON_TYPES, EhrClient, Limits
from subscriptions.issuer_metadata import reach
from subscriptions.outbound import origin

LIMITS = Limits(total_seconds=3.0, connect_seconds=2.0, max_bytes=20_000, tries=1, redirects=0)
KEPT, FAILED_FOR = timedelta(hours=1), timedelta(minutes=5)
MOST = 100


class EhrStyles:
    """What one process knows of them; while an address is asked, whoever wants the same waits."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: OrderedDict[tuple[str, str], tuple[str, datetime]] = OrderedDict()
        self._asking: dict[tuple[str, str], threading.Lock] = {}

    def sheet(self, issuer: Issuer, url: str, now: datetime) -> str:
        """Our style sheet made of the one at `url`; "" where there is none to be had, or nothing in it can be used."""
        key = (issuer.key, url)
        with self._guard:
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            with self._guard:
                found, until = self._held.get(key, ("", now))
            if now < until <= now + KEPT:
                return found
            try:
                found, until = smart_style.sheet(smart_style.colours_in(_read(issuer, url))), now + KEPT
            except RemoteFailure:
                found, until = "", now + FAILED_FOR
            self._keep(key, found, until)
        return found

    def _keep(self, key: tuple[str, str], found: str, until: datetime) -> None:
        with self._guard:
            self._held[key] = (found, until)
            self._held.move_to_end(key)
            while len(self._held) > MOST:
                old, _ = self._held.popitem(last=False)
                self._asking.pop(old, None)


STYLES = EhrStyles()


def _read(issuer: Issuer, url: str) -> bytes:
    theirs = {origin(issuer.url), *(origin(str(one)) for one in issuer.options.get("endpoint_origins", ()))}
    if origin(url) not in theirs:
        raise RemoteFailure("The style sheet is not at the EHR itself.", permanent=True)
    with EhrClient(url, limits=LIMITS, reach=reach(issuer)) as client:
        answer = client.get(url, {"Accept": "application/json"})
    if answer.status != 200 or answer.content_type not in JSON_TYPES:
        raise RemoteFailure("There is no style sheet there.", permanent=True)
    return answer.body
