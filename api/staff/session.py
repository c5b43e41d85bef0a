"""What one browser keeps for us in a signed cookie: a random id, density and keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from api.cors import is_of

COOKIE = "tracker_session"
DENSITIES = ("comfortable", "compact")
_MOST = 2000


@dataclass(frozen=True, kw_only=True)
class Session:
    """`id` is random and ties forms to this browser."""

    id: str
    density: str = DENSITIES[0]
    keys: bool = True


def fresh() -> Session:
    """A session nobody has had."""
    return Session(id=secrets.token_urlsafe(18))


def write(session: Session, secret: str) -> str:
    """The signed text of the cookie."""
    packed = base64.urlsafe_b64encode(json.dumps(asdict(session)).encode()).decode().rstrip("=")
    return f"{packed}.{_signed(secret, 'session', packed)}"


def read(text: str, secret: str) -> Session | None:
    """The session in a cookie; None when it is not one we signed."""
    packed, _, signature = text[:_MOST].rpartition(".")
    if not packed or not _equal(signature, _signed(secret, "session", packed)):
        return None
    values = json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    known = {name: values[name] for name in ("id", "density", "keys") if name in values}
    return Session(**known)


def token(session: Session, secret: str) -> str:
    """What every form of this session carries; no other site can know it."""
    return _signed(secret, "form", session.id)


def is_token(given: str, session: Session, secret: str) -> bool:
    """Whether a form came from a page of this session."""
    return _equal(given, token(session, secret))


def is_same_origin(host: str, origin: str, fetch_site: str) -> bool:
    """Whether the browser says that a page of this server sent the form.

    Pages send no referrer, so browsers write `Origin: null` and tell by Sec-Fetch-Site; clients that send neither are
    left to the token.
    """
    if fetch_site and fetch_site != "same-origin":
        return False
    if origin and origin != "null":
        return is_of(origin, host)
    return not origin or fetch_site == "same-origin"


def local_path(text: str, otherwise: str = "/") -> str:
    """`text` when it is a path of this server, else `otherwise`: never a way to another site."""
    plain = text.isascii() and text.isprintable() and "\\" not in text and len(text) <= _MOST
    is_ours = plain and text.startswith("/") and not text.startswith("//")
    return text if is_ours and not urlsplit(text).netloc else otherwise


def _signed(secret: str, purpose: str, text: str) -> str:
    return hmac.new(secret.encode(), f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


def _equal(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(), b.encode())
