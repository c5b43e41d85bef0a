"""What `fhir-tracker doctor` asks of an EHR's server besides whether it answers: encryption, rights, searches, our keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from api.findings import Finding, ok, warn
from api.keys_page import PATH
from api.rights import missing_rights
from fhir_tracker.config import Settings
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.loopback import is_loopback
from fhir_tracker.storage.connections import Connection
from subscriptions import EhrClient, Limits
from subscriptions.probing import probe_type
from subscriptions.strategies import Probe


def examine_encryption(connection: Connection) -> Finding:
    """Whether patient data travels encrypted."""
    what, parts = f"{connection.key} tls", urlsplit(connection.base_url)
    if parts.scheme == "https":
        return ok(what, "https, and its certificate is checked")
    if is_loopback(parts.hostname):
        return ok(what, "not encrypted, and on this machine")
    fix = f"fhir-tracker connection add {connection.key} with its https address and --moved, after connection remove"
    return warn(what, "patient data travels unencrypted", fix)


def examine_rights(connection: Connection, told: Mapping[str, Any], reads: Sequence[str]) -> Iterator[Finding]:
    """Whether the scopes of our token (`told` by the look at the login) are all that following and writing need."""
    if "scopesGranted" not in told:
        return
    what = f"{connection.key} scopes"
    missing = missing_rights(str(told["scopesGranted"]), reads, connection.options.get("write_back", ()))
    if missing:
        fix = f"have them granted there and see --scopes; then fhir-tracker connection test {connection.key}"
        yield warn(what, f"not granted: {', '.join(missing)}", fix)
    else:
        yield ok(what, f"granted: {told['scopesGranted'] or 'what was asked for'}")


def examine_search(connection: Connection, client: EhrClient, type_: str | None) -> Iterator[Finding]:
    """Whether the server looks at `_lastUpdated` for `type_`, one that is followed by it."""
    if type_ is None:
        return
    what, showed = f"{connection.key} search", probe_type(client, type_)
    if showed is Probe.HONOURED:
        yield ok(what, f"{type_} is found by _lastUpdated")
    elif showed is None:
        yield warn(what, f"it did not say whether it finds {type_} by _lastUpdated", "fhir-tracker doctor, later")
    else:
        fix = f"fhir-tracker connection show {connection.key}; another way: connection add --strategy {type_}=roster"
        yield warn(what, f"it does not find {type_} by _lastUpdated ({showed.value})", fix)


def examine_key_page(settings: Settings, connection: Connection, told: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the page of our keys, which the EHR reads, answers under our public address; asked from here."""
    if "keyId" not in told or not settings.public_url:
        return
    what, address = f"{connection.key} keys", f"{settings.public_url}{PATH}"
    fix = "run fhir-tracker serve behind that address, or give the EHR the keys: fhir-tracker keys list --json"
    try:
        with EhrClient(settings.public_url, limits=Limits(total_seconds=10.0, tries=1)) as client:
            answer = client.get(PATH.lstrip("/"))
    except RemoteFailure as failure:
        yield warn(what, f"{address} does not answer from here: {failure.message}", fix)
        return
    if answer.status == 200 and str(told["keyId"]).encode() in answer.body:
        yield ok(what, f"{address} has our key")
    else:
        yield warn(what, f"{address} does not have our key (status {answer.status})", fix)
