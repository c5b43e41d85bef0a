"""Which web pages may call the FHIR API from a browser: those of the origins that a person has named, and no cookie goes along.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

Headers = tuple[tuple[bytes, bytes], ...]
_SHOWN = b"Content-Location, ETag, Last-Modified, Location, Retry-After, X-Request-Id"
_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_ASKED = b"Accept, Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Exist, If-None-Match, Prefer, X-Request-Id"
_KEPT = b"600"
_VARY = (b"vary", b"Origin")


def is_of(origin: str, host: str) -> bool:
    """Whether an origin, as a browser sends it, is that of the server called `host`; not for what cannot be read."""
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


class Cors:
    """What is said to the pages of the `origins` that may call; without origins nothing is said to anybody."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = frozenset(origins)

    def on_answer(self, headers: Mapping[str, str]) -> Headers:
        """What goes on an answer to a request with these headers."""
        if not self._origins:
            return ()
        origin = headers.get("origin", "")
        if origin not in self._origins:
            return (_VARY,)
        return (
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", _SHOWN),
            _VARY,
        )

    def on_preflight(self, method: str, headers: Mapping[str, str]) -> Headers:
        """What answers a browser that asks first; nothing for any other request, and for pages of other origins."""
        asks = method == "OPTIONS" and "access-control-request-method" in headers
        if not asks or headers.get("origin", "") not in self._origins:
            return ()
        return (
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _ASKED),
            (b"access-control-max-age", _KEPT),
        )
