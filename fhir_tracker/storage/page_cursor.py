"""Where a search page ended or began, as opaque text for a `next` or `previous` link."""

from __future__ import annotations

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from fhir_tracker.errors import Incorrect

_CHECK_BYTES = 16
_PURPOSE = b"search-page"
_REFUSED = "The page link was changed or is not one of this server."
SortValue = int | float | str


@dataclass(frozen=True, kw_only=True)
class PageCursor:
    """A row's sort values and `k`, and the fingerprint of the query that it belongs to.

    The page is of what comes after that row, or with `back` before it. `at` is the moment, in milliseconds since 1970, that
    a walk with approximate dates began; 0 where that does not matter.
    """

    query: str
    values: tuple[SortValue, ...]
    k: int
    back: bool = False
    at: int = 0

    def encode(self, key: bytes) -> str:
        """Text safe in a URL, signed with the server's secret `key`; what it holds is not secret."""
        content = msgspec.json.encode([self.query, list(self.values), self.k, self.back, self.at])
        return urlsafe_b64encode(_signature(content, key) + content).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, key: bytes) -> PageCursor:
        """The cursor that `encode` with the same `key` made into `text`; raises Incorrect for any other text."""
        try:
            raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            content = raw[_CHECK_BYTES:]
            if not hmac.compare_digest(raw[:_CHECK_BYTES], _signature(content, key)):
                raise Incorrect(_REFUSED)
            query, values, k, back, at = msgspec.json.decode(content, type=tuple[str, list[SortValue], int, bool, int])
        except (UnicodeEncodeError, binascii.Error, msgspec.MsgspecError):
            raise Incorrect(_REFUSED) from None
        return cls(query=query, values=tuple(values), k=k, back=back, at=at)


def _signature(content: bytes, key: bytes) -> bytes:
    """BLAKE2's own keyed mode, which takes up to 64 bytes: a longer key is digested first."""
    short = key if len(key) <= 64 else blake2b(key).digest()
    return blake2b(content, digest_size=_CHECK_BYTES, key=short, person=_PURPOSE).digest()
