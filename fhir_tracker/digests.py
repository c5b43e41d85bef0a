"""What is kept of a secret that only its bearer has: enough to know it again, and nothing to be let in by."""

from __future__ import annotations

import hashlib


def digest_of(secret: str) -> str:
    """SHA-256 of a random secret of ours or of a token, in hex. Not for what people choose: those are kept by scrypt."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
