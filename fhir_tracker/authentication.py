"""How a connection shows who it is: which options belong to which kind, and what may not be among them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from fhir_tracker.errors import UsageError
from fhir_tracker.loopback import is_loopback

AUTH_KINDS = ("none", "basic", "bearer", "client_secret", "private_key_jwt")
TOKEN_KINDS = ("client_secret", "private_key_jwt")
_FLAGS = {
    "secret_file": "--secret-file",
    "client_id": "--client-id",
    "token_url": "--token-url",
    "scopes": "--scopes",
    "jku": "--jku",
}
_NEEDED = {
    "none": (),
    "basic": ("secret_file",),
    "bearer": ("secret_file",),
    "client_secret": ("client_id", "secret_file"),
    "private_key_jwt": ("client_id",),
}
_ALLOWED = {
    "client_secret": ("client_id", "secret_file", "token_url", "scopes"),
    "private_key_jwt": ("client_id", "token_url", "scopes", "jku"),
}
_WHY_NOT = {
    "none": "it shows nothing",
    "basic": "its secret file holds user:password",
    "bearer": "its secret file holds the token",
    "client_secret": "it signs nothing",
    "private_key_jwt": "it signs with a key of our own (fhir-tracker keys list)",
}
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")
_MOST_TEXT = 2000


def checked_authentication(options: Mapping[str, Any], base_url: str) -> None:
    """UsageError when the options of a connection to `base_url` do not say how to show who we are."""
    kind = options.get("auth", "none")
    if kind not in AUTH_KINDS:
        raise UsageError(f"--auth is one of {', '.join(AUTH_KINDS)}.")
    missing = [_FLAGS[name] for name in _NEEDED[kind] if not options.get(name)]
    if missing:
        raise UsageError(f"--auth {kind} needs {' and '.join(missing)}.")
    allowed = _ALLOWED.get(kind, _NEEDED[kind])
    others = [flag for name, flag in _FLAGS.items() if options.get(name) and name not in allowed]
    if others:
        raise UsageError(f"--auth {kind} takes no {' and no '.join(others)}: {_WHY_NOT[kind]}.")
    check_texts(options)
    for name in ("token_url", "jku"):
        if options.get(name) and not is_safe(str(options[name]), base_url):
            raise UsageError(f"{_FLAGS[name]} has to be an https address, without user, password or fragment.")


def is_safe(url: str, base_url: str) -> bool:
    """Whether credentials may go to `url`: over https, or plain http where the FHIR server itself is reached so."""
    try:
        parts, port = urlsplit(url), urlsplit(url).port
    except ValueError:
        return False
    schemes = ("http", "https") if urlsplit(base_url).scheme == "http" else ("https",)
    has_name = bool(parts.hostname) and not parts.username and not parts.password and not parts.fragment
    return parts.scheme in schemes and has_name and port != 0 and url.isascii() and url.isprintable() and " " not in url


def travels_openly(options: Mapping[str, Any], base_url: str) -> bool:
    """Whether a secret or token crosses a network unencrypted."""
    parts = urlsplit(base_url)
    return options.get("auth", "none") != "none" and parts.scheme == "http" and not is_loopback(parts.hostname)


def check_texts(options: Mapping[str, Any]) -> None:
    """UsageError when `client_id` or `scopes` among the options are not what can be sent."""
    client_id, scopes = str(options.get("client_id") or ""), str(options.get("scopes") or "")
    if not client_id.isprintable() or client_id != client_id.strip() or len(client_id) > _MOST_TEXT:
        raise UsageError("--client-id is one line of text without spaces around it.")
    if scopes and (not _SCOPE.fullmatch(scopes) or len(scopes) > _MOST_TEXT):
        raise UsageError(
            '--scopes is a list with single spaces between, such as "system/Patient.read system/Task.read".'
        )
