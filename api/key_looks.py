"""A look at the address where a system has its public keys, before it is let in."""

from __future__ import annotations

from fhir_tracker.client_keys import has_private, usable_keys
from fhir_tracker.errors import RemoteFailure, UsageError
from subscriptions import fetch_key_set


def look_at(url: str) -> str:
    """What to tell whoever registers the address: empty when its keys are good; UsageError when it gives private ones away."""
    try:
        found, _ = fetch_key_set(url)
    except RemoteFailure as failure:
        return f"its keys cannot be read now, and are asked for again when it comes: {failure.message}"
    if has_private(found):
        raise UsageError("There are private or secret keys at --jwks-url, which nobody but their owner may have.")
    if not usable_keys(found):
        return "none of the keys at --jwks-url can be used: RSA of 2048 bits or more, or EC on P-384"
    return ""
