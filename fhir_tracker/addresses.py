"""Where notifications go: the mail server, mail addresses and webhooks of roles, as the settings write them."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from fhir_tracker.loopback import is_loopback

EVERY = "*"
"""In a table of roles: every role that is not named."""
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
_ROLE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
MOST = 2_000
"""Characters of one address."""
_MAIL_SERVER = "use smtp://USER:PASSWORD@HOST:587, smtps:// for TLS from the start, smtp+plain:// for none"
_PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
_SIGNS = "whsec_"


@dataclass(frozen=True, kw_only=True)
class MailServer:
    """A mail server: `tls` from the beginning, by STARTTLS, or not at all."""

    host: str
    port: int
    tls: Literal["always", "starttls", "none"]
    user: str = ""
    password: str = field(default="", repr=False)


def is_mail(text: str) -> bool:
    """Whether a text is a plain mail address, without a name, comment or anything that could begin another header."""
    return _MAIL.fullmatch(text) is not None


def mail_server(text: str) -> MailServer | None:
    """`smtp://[user:password@]host[:587]`, `smtps://` or `smtp+plain://`; None for "". Raises ValueError."""
    if not text:
        return None
    parts, port = _split(text, _MAIL_SERVER)
    if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(_MAIL_SERVER)
    if parts.scheme == "smtp+plain" and parts.username:
        raise ValueError("a password is not sent without TLS: use smtp:// or smtps://")
    tls: Literal["always", "starttls", "none"] = "starttls"
    if parts.scheme != "smtp":
        tls = "always" if parts.scheme == "smtps" else "none"
    return MailServer(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        tls=tls,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def sender(text: str) -> str:
    """The address that mails come from. Raises ValueError."""
    if text and not is_mail(text):
        raise ValueError("use one address, such as tracker@clinic.example")
    return text


def mails_of_roles(text: str) -> Mapping[str, tuple[str, ...]]:
    """`rn=a@x.org b@x.org, provider=c@x.org`: role -> addresses. Raises ValueError."""
    found: dict[str, tuple[str, ...]] = {}
    for role, value in _entries(text):
        mails = tuple(dict.fromkeys(value.split()))
        if not mails or not all(is_mail(one) for one in mails):
            raise ValueError(f"{role} needs addresses such as nurses@clinic.example")
        found[role] = mails
    return found


def webhooks_of_roles(text: str) -> Mapping[str, str]:
    """`rn=https://chat.example/hook, *=https://...`: role -> address. Raises ValueError."""
    return {role: _webhook(role, value) for role, value in _entries(text)}


def _webhook(role: str, text: str) -> str:
    parts, port = _split(text, f"{role} needs an address such as https://chat.example.org/hook")
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
    if not is_safe or not parts.hostname or parts.username or parts.fragment or port == 0 or " " in text:
        raise ValueError(f"{role} needs an https address without user, such as https://chat.example.org/hook")
    return text


def _split(text: str, wanted: str) -> tuple[SplitResult, int | None]:
    """An address and its port. Raises ValueError saying what is `wanted`: Python's own words would tell a password."""
    if not text.isprintable() or len(text) > MOST or ".." in text.partition("://")[2].partition("/")[0]:
        raise ValueError(wanted)
    try:
        parts = urlsplit(text)
        return parts, parts.port
    except ValueError:
        raise ValueError(wanted) from None


def webhook_secret(text: str) -> str:
    """`whsec_` and base64 of at least 24 bytes (Standard Webhooks). Raises ValueError."""
    if not text:
        return ""
    try:
        key = base64.b64decode(text.removeprefix(_SIGNS), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(_SIGNS) or len(key) < 24:
        raise ValueError("use whsec_ and base64 of 24 to 64 random bytes")
    return text


def origins(text: str) -> tuple[str, ...]:
    """`https://app.example.org, http://localhost:3000`: origins as browsers write them. Raises ValueError."""
    wanted = "use origins such as https://app.example.org, parted by commas"
    found: list[str] = []
    for one in filter(None, (entry.strip() for entry in text.split(","))):
        parts, port = _split(one, wanted)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        if one != f"{parts.scheme}://{host}{f':{port}' if port else ''}" or parts.scheme not in ("http", "https"):
            raise ValueError(wanted)
        found.append(one)
    return tuple(dict.fromkeys(found))


def role_codes(text: str) -> Mapping[str, str]:
    """`SYSTEM|CODE=role, ...`: further codes of PractitionerRole and the roles they stand for. Raises ValueError."""
    found: dict[str, str] = {}
    for entry in filter(None, (one.strip() for one in text.split(","))):
        code, _, role = entry.rpartition("=")
        system, bar, bare = code.strip().partition("|")
        if not bar or not bare or not _ROLE.fullmatch(role.strip()):
            raise ValueError("use SYSTEM|CODE=role, such as http://snomed.info/sct|224535009=rn")
        found[f"{system.strip()}|{bare.strip()}"] = role.strip()
    return found


def _entries(text: str) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for entry in filter(None, (one.strip() for one in text.split(","))):
        role, equals, value = entry.partition("=")
        role = role.strip().removeprefix("role/")
        if not equals or not value.strip() or (role != EVERY and not _ROLE.fullmatch(role)):
            raise ValueError("use ROLE=ADDRESS, entries parted by commas; * for every other role")
        if role in found:
            raise ValueError(f"{role} is named twice")
        found[role] = value.strip()
    return list(found.items())
