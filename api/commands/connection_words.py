"""What the connection commands say of a connection, and of us to be registered at its server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.authentication import ours
from api.stores import secret_key
from fhir_tracker import clock
from fhir_tracker.config import Settings
from fhir_tracker.fhir.dates import instant
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database

_SHOWN = {
    "kind": "we show ourselves by",
    "state": "and are",
    "clientId": "client id to register",
    "keyPage": "keys to register",
    "keyId": "key that signs",
    "algorithm": "algorithm",
    "tokenEndpoint": "tokens come from",
    "scopesAskedFor": "scopes asked for",
    "scopesGranted": "scopes granted",
    "tokenSeconds": "a token counts (s)",
}


def own_part(database: Database, connection: Connection, settings: Settings) -> dict[str, Any]:
    """What the EHR has to know of us, as `connection test` shows it."""
    return ours(connection, Keyring(database=database, secret_key=secret_key(settings)), settings, clock.now())


def print_shown(told: Mapping[str, Any], problems: Sequence[str]) -> None:
    """What we show of ourselves, and what has to be registered there."""
    for name, label in _SHOWN.items():
        if told.get(name) not in (None, ""):
            print(f"  {label:<24}{told[name]}")
    for problem in problems:
        print(f"  WARN  {problem}")


def summary(one: Connection) -> dict[str, Any]:
    """A connection in a few members, as JSON."""
    return {
        "key": one.key,
        "baseUrl": one.base_url,
        "mapping": one.mapping,
        "pollSeconds": one.poll_seconds,
        "types": list(one.types),
        "subscribe": one.subscribe,
        "writeBack": list(one.options.get("write_back", ())),
        "auth": one.options.get("auth", "none"),
        "state": one.state,
        "lastAttempt": instant(one.last_attempt_at) if one.last_attempt_at else None,
        "lastSuccess": instant(one.last_success_at) if one.last_success_at else None,
        "lastError": one.last_error,
    }
