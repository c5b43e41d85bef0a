"""The Authorization header of a connection, read from its secret file when it is needed and never kept elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from fhir_tracker.errors import UsageError


def authorization(options: Mapping[str, Any]) -> str | None:
    """The header value for `options` (`auth`: none, basic or bearer; `secret_file`: a path), or None for none.

    A basic secret file holds `user:password`, a bearer one the token. Raises UsageError when it cannot be used.
    """
    kind = str(options.get("auth", "none"))
    if kind == "none":
        return None
    secret = read_secret(str(options.get("secret_file", "")))
    if kind == "bearer":
        return f"Bearer {secret}"
    if ":" not in secret:
        raise UsageError("The secret file for basic authentication has to hold user:password.")
    return f"Basic {base64.b64encode(secret.encode()).decode()}"


def client_header(client_id: str, secret: str) -> str:
    """The header of a client with a secret, both encoded as RFC 6749 has it."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def read_secret(path: str, what: str = "The connection's secret file") -> str:
    """The one line of a secret file; UsageError, which shows neither, when it cannot be read or is no line of text."""
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{what} cannot be read.") from None
    if not secret or not secret.isprintable():
        raise UsageError(f"{what} has to hold one line of text.")
    return secret
