"""What a caller asks for besides the resource: format, preference, condition.

https://hl7.org/fhir/R4/http.html#mime-type
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache

from fhir_tracker.errors import Incorrect, NotAcceptable, UnsupportedMediaType

_JSON_TYPES = frozenset({"application/fhir+json", "application/json", "text/json", "application/json+fhir"})
_JSON_FORMATS = _JSON_TYPES | {"json"}
_SERVED = "application/fhir+json"
_ANY = ("application/*", "*/*")
_REFUSED = re.compile(r"q=0(\.0{0,3})?")
_TAG = r'(?:W/)?"[^"\x00-\x20\x7f]*"'
_ETAG = re.compile(r'(?:W/)?"(?P<tag>[^"\x00-\x20\x7f]*)"')
_LIST = re.compile(rf"{_TAG}(?:\s*,\s*{_TAG})*")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
RETURNS = ("minimal", "representation", "OperationOutcome")


@dataclass(frozen=True, kw_only=True)
class Preference:
    """The parts of Prefer we know: what a write returns, and whether unknown parameters are refused."""

    returned: str = "representation"
    strict: bool = False


@dataclass(frozen=True, kw_only=True)
class IfMatch:
    """What If-Match asks for: that the resource is there, or that its present version is one of these."""

    anything: bool = False
    versions: frozenset[int] = frozenset()


def check_accepts(accept: str, formats: list[str]) -> None:
    """Raise NotAcceptable unless FHIR JSON is among what is wanted; `_format` goes before the Accept header."""
    for wanted in formats:
        name, *parameters = (text.strip().lower() for text in wanted.split(";"))
        if name.replace(" ", "+") not in _JSON_FORMATS or not _is_r4(parameters):
            raise NotAcceptable("Only JSON is served: use _format=json or Accept: application/fhir+json.")
    if not formats and accept and not accepts_json(accept):
        raise NotAcceptable("Only FHIR R4 JSON is served: use Accept: application/fhir+json.")


@lru_cache(maxsize=256)
def accepts_json(accept: str) -> bool:
    """Whether an Accept header allows FHIR R4 JSON; what names a type more closely goes before what names it by `*`."""
    allowed = _allowed(accept)
    if any(allowed.get(name) for name in _JSON_TYPES):
        return True
    ranges = (_SERVED, *_ANY)
    return next((allowed[name] for name in ranges if name in allowed), False)


def names_json(accept: str) -> bool:
    """Whether an Accept header allows FHIR R4 JSON by one of its names, and not only by `*`."""
    allowed = _allowed(accept)
    return any(allowed.get(name) for name in _JSON_TYPES)


def _allowed(accept: str) -> dict[str, bool]:
    """Media range -> whether it is wanted, of those that are not of another version of FHIR."""
    allowed: dict[str, bool] = {}
    for part in accept.split(","):
        name, *parameters = (text.strip().lower() for text in part.split(";"))
        if _is_r4(parameters):
            allowed[name] = allowed.get(name, False) or not any(_REFUSED.fullmatch(text) for text in parameters)
    return allowed


def is_json_type(content_type: str) -> bool:
    """Whether a Content-Type names JSON, FHIR's or any."""
    return content_type.partition(";")[0].strip().lower() in _JSON_TYPES


def check_content_type(content_type: str) -> None:
    """Raise UnsupportedMediaType unless the body is said to be FHIR JSON in UTF-8."""
    name, *parameters = (text.strip().lower() for text in content_type.split(";"))
    if name not in _JSON_TYPES or not _is_r4(parameters):
        raise UnsupportedMediaType("Send FHIR R4 JSON with Content-Type: application/fhir+json.")
    charset = next((text.partition("=")[2].strip('"') for text in parameters if text.startswith("charset=")), "utf-8")
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType("Send the body in UTF-8.")


@lru_cache(maxsize=256)
def preference(prefer: str) -> Preference:
    """What a Prefer header asks for; what we do not know is ignored, as RFC 7240 says."""
    wanted: dict[str, str] = {}
    for part in re.split("[,;]", prefer):
        name, _, value = part.strip().partition("=")
        wanted.setdefault(name.strip().lower(), value.strip().strip('"'))
    returned = next((known for known in RETURNS if known.lower() == wanted.get("return", "").lower()), "representation")
    return Preference(returned=returned, strict=wanted.get("handling", "").lower() == "strict")


def if_match(text: str) -> IfMatch | None:
    """What an If-Match header names: `*`, or entity tags, weak or strong; None without one.

    A tag that this server never gives out is a version that is never present. Raises Incorrect for what is none.
    """
    if not text:
        return None
    if text.strip() == "*":
        return IfMatch(anything=True)
    parts = _LIST.fullmatch(text.strip())
    if parts is None:
        raise Incorrect('If-Match is neither * nor a list of entity tags: use If-Match: W/"3".')
    tags = [match["tag"] for match in _ETAG.finditer(text)]
    return IfMatch(versions=frozenset(int(tag) for tag in tags if _VERSION.fullmatch(tag)))


def is_unchanged(etag: str, modified: datetime | None, if_none_match: str, if_modified_since: str) -> bool:
    """Whether a caller who has this already needs no body: by tag, else by time."""
    if if_none_match:
        tags = [text.strip().removeprefix("W/") for text in if_none_match.split(",")]
        return "*" in tags or etag.removeprefix("W/") in tags
    try:
        since = parsedate_to_datetime(if_modified_since) if if_modified_since and modified else None
    except ValueError:
        return False
    if since is None or modified is None or since.tzinfo is None:
        return False
    return modified.replace(microsecond=0) <= since


def etag_of(version: int) -> str:
    """The weak entity tag of a version."""
    return f'W/"{version}"'


def http_date(moment: datetime) -> str:
    """`moment` as HTTP writes dates."""
    return _http_date(int(moment.timestamp()))


@lru_cache(maxsize=1024)
def _http_date(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


def _is_r4(parameters: list[str]) -> bool:
    versions = [text.partition("=")[2].strip('" ') for text in parameters if text.startswith("fhirversion")]
    return all(version in ("4.0", "4.0.1") for version in versions)
