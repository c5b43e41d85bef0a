"""The keys that seal the audit trail: the present one from the setting SECRET_KEY, and former ones kept sealed with it."""

from __future__ import annotations

from base64 import b64decode, b64encode

from fhir_tracker.sealing import audit_key, opened, seal
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.audit_rows import Signer
from fhir_tracker.storage.database import Tx

_FORMER = "audit-former-keys"
PLACE = f"setting.{_FORMER}"
"""Where the former keys are, as the places of other sealed texts are called."""


def key_id(key: bytes) -> str:
    """What rows and blocks call the key they are sealed with."""
    return Signer(lambda: key).known_id()


def known_keys(tx: Tx, secret_key: str, *former: str) -> dict[str, bytes]:
    """Id -> key: the present one, those that were remembered, and those of further former secret keys."""
    keys = [audit_key(one) for one in (secret_key, *former)] + _remembered(tx, secret_key)
    return {key_id(one): one for one in keys}


def remember_former(tx: Tx, secret_key: str, former: str) -> None:
    """Keep the key that a former secret key gave, so that what it sealed can be checked on; also those it remembered.

    What neither key opens stays as it is, for the secret key that does.
    """
    unread = [one for one in _sealed(tx) if opened(secret_key, one) is None and opened(former, one) is None]
    keys = {audit_key(former), *_remembered(tx, secret_key), *_remembered(tx, former)} - {audit_key(secret_key)}
    told = " ".join(sorted(b64encode(one).decode() for one in keys))
    states.put(tx, _FORMER, " ".join([seal(secret_key, told), *unread]))


def unread(tx: Tx, secret_key: str) -> int:
    """How many lots of former keys are kept that another secret key sealed."""
    return sum(opened(secret_key, one) is None for one in _sealed(tx))


def _remembered(tx: Tx, secret_key: str) -> list[bytes]:
    return [b64decode(key) for one in _sealed(tx) for key in (opened(secret_key, one) or "").split()]


def _sealed(tx: Tx) -> list[str]:
    return (states.get(tx, _FORMER) or "").split()
