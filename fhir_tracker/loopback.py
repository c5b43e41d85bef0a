"""Which addresses are this machine itself, so that what goes there crosses no network."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str | None) -> bool:
    """Whether a host as written in an address is this machine: `localhost`, or a plain IP address of loopback.

    Names that lead to loopback are not, and neither are numbers that only some programs take for an address (`127.1`).
    """
    if host is None or host.lower() == "localhost":
        return host is not None
    try:
        found = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    plain = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (plain or found).is_loopback


def leads_here(url: str) -> bool:
    """Whether the host of an address is this machine; not for what cannot be read as an address."""
    try:
        return is_loopback(urlsplit(url).hostname)
    except ValueError:
        return False
