"""Ids made here, ids derived from an EHR's, and the hash that tells whether content changed."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable
from datetime import datetime

import msgspec

from fhir_tracker.fhir.body import encode_other
from fhir_tracker.fhir.dates import milliseconds
from fhir_tracker.fhir.json_types import Resource

LONGEST_ID = 64
_LEGAL = re.compile(r"[A-Za-z0-9\-.]{1,64}")


def is_legal_id(text: str) -> bool:
    """Whether `text` is a FHIR id: 1 to 64 of letters, digits, `-` and `.`."""
    return _LEGAL.fullmatch(text) is not None


def local_id(connection: str, remote_id: str, type_: str = "") -> str:
    """The id here of a resource that an EHR calls `remote_id`; a pure function, so references need no look-up.

    `<connection>-<remote id>` where that is a legal FHIR id, else `<connection>-` and a digest of all three arguments.
    Raises ValueError for a connection key that is not short (40 at most) and legal itself.
    """
    if not is_legal_id(connection) or len(connection) > 40:
        raise ValueError(f"connection key {connection!r} cannot begin an id")
    plain = f"{connection}-{remote_id}"
    if remote_id and is_legal_id(plain):
        return plain
    digest = hashlib.sha256("\x1f".join((connection, type_, remote_id)).encode("utf-8", "surrogatepass")).digest()
    text = base64.b32encode(digest).decode().rstrip("=").lower()
    return f"{connection}-{text}"[:LONGEST_ID]


def short_id(text: str) -> str:
    """`text` where it is no longer than an id may be, else its beginning and a digest of the whole."""
    if len(text) <= LONGEST_ID:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[: LONGEST_ID - len(digest) - 1]}-{digest}"


def new_id(now: datetime, random: Callable[[int], bytes] = os.urandom) -> str:
    """A UUIDv7 text: ids made later sort later, to the millisecond; `random(n)` gives n bytes."""
    value = (milliseconds(now) & (1 << 48) - 1) << 80 | int.from_bytes(random(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def content_hash(resource: Resource) -> str:
    """Hex SHA-256 of the content: key order, meta.versionId and meta.lastUpdated do not count, array order does."""
    content = resource
    meta = resource.get("meta")
    if isinstance(meta, dict):
        kept = {name: value for name, value in meta.items() if name not in {"versionId", "lastUpdated"}}
        content = {name: value for name, value in resource.items() if name != "meta"}
        if kept:
            content["meta"] = kept
    return hashlib.sha256(_ENCODER.encode(content)).hexdigest()


_ENCODER = msgspec.json.Encoder(enc_hook=encode_other, decimal_format="number", order="sorted")
