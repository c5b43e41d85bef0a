"""Client assertions: signed statements by which a system shows who it is, believed only when every part of them is right.

https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html#authenticating-to-the-token-endpoint
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_tracker.client_keys import ALGORITHMS, MOST_ID, PublicKey
from fhir_tracker.errors import Incorrect, Unauthenticated
from fhir_tracker.fhir.body import read_json

LONGEST_LIFE = timedelta(minutes=5)
LEEWAY = timedelta(seconds=10)
MOST_BYTES = 16_000
_MOST_TEXT = 500
_FORM = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_LATEST = 253_402_300_000
"""Seconds: the year 9999."""


@dataclass(frozen=True, kw_only=True)
class Assertion:
    """What was sent, taken apart and not believed yet; `client` is who it says it is from."""

    compact: str = field(repr=False)
    client: str
    alg: str
    kid: str
    jku: str | None
    claims: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A good assertion: it may be used once, and its `jti` has to be remembered `until`."""

    jti: str
    until: datetime


def read_assertion(compact: str) -> Assertion:
    """An assertion in its parts; raises Unauthenticated, with the reason for the audit trail, when it cannot be one."""
    match = _FORM.fullmatch(compact) if len(compact) <= MOST_BYTES else None
    if match is None:
        raise Unauthenticated("form")
    header, claims, _ = (_decoded(part) for part in match.groups())
    head, told = _object(header), _object(claims)
    alg, kid, jku, client = head.get("alg"), head.get("kid"), head.get("jku"), told.get("iss")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        raise Unauthenticated("alg")
    if not isinstance(kid, str) or not 0 < len(kid) <= MOST_ID:
        raise Unauthenticated("kid")
    if str(head.get("typ")).upper() != "JWT" or not {"crit", "b64", "zip"}.isdisjoint(head):
        raise Unauthenticated("header")
    if jku is not None and not isinstance(jku, str):
        raise Unauthenticated("jku")
    if not isinstance(client, str) or not 0 < len(client) <= _MOST_TEXT or told.get("sub") != client:
        raise Unauthenticated("iss")
    return Assertion(compact=compact, client=client, alg=alg, kid=kid, jku=jku, claims=told)


def check_signature(given: Assertion, keys: Sequence[PublicKey]) -> None:
    """Raises Unauthenticated unless exactly one of the keys has the right id and kind, and it signed."""
    fitting = [one for one in keys if one.kid == given.kid and one.alg == given.alg]
    if len(fitting) != 1:
        raise Unauthenticated("key")
    if not fitting[0].signed(given.compact):
        raise Unauthenticated("signature")


def check_claims(given: Assertion, audiences: Collection[str], now: datetime) -> Shown:
    """Raises Unauthenticated unless it was made for one of `audiences`, counts now, and for no longer than it may."""
    claims = given.claims
    if claims.get("aud") not in [*audiences]:
        raise Unauthenticated("aud")
    ends, begins, made = (_moment(claims, name) for name in ("exp", "nbf", "iat"))
    if ends is None or ends + LEEWAY <= now or ends > now + LONGEST_LIFE + LEEWAY:
        raise Unauthenticated("exp")
    if any(one is not None and one > now + LEEWAY for one in (begins, made)):
        raise Unauthenticated("nbf")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _MOST_TEXT:
        raise Unauthenticated("jti")
    return Shown(jti=jti, until=ends + LEEWAY)


def _decoded(part: str) -> bytes:
    """Base64url without padding, and only the one way to write it."""
    try:
        found = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise Unauthenticated("form") from None
    if base64.urlsafe_b64encode(found).rstrip(b"=").decode() != part:
        raise Unauthenticated("form")
    return found


def _object(raw: bytes) -> Mapping[str, Any]:
    """A JSON object that every reader takes for the same."""
    try:
        found = read_json(raw, max_bytes=MOST_BYTES, max_depth=8)
    except Incorrect:
        raise Unauthenticated("form") from None
    if not isinstance(found, dict):
        raise Unauthenticated("form")
    return found


def _moment(claims: Mapping[str, Any], name: str) -> datetime | None:
    """A NumericDate; None where there is none. Raises Unauthenticated for anything else."""
    value = claims.get(name)
    if name not in claims:
        return None
    try:
        seconds = math.nan if isinstance(value, bool | str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds <= _LATEST:
        raise Unauthenticated(name)
    return datetime.fromtimestamp(seconds, UTC)
