"""Asking an EHR what one of its tokens lets do, with our credentials there, within a few seconds and never twice.

https://www.rfc-editor.org/rfc/rfc7662
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from fhir_tracker.errors import RemoteFailure
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage.issuers import Issuer
from subscriptions.client import JSON_TYPES, EhrClient, Limits
from subscriptions.issuer_metadata import KNOWN, Known, reach
from subscriptions.user_tokens import shown

LIMITS = Limits(total_seconds=5.0, connect_seconds=3.0, max_bytes=100_000, tries=1, redirects=0)
FORM = "application/x-www-form-urlencoded"


def introspect(issuer: Issuer, keys: Keyring, token: str, now: datetime, *, known: Known = KNOWN) -> Mapping[str, Any]:
    """What `issuer` says of a token, at the introspection address that a person set; RemoteFailure when it says nothing."""
    url = str(issuer.options["introspection_url"])
    metadata = known.metadata(issuer, now)
    more, headers = shown(issuer, metadata, keys, url, now)
    own = {"Accept": "application/json", "Content-Type": FORM, **headers}
    form = {"token": token, "token_type_hint": "access_token", **more}
    with EhrClient(url, limits=LIMITS, reach=reach(issuer).also(url)) as client:
        answer = client.send("POST", url, urlencode(form).encode(), own)
    if answer.status != 200 or answer.content_type not in JSON_TYPES:
        raise RemoteFailure(f"The EHR answered {answer.status} when it was asked about a token.")
    try:
        told = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("active"), bool):
        raise RemoteFailure("The EHR answered with something else than what it knows of a token.")
    return told
