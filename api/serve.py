"""`fhir-tracker serve` without its words: the listening socket, the server, and the end of both."""

from __future__ import annotations

import gc
import ipaddress
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from api.door import Server
from api.logs import collect_lines
from api.processes import Place
from fhir_tracker.errors import Conflict, UsageError

GRACE_SECONDS = 10
_SWITCH_SECONDS = 0.001


def is_local(host: str) -> bool:
    """Whether every address of `host` is this machine's own loopback. Raises UsageError for none of its addresses."""
    addresses = {str(info[4][0]).partition("%")[0] for info in _resolved(host, 0)}
    return all(ipaddress.ip_address(address).is_loopback for address in addresses)


def check_loopback(host: str) -> None:
    """Raise UsageError unless every address of `host` is this machine's own loopback."""
    if not is_local(host):
        raise UsageError(
            f"--open asks for no login, so it listens on this machine only: {host} is not a loopback address. "
            "Use --host 127.0.0.1."
        )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises Conflict when the port is taken, UsageError for a bad host."""
    family, _, _, _, address = _resolved(host, port)[0]
    try:
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise Conflict(f"Cannot listen on {host} port {port}: {error.strerror}. Choose another --port.") from None


def tls_of(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """TLS 1.2 and newer with the certificate chain and key of two PEM files; None for none. Raises UsageError."""
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise UsageError("--tls-cert and --tls-key belong together.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
        raise UsageError(
            f"--tls-cert and --tls-key cannot be used: {reason or 'they are no PEM certificate and its key'}."
        ) from None
    return context


def address_of(host: str, listening: socket.socket, scheme: str = "http") -> str:
    """The address under which this machine reaches the socket."""
    return f"{scheme}://{_to_call(host)}:{listening.getsockname()[1]}"


def _to_call(host: str) -> str:
    """A host as addresses have it; where every address of the machine is meant, its loopback."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    if found.is_unspecified:
        return "[::1]" if found.version == 6 else "127.0.0.1"
    return f"[{host}]" if found.version == 6 else host


def run_server(
    app: FastAPI, listening: socket.socket, place: Place, send_seconds: float, tls: ssl.SSLContext | None = None
) -> None:
    """Serve at a place until SIGTERM or SIGINT, then let requests under way finish for a while.

    A client may take nothing of its answer for `send_seconds`.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    collect_lines()
    _settle()
    with _quiet_signals():
        Server(config, place.tally, place.leash, send_seconds, tls).run(sockets=[listening])


def _settle() -> None:
    """What is there at the start stays: the garbage collector need not look at it again, nor run after every few requests.

    And no thread keeps the interpreter for longer than a small request takes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    sys.setswitchinterval(_SWITCH_SECONDS)


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """The server raises the signals it caught once more when it has ended; here they have done their work."""

    def ended(number: int, frame: FrameType | None) -> None:
        del number, frame

    before = {number: signal.signal(number, ended) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _resolved(host: str, port: int) -> list[tuple[socket.AddressFamily, int, int, str, tuple[str, int]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise UsageError(f"--host {host} is not an address of this machine.") from None
    return [(family, kind, proto, name, (str(to[0]), int(to[1]))) for family, kind, proto, name, to in found]
