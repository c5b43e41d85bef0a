"""Bodies as they come off the wire, decompressed piece by piece so that a bomb is noticed before it fills the memory."""

from __future__ import annotations

import zlib

from fhir_tracker.errors import RemoteFailure


class Plain:
    """A body that is not compressed."""

    def feed(self, chunk: bytes, so_far: int) -> bytes:
        """What `chunk` holds; `so_far` bytes were decoded before it."""
        return chunk

    def finish(self) -> None:
        """After the last chunk; RemoteFailure when there should be more."""


class Gzip(Plain):
    """gzip or deflate, stopped one byte over `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._zlib = zlib.decompressobj(wbits=47)
        self._max = max_bytes
        self._fed = False

    def feed(self, chunk: bytes, so_far: int) -> bytes:
        """As Plain; RemoteFailure when the compression is damaged."""
        self._fed = True
        try:
            return self._zlib.decompress(chunk, self._max + 1 - so_far)
        except zlib.error:
            raise RemoteFailure("The answer's compression is damaged.") from None

    def finish(self) -> None:
        """As Plain."""
        if self._fed and not self._zlib.eof:
            raise RemoteFailure("The answer ended too early.")


def decoder(encoding: str, max_bytes: int) -> Plain:
    """The decoder for a Content-Encoding header; RemoteFailure for one that was not asked for."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return Plain()
    if name in ("gzip", "x-gzip", "deflate"):
        return Gzip(max_bytes)
    raise RemoteFailure("The answer has a compression that was not asked for.", permanent=True)
