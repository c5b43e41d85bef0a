"""Where a search page ended, as opaque text for a `next` link."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from fhir_tracker.errors import Incorrect

_CHECK_BYTES = 8
SortValue = int | float | str


@dataclass(frozen=True, kw_only=True)
class PageCursor:
    """The last row's sort values and `k`, and the fingerprint of the query that it belongs to."""

    query: str
    values: tuple[SortValue, ...]
    k: int

    def encode(self) -> str:
        """Text safe in a URL; a change to it is noticed, what it holds is not secret."""
        content = msgspec.json.encode([self.query, list(self.values), self.k])
        return urlsafe_b64encode(_check(content) + content).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> PageCursor:
        """The cursor that `encode` made into `text`; raises Incorrect for any other text."""
        try:
            raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            content = raw[_CHECK_BYTES:]
            if raw[:_CHECK_BYTES] != _check(content):
                raise Incorrect("The page link was changed or is not one of this server.")
            query, values, k = msgspec.json.decode(content, type=tuple[str, list[SortValue], int])
        except (UnicodeEncodeError, binascii.Error, msgspec.MsgspecError):
            raise Incorrect("The page link was changed or is not one of this server.") from None
        return cls(query=query, values=tuple(values), k=k)


def _check(content: bytes) -> bytes:
    return blake2b(content, digest_size=_CHECK_BYTES, person=b"search-page").digest()
