"""Asking a server what it does with a search that its metadata does not speak of; harmless, and one row at most.

https://hl7.org/fhir/R4/search.html#lastUpdated
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from fhir_tracker.errors import RemoteFailure
from subscriptions.bundles import is_outcome, read_page
from subscriptions.client import EhrClient
from subscriptions.strategies import Probe

NEVER = "2999-01-01"
_CLOSED = frozenset({403, 404})
_REFUSALS = _CLOSED | {400, 405, 422}


def probe_type(client: EhrClient, type_: str) -> Probe | None:
    """What the server does with `_lastUpdated` on `type_`; None when it does not say today."""
    try:
        answer = client.get(f"{type_}?_lastUpdated=ge{NEVER}&_count=1")
        if answer.status in _CLOSED:
            return Probe.CLOSED
        if answer.status in _REFUSALS:
            plain = client.get(f"{type_}?_count=1")
            return Probe.NEEDS_MORE if plain.status in _REFUSALS else Probe.REFUSED
        page = read_page(answer, "searchset")
    except RemoteFailure:
        return None
    if any(not is_outcome(entry) for entry in page.entries):
        return Probe.IGNORED
    understood = parse_qs(urlsplit(page.self_url).query)
    return Probe.IGNORED if page.self_url and "_lastUpdated" not in understood else Probe.HONOURED
