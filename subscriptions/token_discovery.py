"""Where a server gives out its tokens: its smart-configuration says it, or, on older servers, its CapabilityStatement.

https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from fhir_tracker.authentication import is_safe
from fhir_tracker.errors import RemoteFailure
from subscriptions.bundles import read_object
from subscriptions.client import Budget, EhrClient, Limits

LIMITS = Limits(total_seconds=15.0, max_bytes=5_000_000, tries=1)
OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_WELL_KNOWN = ".well-known/smart-configuration"
_TOLD = {
    "token_endpoint": "url",
    "token_endpoint_auth_signing_alg_values_supported": "algorithms",
    "token_endpoint_auth_methods_supported": "methods",
    "capabilities": "capabilities",
}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where tokens are given out; signing `algorithms`, ways to show a secret (`methods`) and `capabilities` where told."""

    url: str
    algorithms: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()


def discover(base_url: str, budget: Budget | None = None, limits: Limits = LIMITS) -> Endpoint:
    """What the server at `base_url` says; RemoteFailure when it names no token endpoint that credentials may go to."""
    with EhrClient(base_url, limits=limits, budget=budget) as client:
        try:
            return _configured(client)
        except RemoteFailure as failure:
            if not failure.auth:
                raise
            found = _stated(client)
            if found is None:
                raise
            return found


def _configured(client: EhrClient) -> Endpoint:
    try:
        told = read_object(client.get(_WELL_KNOWN, {"Accept": "application/json"}))
        found = {ours: msgspec.json.decode(told.get(theirs, b"null")) for theirs, ours in _TOLD.items()}
    except RemoteFailure as failure:
        message = f"The server does not tell where it gives out tokens; give --token-url. ({failure.message})"
        raise RemoteFailure(message, retry_after=failure.retry_after, auth=failure.permanent) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        found = dict.fromkeys(_TOLD.values())
    url = found["url"]
    if not isinstance(url, str) or not is_safe(url, client.base_url):
        message = "The server's smart-configuration names no https token endpoint; give --token-url."
        raise RemoteFailure(message, auth=True)
    return Endpoint(
        url=url,
        algorithms=_words(found["algorithms"]),
        methods=_words(found["methods"]),
        capabilities=frozenset(_words(found["capabilities"])),
    )


def _stated(client: EhrClient) -> Endpoint | None:
    """What the CapabilityStatement says, None where it does not."""
    try:
        url = stated_addresses(client).get("token", "")
    except RemoteFailure:
        return None
    return Endpoint(url=url) if is_safe(url, client.base_url) else None


def stated_addresses(client: EhrClient) -> dict[str, str]:
    """The addresses of `token`, `authorize` and others in the CapabilityStatement of an older server; RemoteFailure."""
    found: dict[str, str] = {}
    try:
        rest = msgspec.json.decode(read_object(client.get("metadata")).get("rest", b"[]"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return found
    for server in _dicts(rest):
        for one in _dicts(_dict(server.get("security")).get("extension")):
            for part in _dicts(one.get("extension")) if one.get("url") == OAUTH_URIS else ():
                name, url = part.get("url"), part.get("valueUri")
                if isinstance(name, str) and isinstance(url, str):
                    found.setdefault(name, url)
    return found


def _words(value: object) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    yield from (one for one in (value if isinstance(value, list) else ()) if isinstance(one, dict))


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
