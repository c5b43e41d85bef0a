"""The public keys of a system: which of a key set can be trusted to show who it is, and which may not even be given to us.

https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from fhir_tracker.errors import Incorrect, TooLarge, UsageError
from fhir_tracker.fhir.body import read_json

ALGORITHMS = ("RS384", "ES384")
MOST_KEYS = 20
MOST_BYTES = 100_000
MOST_ID = 200
"""Characters of a key's id."""
_LEAST_BITS, _MOST_BITS = 2048, 8192
_LEAST_EXPONENT = 65_537
_CURVE = "P-384"
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y")}
_ALGORITHM = {"RSA": "RS384", "EC": "ES384"}
_BROKEN = (JoseError, ValueError, KeyError, TypeError, OverflowError)
_REGISTRY = jws.JWSRegistry(strict_check_header=False, algorithms=list(ALGORITHMS))


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """One key that may check signatures by the algorithm `alg`."""

    kid: str
    alg: str
    key: RSAKey | ECKey = field(repr=False)

    def signed(self, compact: str) -> bool:
        """Whether this key signed a compact JWS."""
        try:
            jws.deserialize_compact(compact, self.key, registry=_REGISTRY, algorithms=[self.alg])
        except _BROKEN:
            return False
        return True


def read_key_set(raw: bytes) -> Mapping[str, Any]:
    """The JWK Set in a file or an answer; raises UsageError when it is none."""
    try:
        found = read_json(raw, max_bytes=MOST_BYTES, max_depth=8)
    except (Incorrect, TooLarge) as error:
        raise UsageError(f"This is no JWK Set. {error.message}") from None
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not all(isinstance(one, dict) for one in keys):
        raise UsageError('This is no JWK Set: it has to be a JSON object {"keys": [...]}.')
    return cast(Mapping[str, Any], found)


def checked_keys(key_set: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same set, reduced to what checks signatures; UsageError that says which of its keys cannot be taken, and why."""
    keys = key_set["keys"]
    if not keys or len(keys) > MOST_KEYS:
        raise UsageError(f"The set has {len(keys)} keys; 1 to {MOST_KEYS} are taken.")
    wrong = [f"Key {number}: {why}." for number, one in enumerate(keys, 1) if (why := _why_not(one))]
    if wrong:
        raise UsageError(" ".join(wrong))
    often = [one for one, count in Counter((one["kty"], one["kid"]) for one in keys).items() if count > 1]
    if often:
        raise UsageError(f"{len(often)} key ids are there more than once; each key of a kind needs a kid of its own.")
    return {"keys": [_public(one) for one in keys]}


def usable_keys(key_set: Mapping[str, Any]) -> tuple[PublicKey, ...]:
    """The keys of a set that can show who a system is, the others passed over; all of them, so that no twin is missed."""
    keys: Sequence[Mapping[str, Any]] = key_set.get("keys", ())
    return tuple(_imported(one) for one in keys if not _why_not(one))


def has_private(key_set: Mapping[str, Any]) -> bool:
    """Whether any key of a set tells more than its public half."""
    return any(_PRIVATE & one.keys() for one in key_set["keys"])


def _why_not(one: Mapping[str, Any]) -> str:
    """Why a key cannot be taken, in words; nothing when it can."""
    kty, kid = one.get("kty"), one.get("kid")
    if _PRIVATE & one.keys():
        return "it is a private or secret key, which nobody but its owner may have; make a new pair, and give the public half"
    if kty not in ("RSA", "EC"):
        return "its kty is neither RSA nor EC"
    if not isinstance(kid, str) or not 0 < len(kid) <= MOST_ID or not kid.isprintable():
        return f"it needs a kid of 1 to {MOST_ID} characters"
    if one.get("alg", _ALGORITHM[kty]) != _ALGORITHM[kty]:
        return f"its alg has to be {_ALGORITHM[kty]}"
    ops = one.get("key_ops", ["verify"])
    if one.get("use", "sig") != "sig" or not isinstance(ops, list) or "verify" not in ops:
        return "it is not meant for checking signatures"
    return _why_weak(one)


def _why_weak(one: Mapping[str, Any]) -> str:
    if one["kty"] == "EC" and one.get("crv") != _CURVE:
        return f"its curve has to be {_CURVE}"
    try:
        if one["kty"] == "RSA" and not _LEAST_BITS <= _number(one["n"]).bit_length() <= _MOST_BITS:
            return f"an RSA key has to have {_LEAST_BITS} to {_MOST_BITS} bits"
        if one["kty"] == "RSA" and (_number(one["e"]) < _LEAST_EXPONENT or _number(one["n"]) % 2 == 0):
            return "its exponent is too small, or its modulus is even"
        _imported(one)
    except _BROKEN:
        return "it cannot be read"
    return ""


def _number(text: Any) -> int:
    """A number as JOSE writes it; ValueError or TypeError for anything else."""
    return int.from_bytes(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True), "big")


def _imported(one: Mapping[str, Any]) -> PublicKey:
    bare = {name: one[name] for name in ("kty", *_MEMBERS[one["kty"]])}
    key = RSAKey.import_key(bare) if one["kty"] == "RSA" else ECKey.import_key(bare)
    key.public_key.public_numbers()
    return PublicKey(kid=one["kid"], alg=_ALGORITHM[one["kty"]], key=key)


def _public(one: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: one[name] for name in ("kty", "kid", *_MEMBERS[one["kty"]])} | {"alg": _ALGORITHM[one["kty"]]}
