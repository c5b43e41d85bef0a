"""Bodies packed with gzip, on the way in within a limit and on the way out where the caller takes it; answers in lines.

https://hl7.org/fhir/R4/http.html#compression
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from fhir_tracker.errors import Incorrect, TooLarge, UnsupportedMediaType

SMALLEST = 1024
"""Bytes below which packing costs more than it saves."""
_LEVEL = 1
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_NAMES = frozenset({"gzip", "x-gzip"})
_PLAIN: Mapping[str, str] = {}
_VARIES: Mapping[str, str] = {"Vary": "Accept-Encoding"}
_PACKED: Mapping[str, str] = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
_QUALITY = re.compile(r"q=(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def decoded(body: bytes, content_encoding: str, limit: int) -> bytes:
    """The body as it was before packing, at most `limit` bytes of it are ever held.

    Raises UnsupportedMediaType for another encoding than gzip, TooLarge for what unpacks to more than `limit` bytes,
    Incorrect for what is not gzip or ends early.
    """
    name = content_encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in _NAMES:
        raise UnsupportedMediaType("Send the body plain or with Content-Encoding: gzip.")
    parts: list[bytes] = []
    size = 0
    rest = body
    while rest:
        member = zlib.decompressobj(_GZIP_WINDOW)
        try:
            parts.append(member.decompress(rest, limit + 1 - size))
        except zlib.error:
            raise Incorrect("The body is not gzip, as its Content-Encoding says it is.") from None
        size += len(parts[-1])
        if size > limit:
            raise TooLarge(f"The body unpacks to more than {limit} bytes, which is the limit.")
        if not member.eof:
            raise Incorrect("The gzip body ends too early.")
        rest = member.unused_data
    return b"".join(parts)


def encoded(body: bytes, accept_encoding: str) -> tuple[bytes, Mapping[str, str]]:
    """The body as the caller takes it, with the headers that say so; what is under SMALLEST bytes stays plain."""
    if len(body) < SMALLEST:
        return body, _PLAIN
    if not takes_gzip(accept_encoding):
        return body, _VARIES
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return packer.compress(body) + packer.flush(), _PACKED


def pretty(body: bytes, wanted: Sequence[str]) -> bytes:
    """The JSON text in indented lines when the values of `_pretty` end with true; its numbers stay as they are written."""
    return msgspec.json.format(body, indent=2) if body and list(wanted[-1:]) == ["true"] else body


@lru_cache(maxsize=256)
def takes_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip: named itself, or else by `*`; not with `q=0` or a q that is none."""
    allowed: dict[str, bool] = {}
    for part in accept_encoding.split(","):
        name, *parameters = (text.strip().lower() for text in part.split(";"))
        allowed[name] = all(_QUALITY.fullmatch(text) and float(text[2:]) > 0 for text in parameters)
    named = [allowed[name] for name in _NAMES if name in allowed]
    return any(named) if named else allowed.get("*", False)
