"""The signing keys of a simulated EHR: id_tokens, the page of keys, and every way in which both can be wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Mapping
from typing import cast

from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey

from api.demo.simulator.faults import IdTokenFaults, Keys, replaced
from fhir_tracker.fhir.json_types import Json

RSA_BITS = 2048


class SigningKeys:
    """The current key pair for each algorithm; `rotate` replaces them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[str, Key] = {}
        self._kid = secrets.token_hex(6)
        self._others: dict[str, Key] = {}

    def rotate(self) -> None:
        """New keys under a new id; the old ones are gone at once."""
        with self._lock:
            self._kid = secrets.token_hex(6)
            self._made = {}

    def published(self, fault: Keys) -> bytes:
        """The page of keys."""
        if fault == "garbage":
            return b"<html>no keys here</html>"
        right = self._public(self._key("RS256"))
        shown = {
            "right": [right],
            "none": [],
            "others": [self._public(self._other("RS256"))],
            "ambiguous": [right, self._public(self._other("RS256"))],
        }[fault]
        if fault == "right" and "ES384" in self._made:
            shown.append({**self._public(self._made["ES384"]), "kid": f"{self._kid}-ec"})
        return json.dumps({"keys": shown}).encode()

    def id_token(self, claims: Mapping[str, object], fault: IdTokenFaults, secret: str) -> str:
        """A signed id_token; HS256 is signed by `secret` or else by the public key as a shared one."""
        whole = replaced(claims, fault.claims)
        algorithm = fault.algorithm
        if algorithm == "none":
            parts = [{"alg": "none", "typ": "JWT", **fault.header}, whole]
            return ".".join(_packed(json.dumps(part).encode()) for part in parts) + "."
        kid = f"{self._kid}-ec" if algorithm == "ES384" else self._kid
        header: dict[str, object] = {"alg": algorithm, "typ": "JWT", "kid": kid, **fault.header}
        if algorithm == "HS256":
            return _shared(header, whole, secret.encode() or self._pem())
        key = self._other(algorithm) if fault.unsigned else self._key(algorithm)
        return jwt.encode(header, whole, key, algorithms=[algorithm])

    def _pem(self) -> bytes:
        return cast("RSAKey", self._key("RS256")).as_bytes(encoding="PEM", private=False)

    def _key(self, algorithm: str) -> Key:
        return _one(self._made, "ES384" if algorithm == "ES384" else "RS256", self._lock)

    def _other(self, algorithm: str) -> Key:
        return _one(self._others, "ES384" if algorithm == "ES384" else "RS256", self._lock)

    def _public(self, key: Key) -> dict[str, Json]:
        algorithm = "ES384" if isinstance(key, ECKey) else "RS256"
        return {**cast("dict[str, Json]", key.as_dict(private=False)), "kid": self._kid, "use": "sig", "alg": algorithm}


def s256(verifier: str) -> str:
    """The code challenge of a verifier."""
    return _packed(hashlib.sha256(verifier.encode()).digest())


def _one(shelf: dict[str, Key], algorithm: str, lock: threading.Lock) -> Key:
    with lock:
        if algorithm not in shelf:
            is_curve = algorithm == "ES384"
            shelf[algorithm] = ECKey.generate_key("P-384") if is_curve else RSAKey.generate_key(RSA_BITS)
        return shelf[algorithm]


def _shared(header: Mapping[str, object], claims: Mapping[str, object], secret: bytes) -> str:
    """What an attacker signs who takes a public key for a shared secret; libraries refuse to."""
    signed = f"{_packed(json.dumps(header).encode())}.{_packed(json.dumps(claims).encode())}"
    return f"{signed}.{_packed(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
