"""Secrets at rest: texts sealed with a key made from the setting SECRET_KEY, so that a stolen database shows none.

https://www.rfc-editor.org/rfc/rfc7516
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from fhir_tracker.errors import UsageError

_LABEL = b"fhir-tracker: secrets at rest, 1"
_AUDIT = b"fhir-tracker: rows of the audit trail, 1"
_HEADER = {"alg": "dir", "enc": "A256GCM"}


def seal(secret_key: str, text: str) -> str:
    """`text` as a compact JWE that only `unseal` with the same `secret_key` reads; never twice the same."""
    return jwe.encrypt_compact(_HEADER, text, _key(secret_key), algorithms=["dir", "A256GCM"])


def unseal(secret_key: str, sealed: str) -> str:
    """What was sealed; UsageError when it was with another key, or was changed."""
    try:
        found = jwe.decrypt_compact(sealed, _key(secret_key), algorithms=["dir", "A256GCM"])
        return (found.plaintext or b"").decode()
    except (JoseError, ValueError):
        raise UsageError(
            "A stored secret cannot be opened: it was sealed with another FHIR_TRACKER_SECRET_KEY. Set that one again, or "
            "seal it anew: fhir-tracker keys reseal --former FILE; where the former is lost, make the key anew."
        ) from None


def opened(secret_key: str, sealed: str) -> str | None:
    """What was sealed, None when another key did it."""
    try:
        return unseal(secret_key, sealed)
    except UsageError:
        return None


def audit_key(secret_key: str) -> bytes:
    """The key of the seals on the rows of the audit trail and on its blocks."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_AUDIT).derive(secret_key.encode())


def _key(secret_key: str) -> OctKey:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_LABEL).derive(secret_key.encode())
    return OctKey.import_key(derived)
