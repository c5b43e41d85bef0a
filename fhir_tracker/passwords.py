"""Passwords and codes of local accounts: scrypt with parameters that are kept beside each hash, and time-based codes.

https://www.rfc-editor.org/rfc/rfc7914, https://www.rfc-editor.org/rfc/rfc6238,
https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

SHORTEST, LONGEST = 12, 256
STEP_SECONDS = 30
_FEWEST_KINDS = 5
_DIGITS = 6
_AT_ONCE = threading.BoundedSemaphore(2)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one guess costs: 128 * `n` * `r` bytes of memory, `p` times over."""

    n: int
    r: int
    p: int


STRONG: Final = Cost(n=2**17, r=8, p=1)


def hashed(password: str, cost: Cost = STRONG) -> str:
    """What is kept of a password."""
    salt = secrets.token_bytes(16)
    return f"scrypt${cost.n}${cost.r}${cost.p}${_text(salt)}${_text(_scrypt(password, salt, cost))}"


def is_password(kept: str | None, given: str, cost: Cost = STRONG) -> bool:
    """Whether `given` is the password that `kept` was made of; None costs as much as `cost` says and is never right."""
    if kept is None:
        _scrypt(given, bytes(16), cost)
        return False
    _, n, r, p, salt, digest = kept.split("$")
    of_it = Cost(n=int(n), r=int(r), p=int(p))
    return hmac.compare_digest(base64.b64decode(digest), _scrypt(given, base64.b64decode(salt), of_it))


def weakness(password: str, *names: str) -> str:
    """Why a password is not taken, as a sentence; "" for one that is."""
    plain = _plain(password)
    if len(plain) < SHORTEST:
        return f"Use {SHORTEST} characters or more; several words are easy to remember."
    if len(plain) > LONGEST:
        return f"Use at most {LONGEST} characters."
    folded = plain.casefold()
    if len(set(folded)) < _FEWEST_KINDS:
        return "Use more different characters."
    parts = {part for name in names for part in (name.casefold(), *name.casefold().split()) if len(part) > 3}
    rest = folded
    for part in sorted(parts, key=len, reverse=True):
        rest = rest.replace(part, "")
    return "" if len(rest) >= SHORTEST // 2 else "Use something else than a name."


def fresh_key() -> str:
    """The secret of a new second factor, in the letters that people type."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def enrolment_uri(key: str, name: str) -> str:
    """The `otpauth://` address by which an app on the same device takes the secret."""
    return _totp(key).get_provisioning_uri(name, "fhir-tracker")


def step_of(key: str, code: str, now: datetime) -> int | None:
    """The time step of which `code` is the code, the present one or one beside it; None for a wrong code."""
    present = int(now.timestamp()) // STEP_SECONDS
    given = "".join(code.split())
    found = None
    for step in (present - 1, present, present + 1):
        right = _totp(key).generate(step * STEP_SECONDS).decode()
        if hmac.compare_digest(right.encode(), given.encode("utf-8", "surrogatepass")):
            found = step
    return found


def _totp(key: str) -> TOTP:
    return TOTP(base64.b32decode(key), _DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303  # nosec B303


def _scrypt(password: str, salt: bytes, cost: Cost) -> bytes:
    text = _plain(password[: 4 * LONGEST]).encode("utf-8", "surrogatepass")
    memory = 128 * cost.n * cost.r * cost.p
    with _AT_ONCE:
        return hashlib.scrypt(text, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=2 * memory + 2**20, dklen=32)


def _plain(password: str) -> str:
    """However a keyboard put its accents together."""
    return unicodedata.normalize("NFKC", password)


def _text(given: bytes) -> str:
    return base64.b64encode(given).decode()
