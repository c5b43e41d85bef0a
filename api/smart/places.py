"""The addresses of our own tokens, below the address of the server."""

from __future__ import annotations

TOKEN, INTROSPECT, REVOKE = "/auth/token", "/auth/introspect", "/auth/revoke"
