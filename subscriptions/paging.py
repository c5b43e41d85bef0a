"""Guards against paging that does not end: loops, pages that repeat, empty pages that point on."""

from __future__ import annotations

import hashlib

from fhir_tracker.errors import RemoteFailure
from subscriptions.bundles import Entry, Page

EMPTY_PAGES = 5
REPEATED_PAGES = 3


class PagingGuard:
    """Watches the pages of one pass in one process; raises RemoteFailure (permanent) when they lead nowhere."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._urls: set[bytes] = set()
        self._pages: set[bytes] = set()
        self._empty = 0
        self._repeated = 0

    def check(self, url: str, page: Page) -> None:
        """Judge `page`, just read from `url`, before anything of it is believed to lead on."""
        self._urls.add(_digest(url.encode()))
        if page.next_url is None:
            return
        if _digest(page.next_url.encode()) in self._urls:
            raise RemoteFailure("The server's pages go round in a circle.", permanent=True)
        if len(self._urls) >= self._cap:
            raise RemoteFailure(f"The server's pages did not end after {self._cap}.", permanent=True)
        self._empty = 0 if page.entries else self._empty + 1
        content = _digest(b"\0".join(_told(entry) for entry in page.entries))
        self._repeated = self._repeated + 1 if page.entries and content in self._pages else 0
        self._pages.add(content)
        if self._empty >= EMPTY_PAGES:
            raise RemoteFailure("The server sends empty pages that point on and on.", permanent=True)
        if self._repeated >= REPEATED_PAGES:
            raise RemoteFailure("The server sends the same page again and again.", permanent=True)


def _told(entry: Entry) -> bytes:
    """All that an entry says: deletions of one resource in its history differ by version and moment alone."""
    about = f"{entry.method} {entry.location} {entry.etag} {entry.modified} "
    return about.encode("utf-8", "replace") + entry.raw


def _digest(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=12).digest()
