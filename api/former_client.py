"""Who asks an EHR for the last time by the terms that end now: to take our Subscriptions there away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from fhir_tracker.errors import RemoteFailure, UsageError
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage.connections import Connection
from subscriptions import EhrClient, Limits, client_of


@contextmanager
def former_client(connection: Connection, keys: Keyring, timeout: timedelta) -> Iterator[EhrClient | None]:
    """A client of its server, which gives up after `timeout`; None when there can be none."""
    try:
        client = client_of(connection, Limits(total_seconds=timeout.total_seconds(), tries=1), keys=keys)
    except (RemoteFailure, UsageError):
        yield None
        return
    with client:
        yield client
