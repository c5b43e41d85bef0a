"""Where requests of ours may go: every address is judged at the connection itself, so that no name can lead elsewhere.

https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpcore
import httpx

from fhir_tracker.errors import RemoteFailure
from fhir_tracker.loopback import is_loopback

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Origin = tuple[str, str, int]
Resolve = Callable[[str, int], Sequence[str]]
PORTS = frozenset({443, 4443, 8443, 9443})
"""Where a server that no person has named may listen."""
NOT_PERMITTED = "not a permitted address"
NOT_FOUND_IN_TIME = "the name was not found in time"
_IDLE = 5.0
"""Seconds that a connection is kept for the next request."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"),
    )
)
"""Where clouds hand out credentials to whoever asks from inside."""
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
_TUNNELS = tuple(map(ipaddress.ip_network, ("2002::/16", "2001::/32", "64:ff9b:1::/48", "::/96")))
_UNUSED = tuple(map(ipaddress.ip_network, ("fec0::/10", "3fff::/20", "192.88.99.0/24")))
"""What the library takes for public: networks that were private once, those of documents, and the way into 6to4."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Where the requests of one caller may go.

    To the origins that a person has `named`, also on private networks; to any other only by https, on the usual ports, at a
    public address. Loopback is for those whose own host is loopback; the metadata services of clouds are for nobody.
    """

    named: frozenset[Origin] = frozenset()

    def also(self, *urls: str) -> Reach:
        """This, and the origins of further addresses that a person has named."""
        return Reach(named=self.named | reach_of(*urls).named)

    def permits(self, url: str) -> bool:
        """Whether an address may be asked at all, before its name is looked up; what it leads to is judged later."""
        try:
            return self._permits(origin(url))
        except RemoteFailure:
            return False

    def check(self, url: str) -> None:
        """RemoteFailure (permanent) for an address that `permits` refuses."""
        if not self.permits(url):
            raise RemoteFailure(
                "The server points to an address that is not asked: only https on the usual ports is, unless a person "
                "has named the address.",
                permanent=True,
            )

    def takes(self, host: str, port: int, address: str) -> bool:
        """Whether a connection for `host` may be made to the IP `address` that its name leads to."""
        found = _plain(address)
        if found is None or found in _METADATA:
            return False
        if found.is_loopback or is_loopback(host):
            return found.is_loopback and is_loopback(host) and self._knows_loopback
        if (host, port) in {(name, number) for _, name, number in self.named} and any(found in one for one in _PRIVATE):
            return True
        is_public = found.is_global and not found.is_multicast and not found.is_reserved
        return is_public and not any(found in one for one in _UNUSED)

    @property
    def _knows_loopback(self) -> bool:
        return any(is_loopback(host) for _, host, _ in self.named)

    def _permits(self, asked: Origin) -> bool:
        scheme, host, port = asked
        if asked in self.named or (is_loopback(host) and self._knows_loopback):
            return True
        return scheme == "https" and port in PORTS


PUBLIC = Reach()
"""For addresses that nobody of the practice has named."""


def reach_of(*urls: str) -> Reach:
    """Where those may go who were given these addresses by a person; "" is none. RemoteFailure for one that is no address."""
    return Reach(named=frozenset(origin(url) for url in urls if url))


def origin(url: str) -> Origin:
    """Scheme, host and port of an absolute http(s) address, defaults filled in; RemoteFailure for any other."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise RemoteFailure("The server sent an address that cannot be read.", permanent=True) from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise RemoteFailure("The server sent an address that is not http or https.", permanent=True)
    return parts.scheme, parts.hostname.lower(), _DEFAULT_PORTS[parts.scheme] if port is None else port


def joined(base: str, address: str) -> str:
    """An address as a server writes it, seen from where it was written; RemoteFailure for one that cannot be read."""
    if not is_readable(address):
        raise RemoteFailure("The server sent an address that cannot be read.", permanent=True)
    return urljoin(base, address)


def is_readable(address: str) -> bool:
    """Whether an address, whole or not, has the form of one."""
    try:
        urlsplit(address)
    except ValueError:
        return False
    return True


def client(reach: Reach, *, timeout: httpx.Timeout | float, resolve: Resolve | None = None) -> httpx.Client:
    """A client that goes nowhere else: no proxies, no redirects, names looked up and judged at each connection."""
    transport = _Transport(reach, resolve or _resolve)
    return httpx.Client(timeout=timeout, follow_redirects=False, trust_env=False, transport=transport)


class _Transport(httpx.HTTPTransport):
    """httpx's own transport over connections that are judged."""

    def __init__(self, reach: Reach, resolve: Resolve) -> None:
        super().__init__(verify=_tls(), trust_env=False)
        self._reach = reach
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(), keepalive_expiry=_IDLE, network_backend=_Backend(reach, resolve)
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._reach.check(str(request.url))
        return super().handle_request(request)


class _Backend(httpcore.NetworkBackend):
    """Connects to what a name leads to now, and to nothing that it may lead to a moment later."""

    def __init__(self, reach: Reach, resolve: Resolve) -> None:
        self._reach = reach
        self._resolve = resolve
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = list(dict.fromkeys(_in_time(self._resolve, host, port, timeout)))
        if not addresses or not all(self._reach.takes(host.lower(), port, one) for one in addresses):
            raise httpcore.ConnectError(NOT_PERMITTED)
        for number, address in enumerate(addresses, start=1):
            try:
                return self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise httpcore.ConnectError(NOT_PERMITTED)


def _in_time(resolve: Resolve, host: str, port: int, seconds: float | None) -> Sequence[str]:
    """What a name leads to, looked up in a thread of its own: the machine's look-up takes as long as its servers let it."""
    found: list[Sequence[str] | httpcore.ConnectError] = []

    def look_up() -> None:
        try:
            found.append(resolve(host, port))
        except httpcore.ConnectError as error:
            found.append(error)

    looking = threading.Thread(target=look_up, name="look-up", daemon=True)
    looking.start()
    looking.join(seconds)
    if not found:
        raise httpcore.ConnectTimeout(NOT_FOUND_IN_TIME)
    if isinstance(found[0], httpcore.ConnectError):
        raise found[0]
    return found[0]


def _resolve(host: str, port: int) -> Sequence[str]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(str(error)) from None
    return [str(address[0]) for *_, address in found]


def _plain(address: str) -> IpAddress | None:
    """An address with what is only a way of writing IPv4 undone; None for what is none, and for a tunnel to elsewhere."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return found.ipv4_mapped
        if found in _TRANSLATED:
            return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if not found.is_loopback and any(found in one for one in _TUNNELS):
            return None
    return found


@functools.cache
def _tls() -> ssl.SSLContext:
    """Certificates are checked against the system's or certifi's authorities; nothing before TLS 1.2."""
    context = httpx.create_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
