"""The id_token of a person who logged in: believed only when the issuer signed it, for us, for this very login.

https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from joserfc import jws, jwt
from joserfc.errors import JoseError

from fhir_tracker.authentication import is_safe
from fhir_tracker.errors import Forbidden, RemoteFailure
from fhir_tracker.storage.issuers import CONNECTION, Issuer
from subscriptions.client import EhrClient
from subscriptions.issuer_keys import KEY_PAGES, KeyPages
from subscriptions.issuer_metadata import LIMITS, OPENID, Metadata, reach, read_json
from subscriptions.outbound import origin

ALGORITHMS = ("RS256", "ES384")
LEEWAY = timedelta(seconds=60)
"""What clocks may differ by."""
OLDEST = timedelta(minutes=30)
MOST_BYTES = 64_000
_LATEST = 253_402_300_000
"""Seconds: the year 9999."""


def check(
    compact: object,
    issuer: Issuer,
    metadata: Metadata,
    nonce: str,
    now: datetime,
    pages: KeyPages = KEY_PAGES,
) -> Mapping[str, Any]:
    """The claims of an id_token. Raises Forbidden for one that is not to be believed, RemoteFailure without the keys for it."""
    if not isinstance(compact, str) or not compact:
        raise Forbidden("The EHR did not say who you are: it gave no id_token (scopes openid and fhirUser).")
    header = _header(compact)
    alg, kid = header.get("alg"), header.get("kid")
    if alg not in ALGORITHMS:
        raise Forbidden(f"Who you are was signed by a method that is not trusted; {' and '.join(ALGORITHMS)} are.")
    if "crit" in header or not (kid is None or (isinstance(kid, str) and len(kid) <= 200)):
        raise Forbidden("Who you are was signed in a way that is not understood.")
    named = _issuer_of(compact, issuer, metadata)
    key = pages.key(_keys_at(named, issuer, metadata), reach(issuer), kid, alg, now)
    try:
        claims = jwt.decode(compact, key, algorithms=[alg]).claims
    except (JoseError, ValueError, TypeError):
        raise Forbidden("Who you are was not signed by your EHR.") from None
    _check_claims(claims, named, issuer, nonce, now)
    return claims


def _header(compact: str) -> Mapping[str, Any]:
    if len(compact) > MOST_BYTES or not compact.isascii():
        raise Forbidden("The EHR's id_token cannot be read.")
    try:
        return jws.extract_compact(compact.encode()).headers()
    except (JoseError, ValueError, TypeError, AttributeError):
        raise Forbidden("The EHR's id_token cannot be read.") from None


def _issuer_of(compact: str, issuer: Issuer, metadata: Metadata) -> str:
    """Who has to have signed: the issuer that discovery names; where it names none, one of the EHR's own origins."""
    if metadata.issuer:
        return metadata.issuer
    claims = _unchecked(compact)
    named = claims.get("iss")
    own = {origin(one) for one in (issuer.url, metadata.authorization, metadata.token)}
    if not isinstance(named, str) or not is_safe(named, issuer.url) or origin(named) not in own:
        raise Forbidden("Who you are was signed by somebody else than your EHR.")
    return named


def _unchecked(compact: str) -> Mapping[str, Any]:
    """Claims that nobody has vouched for yet."""
    try:
        found = msgspec.json.decode(jws.extract_compact(compact.encode()).payload)
    except (JoseError, ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def _keys_at(named: str, issuer: Issuer, metadata: Metadata) -> str:
    """Where the issuer's keys are: its openid-configuration says it, or else discovery did."""
    if issuer.kind != CONNECTION and metadata.keys:
        return metadata.keys
    try:
        with EhrClient(named, limits=LIMITS, reach=reach(issuer)) as client:
            told = read_json(client, OPENID)
    except RemoteFailure as failure:
        if metadata.keys and failure.permanent:
            return metadata.keys
        raise RemoteFailure(f"Who the EHR's keys belong to cannot be found out. {failure.message}") from None
    keys = told.get("jwks_uri")
    if told.get("issuer") != named:
        raise Forbidden("The EHR's openid-configuration is that of another issuer.")
    if not isinstance(keys, str) or not is_safe(keys, issuer.url):
        raise RemoteFailure("The EHR names no page of its keys that is an https address.", permanent=True)
    return keys


def _check_claims(claims: Mapping[str, Any], named: str, issuer: Issuer, nonce: str, now: datetime) -> None:
    aud, azp = claims.get("aud"), claims.get("azp")
    audiences = [aud] if isinstance(aud, str) else aud if isinstance(aud, list) else []
    if claims.get("iss") != named:
        raise Forbidden("Who you are was said by another issuer than your EHR.")
    if issuer.client_id not in audiences or (len(audiences) > 1 and azp is None):
        raise Forbidden("Who you are was said to another application.")
    if azp is not None and azp != issuer.client_id:
        raise Forbidden("Who you are was said to another application.")
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), nonce.encode()):
        raise Forbidden("Who you are was said at another login than this one.")
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise Forbidden("The EHR did not say who you are.")
    _check_times(claims, now.timestamp())


def _check_times(claims: Mapping[str, Any], at: float) -> None:
    """It counts now, and was made for this login; `iat` may be missing, since the nonce tells that too."""
    ends, made, begins = (_moment(claims.get(name)) for name in ("exp", "iat", "nbf"))
    leeway, oldest = LEEWAY.total_seconds(), OLDEST.total_seconds()
    if any(claims.get(name) is not None and one is None for name, one in (("iat", made), ("nbf", begins))):
        raise Forbidden("What the EHR said of who you are names a moment that cannot be.")
    if ends is None or at >= ends + leeway or (made is not None and at > made + oldest):
        raise Forbidden(
            "What the EHR said of who you are counts no more: open the tracker again; are the clocks right?"
        )
    if max(made or 0, begins or 0) > at + leeway:
        raise Forbidden("What the EHR said of who you are is from the future; are the clocks right?")


def _moment(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _LATEST else None
