"""The keys that seal the audit trail: the present one from the setting SECRET_KEY, and former ones kept sealed with it."""

from __future__ import annotations

from base64 import b64decode, b64encode

from fhir_tracker.errors import UsageError
from fhir_tracker.sealing import audit_key, seal, unseal
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.audit_rows import Signer
from fhir_tracker.storage.database import Tx

_FORMER = "audit-former-keys"


def key_id(key: bytes) -> str:
    """What rows and blocks call the key they are sealed with."""
    return Signer(lambda: key).known_id()


def known_keys(tx: Tx, secret_key: str, *former: str) -> dict[str, bytes]:
    """Id -> key: the present one, those that were remembered, and those of further former secret keys."""
    keys = [audit_key(one) for one in (secret_key, *former)] + _remembered(tx, secret_key)
    return {key_id(one): one for one in keys}


def remember_former(tx: Tx, secret_key: str, former: str) -> None:
    """Keep the key that a former secret key gave, so that what it sealed can be checked on; also those it remembered."""
    keys = {audit_key(former), *_remembered(tx, secret_key), *_remembered(tx, former)} - {audit_key(secret_key)}
    told = " ".join(sorted(b64encode(one).decode() for one in keys))
    states.put(tx, _FORMER, seal(secret_key, told))


def _remembered(tx: Tx, secret_key: str) -> list[bytes]:
    sealed = states.get(tx, _FORMER)
    if not sealed:
        return []
    try:
        return [b64decode(one) for one in unseal(secret_key, sealed).split()]
    except UsageError:
        return []
