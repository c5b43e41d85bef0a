"""What we show an EHR of ourselves, whether it takes it, and what it has to know of us: for `connection test`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.keys_page import PATH
from fhir_tracker.authentication import travels_openly
from fhir_tracker.config import Settings
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.signing_keys import Keyring, signing
from fhir_tracker.storage.connections import Connection
from subscriptions import EhrClient, TokenAuthorizer, authorizer_of


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How we show who we are; `told` in the order in which to print it, `problems` as sentences."""

    told: Mapping[str, Any]
    problems: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**self.told, "problems": list(self.problems)}

    @property
    def works(self) -> bool:
        return bool(self.told["state"] == "accepted")


def ours(connection: Connection, keys: Keyring, settings: Settings, now: datetime) -> dict[str, Any]:
    """What the EHR has to know of us, without asking it; a first signing key is made where one is needed."""
    kind = connection.options.get("auth", "none")
    told: dict[str, Any] = {"kind": kind}
    if connection.options.get("client_id"):
        told["clientId"] = connection.options["client_id"]
    if kind == "private_key_jwt":
        with keys.database.read() as tx:
            key = signing(tx, now)
        key = key or keys.ensure(now)
        told |= {"keyPage": f"{settings.public_url}{PATH}", "keyId": key.kid, "algorithm": key.alg}
    return told


def examine(
    connection: Connection, client: EhrClient, keys: Keyring, settings: Settings, now: datetime, types: Sequence[str]
) -> Shown:
    """Have a token where one is needed, and read one row of the first of `types`: only that shows that we are let in."""
    told = ours(connection, keys, settings, now)
    problems = list(_warnings(connection, settings))
    try:
        told |= _token(connection, keys, now)
        status = client.get(f"{types[0]}?_count=1").status if types else 200
    except RemoteFailure as failure:
        state = "refused" if failure.auth else "unknown"
        return Shown(told={**told, "state": state}, problems=[*problems, failure.message])
    if status == 401:
        problems.append(_refused(str(told["kind"]), types[0]))
    elif status == 403:
        problems.append(f"it knows us and does not let us read {types[0]}: ask for that right there, and see --scopes")
    return Shown(told={**told, "state": "refused" if status in (401, 403) else "accepted"}, problems=problems)


def _token(connection: Connection, keys: Keyring, now: datetime) -> dict[str, Any]:
    authorizer = authorizer_of(connection, keys)
    if not isinstance(authorizer, TokenAuthorizer):
        return {}
    endpoint = authorizer.endpoint(now)
    token = authorizer.token(now)
    return {
        "tokenEndpoint": endpoint.url,
        "scopesAskedFor": authorizer.registration.form(endpoint)["scope"],
        "scopesGranted": token.scope,
        "tokenSeconds": round((token.ends_at - token.got_at).total_seconds()),
    }


def _warnings(connection: Connection, settings: Settings) -> Iterator[str]:
    if travels_openly(connection.options, connection.base_url):
        yield "secrets travel unencrypted to it; use its https address"
    if connection.options.get("auth") == "private_key_jwt" and not settings.public_url.startswith("https://"):
        yield (
            "it can read the page of our keys only when FHIR_TRACKER_PUBLIC_URL is our https address; else give it the keys "
            "as a file: fhir-tracker keys list --json"
        )


def _refused(kind: str, type_: str) -> str:
    if kind == "none":
        return f"it asks who we are before it shows {type_}: add the connection with --auth"
    return f"it does not take our credentials for {type_}: check --auth {kind} and what is registered there"
