"""The app that shows codes, as somebody with a local account has it."""

from __future__ import annotations

import base64
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP


def code_at(key: str, now: datetime) -> str:
    """What the app shows at `now` for the secret it was given."""
    totp = TOTP(base64.b32decode(key.replace(" ", "")), 6, SHA1(), 30)  # noqa: S303 - as apps do
    return totp.generate(int(now.timestamp())).decode()
