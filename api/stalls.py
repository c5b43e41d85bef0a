"""Connections whose client takes nothing of its answer any more: they are ended, since each would be held for ever."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Iterable


class Stalls:
    """What each connection still had to send when one looked last, and since when that is the same.

    `seconds` is how long a client may take nothing.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: dict[asyncio.Transport, tuple[int, float]] = {}

    def look(self, transports: Iterable[asyncio.Transport], now: float) -> int:
        """End those that have waited too long at `now`, a monotonic clock; the number of them."""
        before, self._waiting = self._waiting, {}
        ended = 0
        for transport in list(transports):
            left = transport.get_write_buffer_size()
            if not left:
                continue
            left += _unread(transport)
            last, since = before.get(transport, (left, now))
            if left != last:
                since = now
            if now - since < self._seconds:
                self._waiting[transport] = left, since
            else:
                transport.abort()
                ended += 1
        return ended


def _unread(transport: asyncio.Transport) -> int:
    """The bytes that the system has taken and the client has not; 0 where the system does not tell."""
    one: socket.socket | None = transport.get_extra_info("socket")
    if one is None:
        return 0
    try:
        return int(struct.unpack("i", fcntl.ioctl(one.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    except OSError:
        return 0
