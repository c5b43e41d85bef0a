"""The key pairs with which this tracker shows EHRs who it is: made at first need, rotated, published until retired.

https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from fhir_tracker.errors import Conflict, NotFound, UsageError
from fhir_tracker.sealing import seal, unseal
from fhir_tracker.storage import signing_keys
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.signing_keys import StoredKey

ALGORITHMS = ("RS384", "ES384")
GRACE = timedelta(hours=24)
"""How long a new key is published before it signs: EHRs keep the page of keys for hours."""
_RSA_BITS = 3072
_WRITERS = "signing-keys"


@dataclass(frozen=True, kw_only=True)
class Keyring:
    """The signing keys of one database, opened with the setting SECRET_KEY."""

    database: Database
    secret_key: str = field(repr=False)

    def signers(self, now: datetime, supported: Collection[str] = ()) -> list[StoredKey]:
        """The keys that may sign at `now`, the one that should first; a first key is made if there is none."""
        with self.database.read() as tx:
            able = signers(tx, now, supported)
        return able or [self.ensure(now)]

    def sign(self, claims: dict[str, Any], by: StoredKey, **header: str) -> str:
        """`claims` as a JWT signed by one of `signers`. Raises UsageError when the private key cannot be opened."""
        private = json.loads(unseal(self.secret_key, by.sealed))
        key = RSAKey.import_key(private) if by.alg == "RS384" else ECKey.import_key(private)
        return jwt.encode({"alg": by.alg, "kid": by.kid, **header}, claims, key, algorithms=list(ALGORITHMS))

    def ensure(self, now: datetime, alg: str = ALGORITHMS[0]) -> StoredKey:
        """The key that signs at `now`; the very first is made here, and signs at once."""
        made = self._made(alg, now, now)
        with self.database.begin() as tx:
            tx.wait_for_others(_WRITERS)
            found = signing(tx, now)
            if found is None:
                signing_keys.add(tx, made)
            return found or made

    def rotate(self, now: datetime, alg: str | None = None, *, at_once: bool = False) -> StoredKey:
        """Make a new key, which is published now and signs after GRACE, or at once; by default as strong as the last.

        The key before it stays published, older ones of its kind are retired. Raises Conflict while a new key waits for
        its time, unless it is to sign at once now, and UsageError for an algorithm we do not sign with.
        """
        if alg is not None and alg not in ALGORITHMS:
            raise UsageError(f"--alg is one of {', '.join(ALGORITHMS)}.")
        with self.database.read() as tx:
            last = next(iter(published(tx)), None)
        wanted = alg or (last.alg if last else ALGORITHMS[0])
        made = self._made(wanted, now, now if at_once or last is None else now + GRACE)
        with self.database.begin() as tx:
            tx.wait_for_others(_WRITERS)
            own = [one for one in published(tx) if one.alg == wanted]
            if own and own[0].signs_from > now:
                return _hastened(tx, own[0], now, at_once=at_once)
            for older in own[1:]:
                signing_keys.retire(tx, older.kid, now)
            signing_keys.add(tx, made)
            return made

    def _made(self, alg: str, now: datetime, signs_from: datetime) -> StoredKey:
        key = RSAKey.generate_key(_RSA_BITS) if alg == "RS384" else ECKey.generate_key("P-384")
        kid = key.thumbprint()
        return StoredKey(
            kid=kid,
            alg=alg,
            sealed=seal(self.secret_key, json.dumps(key.as_dict(private=True))),
            public={**key.as_dict(private=False), "kid": kid, "alg": alg, "use": "sig", "key_ops": ["verify"]},
            made_at=now,
            signs_from=signs_from,
        )


def published(tx: Tx) -> list[StoredKey]:
    """The keys whose public half others can see, the newest first."""
    return [one for one in signing_keys.all(tx) if one.retired_at is None]


def signers(tx: Tx, now: datetime, supported: Collection[str] = ()) -> list[StoredKey]:
    """The keys that may sign at `now`: the newest of an algorithm in `supported` first, then the newest of the others."""
    able = [one for one in published(tx) if one.signs_from <= now]
    return sorted(able, key=lambda one: one.alg not in supported)


def signing(tx: Tx, now: datetime) -> StoredKey | None:
    """The key that signs at `now`, None before the first is made."""
    return next(iter(signers(tx, now)), None)


def retire(tx: Tx, kid: str, now: datetime) -> None:
    """Take a key out of use at once; NotFound for one that is not published, Conflict for the one that signs."""
    there = published(tx)
    if kid not in {one.kid for one in there}:
        raise NotFound(f"No published key has the id {kid}; see: fhir-tracker keys list")
    able = [one for one in there if one.signs_from <= now]
    if [one.kid for one in able] == [kid]:
        raise Conflict("It is the only key that signs; first: fhir-tracker keys rotate --now")
    signing_keys.retire(tx, kid, now)


def key_set(tx: Tx) -> dict[str, Any]:
    """The published keys as a JWK Set."""
    return {"keys": [dict(one.public) for one in published(tx)]}


def _hastened(tx: Tx, waiting: StoredKey, now: datetime, *, at_once: bool) -> StoredKey:
    if not at_once:
        raise Conflict(
            f"The new key {waiting.kid} is published and signs from {waiting.signs_from:%Y-%m-%d %H:%M} UTC; to let it sign "
            "at once: fhir-tracker keys rotate --now"
        )
    signing_keys.sign_from(tx, waiting.kid, now)
    return next(one for one in published(tx) if one.kid == waiting.kid)
