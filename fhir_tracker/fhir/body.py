"""The one reader and writer of FHIR JSON bodies: hostile input is refused, digits and order are kept.

https://hl7.org/fhir/R4/json.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Never, cast

import msgspec

from fhir_tracker.errors import Incorrect, TooLarge
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.json_types import Exact, Json, Resource, kind

MAX_BYTES = 5_000_000
MAX_DEPTH = 64
MAX_DIGITS = 64
MAX_EXPONENT = 300

_BRACKETS = bytes.maketrans(b"[]", b"{}")
_NO_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_RISKY_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_BETWEEN_QUOTES = re.compile(rb'"[^"]*+"')
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def read_json(raw: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Json:
    """The JSON value in `raw` (UTF-8, no BOM): objects as dicts, fractions as `Exact`, integers as int.

    Raises TooLarge over `max_bytes`, and Incorrect for anything ambiguous or unsafe to store: bad UTF-8, nesting deeper
    than `max_depth`, a repeated key, NaN or Infinity, a lone surrogate, U+0000, a number out of range.
    """
    if len(raw) > max_bytes:
        raise TooLarge(f"The body has {len(raw)} bytes; the limit is {max_bytes}.")
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise Incorrect("The body starts with a byte order mark; send plain UTF-8.")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Incorrect(f"The body is not valid UTF-8 at byte {error.start}.") from None
    _check_depth(raw, max_depth)
    try:
        value: Json = _decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise Incorrect(f"The body is not valid JSON at {where}: {error.msg}.") from None
    except RecursionError:
        raise Incorrect(f"The body is nested deeper than {max_depth} levels.") from None
    if b"\\u" in raw and _RISKY_ESCAPE.search(raw):
        _check_characters(value, "")
    return value


def read_resource(raw: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Resource:
    """One FHIR resource: as `read_json`, and the top level is an object with a known `resourceType`."""
    value = read_json(raw, max_bytes=max_bytes, max_depth=max_depth)
    if type(value) is not dict:
        raise Incorrect(f"A FHIR resource is a JSON object; the body is {kind(value)}.")
    name = value.get("resourceType")
    if type(name) is not str:
        raise Incorrect("The body has no `resourceType` string.", expression="resourceType")
    if name not in resource_types():
        raise Incorrect("The `resourceType` is not one of FHIR R4.", expression="resourceType")
    return cast(Resource, value)


def read_stored(text: str) -> Resource:
    """A resource that was read and kept by us, whatever its size."""
    return read_resource(text.encode(), max_bytes=1 << 30)


def write_json(value: Json) -> str:
    """Compact JSON text of `value`, keys and items in order, numbers as they were read, nothing escaped to ASCII."""
    return _ENCODER.encode(value).decode()


def with_meta(
    resource: Resource,
    *,
    id: str,  # noqa: A002 - FHIR's own word
    version: str,
    last_updated: datetime,
    source: str | None = None,
) -> Resource:
    """A copy with `id` after `resourceType`, then `meta` with this version and instant; the rest is shared, unchanged.

    Other members of meta are kept; `source` replaces meta.source when given.
    """
    meta: Resource = {"versionId": version, "lastUpdated": instant(last_updated)}
    old = resource.get("meta")
    if isinstance(old, dict):
        meta |= {name: value for name, value in old.items() if name.lstrip("_") not in {"versionId", "lastUpdated"}}
    if source is not None:
        meta["source"] = source
    fresh = {"resourceType": resource["resourceType"], "id": id, "meta": meta}
    return fresh | {name: value for name, value in resource.items() if name not in fresh}


def _check_depth(raw: bytes, max_depth: int) -> None:
    if b"\\\\" in raw:
        plain = _STRING.sub(b"", raw)
    else:
        plain = raw.replace(b'\\"', b"") if b"\\" in raw else raw
    outline = plain.translate(_BRACKETS, _NO_STRUCTURE).replace(b'""', b"")
    if b'"' in outline:
        outline = _BETWEEN_QUOTES.sub(b"", outline).replace(b'"', b"")
    for _ in range(max_depth):
        shorter = outline.replace(b"{}", b"")
        if len(shorter) == len(outline):
            return
        outline = shorter
    if b"{}" in outline:
        raise Incorrect(f"The body is nested deeper than {max_depth} levels.")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        _refuse_duplicate([name for name, _ in pairs])
    return members


def _refuse_duplicate(names: list[str]) -> Never:
    name = next(name for index, name in enumerate(names) if name in names[:index])
    shown = f" `{name}`" if _PLAIN_NAME.fullmatch(name) else ""
    raise Incorrect(f"An object has the member{shown} more than once.")


def _integer(text: str) -> int | Exact:
    if len(text) > MAX_DIGITS:
        raise Incorrect(f"A number has more than {MAX_DIGITS} digits.")
    return Exact(text) if text == "-0" else int(text)


def _fraction(text: str) -> Exact:
    if len(text) > MAX_DIGITS:
        raise Incorrect(f"A number has more than {MAX_DIGITS} digits.")
    power = text.lower().partition("e")[2]
    if power and (len(power) > 5 or abs(int(power)) > MAX_EXPONENT):
        raise Incorrect(f"A number has an exponent beyond {MAX_EXPONENT}.")
    return Exact(text)


def _constant(text: str) -> Never:
    raise Incorrect(f"{text} is not a JSON number.")


def _check_characters(value: Json, path: str) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise Incorrect("A string holds the character U+0000.", expression=path or None)
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Incorrect("A string holds half of a surrogate pair.", expression=path or None) from None
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_characters(name, path)
            _check_characters(member, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_characters(item, f"{path}[{index}]")


def encode_other(value: object) -> msgspec.Raw:
    """What an encoder of msgspec writes for an Exact: its digits as they were read."""
    if isinstance(value, Exact):
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"{type(value).__name__} is not JSON")


_decode: Callable[[str], Json] = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_fraction, parse_int=_integer, parse_constant=_constant
).decode
_ENCODER = msgspec.json.Encoder(enc_hook=encode_other, decimal_format="number")
