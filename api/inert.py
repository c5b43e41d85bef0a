"""Headers of every answer that has none of its own by these names: no cache keeps it, and shown by a browser it does nothing."""

from __future__ import annotations

ON_ALL = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
)
"""Pages bring a policy of their own, data and refusals need none that lets anything be."""
