"""Access tokens of our own: given to a system that has shown who it is, looked up, and ended.

https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from joserfc.jwk import ECKey, RSAKey

from fhir_tracker import assertions
from fhir_tracker.assertions import Assertion
from fhir_tracker.client_keys import PublicKey
from fhir_tracker.digests import digest_of
from fhir_tracker.errors import Unauthenticated
from fhir_tracker.model.grants import narrowed, parse_scope
from fhir_tracker.model.held_filters import is_understood
from fhir_tracker.storage import clients, epochs, seen_jti, tokens
from fhir_tracker.storage.clients import Client
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.tokens import IssuedToken

PREFIX = "ft_"
MOST_GRANTED = 500
"""Scopes of one token: every type of resource by itself, and some with queries."""
_OURS = re.compile(r"ft_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, kw_only=True)
class NewToken:
    """A token just made; the only place where its value is."""

    value: str = field(repr=False)
    issued: IssuedToken


def is_ours(token: str) -> bool:
    """Whether a token has the form of those that we make."""
    return _OURS.fullmatch(token) is not None


def recognised(
    tx: Tx, given: Assertion, keys: Collection[PublicKey], audiences: Collection[str], now: datetime
) -> Client:
    """The client that made an assertion, which is used up by this.

    Raises Unauthenticated, with the reason for the audit trail, when anything is wrong with it.
    """
    client = clients.find(tx, given.client)
    if client is None or client.revoked_at is not None:
        _nobodys_key(given.alg).signed(given.compact)
        raise Unauthenticated("client")
    if given.jku is not None and given.jku != client.jwks_url:
        raise Unauthenticated("jku")
    assertions.check_signature(given, tuple(keys))
    shown = assertions.check_claims(given, audiences, now)
    if not seen_jti.take(tx, client.id, shown.jti, until=shown.until):
        raise Unauthenticated("replay")
    return client


def issue(tx: Tx, client: Client, scope: str, lifetime: timedelta, now: datetime) -> NewToken | None:
    """A token for what of `scope` the client may ask for; None when that is nothing, or more than a token holds."""
    granted = tuple(one for one in narrowed(scope, client.scopes) if _gives_something(one))
    if not 0 < len(granted) <= MOST_GRANTED:
        return None
    value = f"{PREFIX}{secrets.token_urlsafe(32)}"
    issued = IssuedToken(
        digest=digest_of(value), client=client.id, scopes=granted, issued_at=now, expires_at=now + lifetime
    )
    tokens.add(tx, issued)
    return NewToken(value=value, issued=issued)


def _gives_something(scope: str) -> bool:
    """Whether a scope is worth naming: not one of resources with a query that nobody can be held to."""
    grant = parse_scope(scope)
    return grant is None or is_understood(grant)


def find(tx: Tx, digest: str, now: datetime) -> tuple[IssuedToken, Client] | None:
    """A token that counts now and the client that it was given to; None for any other."""
    issued = tokens.find(tx, digest)
    if issued is None or not issued.issued_at - assertions.LEEWAY <= now < issued.expires_at:
        return None
    client = clients.find(tx, issued.client)
    return None if client is None or client.revoked_at is not None else (issued, client)


def end(tx: Tx, token: str, client: Client) -> bool:
    """Let a token count no more if it is this client's; whether it was."""
    digest = digest_of(token)
    issued = tokens.find(tx, digest)
    if issued is None or issued.client != client.id:
        return False
    epochs.bump(tx)
    return tokens.end(tx, digest)


@cache
def _nobodys_key(alg: str) -> PublicKey:
    """A key that signs nothing: what is from nobody takes as long to refuse as what is signed wrongly."""
    key = RSAKey.generate_key(2048) if alg == "RS384" else ECKey.generate_key("P-384")
    return PublicKey(kid="", alg=alg, key=key)
