"""What a caller asks for besides the resource: format, preference, condition.

https://hl7.org/fhir/R4/http.html#mime-type
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

from fhir_tracker.errors import Incorrect, NotAcceptable, UnsupportedMediaType

_JSON_TYPES = frozenset({"application/fhir+json", "application/json", "text/json", "application/json+fhir"})
_JSON_FORMATS = _JSON_TYPES | {"json"}
_ANY = frozenset({"*/*", "application/*"})
_ETAG = re.compile(r'(?:W/)?"(?P<tag>[^"\x00-\x20\x7f]*)"')
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
RETURNS = ("minimal", "representation", "OperationOutcome")
NO_SUCH_VERSION = 0
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Preference:
    """The parts of Prefer we know: what a write returns, and whether unknown parameters are refused."""

    returned: str = "representation"
    strict: bool = False


def check_accepts(accept: str, formats: list[str]) -> None:
    """Raise NotAcceptable unless JSON is among what is wanted; `_format` goes before the Accept header."""
    for wanted in formats:
        if wanted.split(";")[0].strip().replace("fhir json", "fhir+json").lower() not in _JSON_FORMATS:
            raise NotAcceptable("Only JSON is served: use _format=json or Accept: application/fhir+json.")
    if formats or not accept:
        return
    for part in accept.split(","):
        name, *parameters = (text.strip().lower() for text in part.split(";"))
        refused = any(re.fullmatch(r"q=0(\.0{1,3})?", text) for text in parameters)
        if not refused and (name in _JSON_TYPES or name in _ANY) and _is_r4(parameters):
            return
    raise NotAcceptable("Only FHIR R4 JSON is served: use Accept: application/fhir+json.")


def check_content_type(content_type: str) -> None:
    """Raise UnsupportedMediaType unless the body is said to be FHIR JSON in UTF-8."""
    name, *parameters = (text.strip().lower() for text in content_type.split(";"))
    if name not in _JSON_TYPES or not _is_r4(parameters):
        raise UnsupportedMediaType("Send FHIR R4 JSON with Content-Type: application/fhir+json.")
    charset = next((text.partition("=")[2].strip('"') for text in parameters if text.startswith("charset=")), "utf-8")
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType("Send the body in UTF-8.")


def preference(prefer: str) -> Preference:
    """What a Prefer header asks for; what we do not know is ignored, as RFC 7240 says."""
    wanted: dict[str, str] = {}
    for part in re.split("[,;]", prefer):
        name, _, value = part.strip().partition("=")
        wanted.setdefault(name.strip().lower(), value.strip().strip('"'))
    returned = next((known for known in RETURNS if known.lower() == wanted.get("return", "").lower()), "representation")
    return Preference(returned=returned, strict=wanted.get("handling", "").lower() == "strict")


def if_match(text: str) -> int | None:
    """The version an If-Match header names, weak or strong; None without one, NO_SUCH_VERSION for a tag never given out.

    Raises Incorrect for what is not one entity tag.
    """
    if not text:
        return None
    match = _ETAG.fullmatch(text.strip())
    if match is None:
        raise Incorrect('If-Match is not one entity tag: use If-Match: W/"3".')
    return int(match["tag"]) if _VERSION.fullmatch(match["tag"]) else NO_SUCH_VERSION


def is_unchanged(etag: str, modified: datetime | None, if_none_match: str, if_modified_since: str) -> bool:
    """Whether a caller who has this already needs no body: by tag, else by time."""
    if if_none_match:
        tags = [text.strip().removeprefix("W/") for text in if_none_match.split(",")]
        return "*" in tags or etag.removeprefix("W/") in tags
    try:
        since = parsedate_to_datetime(if_modified_since) if if_modified_since and modified else None
    except ValueError:
        return False
    return since is not None and modified is not None and since.tzinfo is not None and modified < since + _SECOND


def etag_of(version: int) -> str:
    """The weak entity tag of a version."""
    return f'W/"{version}"'


def http_date(moment: datetime) -> str:
    """`moment` as HTTP writes dates."""
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def _is_r4(parameters: list[str]) -> bool:
    versions = [text.partition("=")[2].strip('" ') for text in parameters if text.startswith("fhirversion")]
    return all(version in ("4.0", "4.0.1") for version in versions)
