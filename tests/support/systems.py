"""Made-up systems that ask our API for tokens, with keys made once a run, and everything in an assertion open to change."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from joserfc.jwk import ECKey, RSAKey
from starlette.testclient import TestClient

from fhir_tracker import access_tokens, clients, clock
from fhir_tracker.access_tokens import NewToken
from fhir_tracker.storage.clients import Client
from fhir_tracker.storage.database import Database

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@cache
def rsa_key() -> RSAKey:
    """An RSA key, the same one throughout the run."""
    return RSAKey.generate_key(2048)


@cache
def weak_rsa(kid: str) -> dict[str, Any]:
    """The public half of a key that is too short, as a JWK; the library of the product makes none."""
    numbers = generate_private_key(65537, 1024).public_key().public_numbers()  # noqa: S505 - to be refused
    sized = {"n": numbers.n.to_bytes(128, "big"), "e": numbers.e.to_bytes(3, "big")}
    return {"kty": "RSA", "kid": kid, **{name: part(raw) for name, raw in sized.items()}}


@cache
def ec_key(name: str = "", curve: str = "P-384") -> ECKey:
    """The same on a curve."""
    return ECKey.generate_key(curve)


def public(key: RSAKey | ECKey, kid: str, **more: object) -> dict[str, Any]:
    """The public half as a JWK."""
    return {**key.as_dict(private=False), "kid": kid, **more}


def key_set(*names: str) -> dict[str, Any]:
    """The public halves of keys on P-384 with these names, which are their ids too, and of the RSA key `rsa`."""
    return {"keys": [public(rsa_key(), name) if name == "rsa" else public(ec_key(name), name) for name in names]}


@dataclass(frozen=True, kw_only=True)
class System:
    """One system: its id, and the address of the token endpoint that its assertions are made for."""

    id: str = "reports"
    audience: str = "http://testserver/auth/token"
    kid: str = "ec"

    def claims(self, **changed: object) -> dict[str, Any]:
        """Those of a good assertion, with changes; None leaves one out."""
        good = {
            "iss": self.id,
            "sub": self.id,
            "aud": self.audience,
            "exp": int(time.time()) + 240,
            "jti": uuid4().hex,
        }
        return {name: value for name, value in (good | changed).items() if value is not None}

    def assertion(self, header: Mapping[str, object] | None = None, **changed: object) -> str:
        """An assertion signed by the key `kid`, good but for the changes."""
        is_rsa = self.kid == "rsa"
        head = {"alg": "RS384" if is_rsa else "ES384", "kid": self.kid, "typ": "JWT"} | dict(header or {})
        return signed(head, self.claims(**changed), rsa_key() if is_rsa else ec_key(self.kid))

    def form(self, scope: str = "system/*.rs", **changed: object) -> dict[str, Any]:
        """What is sent to the token endpoint; a field that is None is left out."""
        good: dict[str, object] = {
            "grant_type": "client_credentials",
            "scope": scope,
            "client_assertion_type": ASSERTION_TYPE,
        }
        if "client_assertion" not in changed:
            good["client_assertion"] = self.assertion()
        return {name: value for name, value in (good | changed).items() if value is not None}

    def shown(self, **changed: Any) -> dict[str, Any]:
        """What shows who it is at other endpoints."""
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": self.assertion(**changed)}


def signed(header: Mapping[str, object], claims: object, key: RSAKey | ECKey) -> str:
    """A compact JWS, whatever its header says, by the algorithm of ours that fits the key; header members None are left out."""
    head = json.dumps({name: value for name, value in header.items() if value is not None})
    return raw_signed(head, claims if isinstance(claims, str) else json.dumps(claims), key)


def part(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_signed(header: str, claims: str, key: RSAKey | ECKey) -> str:
    """A JWS by RS384 or ES384 over any text at all as header and payload."""
    text = f"{part(header.encode())}.{part(claims.encode())}"
    return f"{text}.{part(signature(text.encode(), key))}"


def signature(text: bytes, key: RSAKey | ECKey) -> bytes:
    """As JOSE wants it: of RSA PKCS #1 v1.5, of curves both numbers side by side."""
    private = key.private_key
    if isinstance(private, RSAPrivateKey):
        return private.sign(text, PKCS1v15(), SHA384())
    assert isinstance(private, EllipticCurvePrivateKey)
    size = (private.curve.key_size + 7) // 8
    numbers = decode_dss_signature(private.sign(text, ECDSA(SHA384())))
    return b"".join(one.to_bytes(size, "big") for one in numbers)


def let_in(database: Database, *scopes: str, id_: str = "reports", keys: Mapping[str, Any] | None = None) -> Client:
    """Add a system with these scopes and the keys `ec` and `rsa`."""
    found = keys if keys is not None else key_set("ec", "rsa")
    new = Client(id=id_, name=f"Made-up {id_}", scopes=scopes or ("system/*.cruds",), jwks=found, added_at=clock.now())
    with database.begin() as tx:
        return clients.add(tx, new)


def let_in_with(client: TestClient, database: Database, *scopes: str) -> TestClient:
    """The client as that of a system with these scopes, whose token it shows from now on."""
    system = let_in(database, *scopes)
    with database.begin() as tx:
        made = access_tokens.issue(tx, system, " ".join(system.scopes), timedelta(minutes=5), clock.now())
    assert isinstance(made, NewToken)
    client.headers["Authorization"] = f"Bearer {made.value}"
    return client
