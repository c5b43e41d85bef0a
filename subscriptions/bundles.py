"""Pages of search and history results: the envelope is checked, each entry is cut out byte for byte and judged alone.

https://hl7.org/fhir/R4/bundle.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

import msgspec

from fhir_tracker.errors import Incorrect, RemoteFailure
from fhir_tracker.fhir.dates import parse_datetime
from subscriptions.client import JSON_TYPES, Answer
from subscriptions.outbound import is_readable, joined
from subscriptions.slices import items, members

_HINTS = {
    401: "it refused our credentials; fhir-tracker connection test says what it has to know of us",
    403: "our credentials do not allow this",
    404: "it has nothing at this address; check the base URL",
    429: "it asks us to slow down",
}
_EXPIRED = frozenset({"4113"})
"""Epic's code for a paging session that is over."""
_CODE = re.compile(r"[A-Za-z0-9.\-]{1,40}")
_NOTHING_FOUND = frozenset({"4101"})  # Epic
_PARTIAL = frozenset(
    {"incomplete", "timeout", "throttled", "too-costly", "transient", "exception", "4119", "4127", "59133"}
)
"""R4's codes and Epic's for an answer that should hold more than it does."""
_FAILED = frozenset({"error", "fatal"})
LONGEST_TOLD = 1000
_HAPI_CODE = re.compile(r"HAPI-\d{4}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry. `raw` is the resource exactly as sent (b"" when there is none); `problem` says why it cannot be used."""

    raw: bytes = field(default=b"", repr=False)
    mode: str = ""
    method: str = ""
    location: str = ""
    etag: str = ""
    modified: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page; `as_of` is the server's own idea of the moment it describes, `self_url` what it says it searched for."""

    entries: tuple[Entry, ...]
    next_url: str | None
    self_url: str
    as_of: datetime | None
    served_at: datetime | None


def read_page(answer: Answer, kind: str) -> Page:
    """The Bundle of type `kind` (searchset or history) in `answer`; RemoteFailure when it is anything else."""
    bundle = read_object(answer)
    if _text(bundle.get("resourceType")) != "Bundle":
        raise RemoteFailure(f"The server answered with no Bundle{_outcome(answer.body)}.", permanent=True)
    if _text(bundle.get("type")) != kind:
        raise RemoteFailure(f"The server answered with a Bundle that is not a {kind}.", permanent=True)
    links = _links(bundle)
    following, itself = links.get("next", ""), links.get("self", "")
    return Page(
        entries=tuple(_entry(raw) for raw in _list(bundle.get("entry"), "entry")),
        next_url=joined(answer.url, following) if following else None,
        self_url=itself if is_readable(itself) else "",
        as_of=_as_of(bundle, answer),
        served_at=answer.served_at,
    )


def read_entries(raw: bytes) -> tuple[Entry, ...]:
    """The entries of the Bundle in `raw`, none when it is something else; for what is found in files."""
    try:
        return tuple(_entry(one) for one in items(members(raw).get("entry", b"[]")))
    except ValueError:
        return ()


def read_object(answer: Answer) -> dict[str, bytes]:
    """The members of the JSON object in a 2xx answer, their text untouched; RemoteFailure for every other answer."""
    if answer.status != 200:
        refuse(answer)
    if answer.content_type not in JSON_TYPES:
        shown = answer.content_type if re.fullmatch(r"[\w.+/-]{1,60}", answer.content_type) else "no content type"
        raise RemoteFailure(
            f"The server answered with {shown} instead of FHIR JSON; is it a login page?", permanent=True
        )
    try:
        return members(answer.body)
    except ValueError:
        raise RemoteFailure("The answer is not complete JSON.") from None


def refuse(answer: Answer) -> NoReturn:
    """Raise the RemoteFailure that an answer other than 200 means."""
    said = ""
    if answer.content_type in JSON_TYPES:
        said = _outcome(answer.body)
    hint = _HINTS.get(answer.status)
    raise RemoteFailure(
        f"The server answered {answer.status}{said}" + (f": {hint}." if hint else "."),
        permanent=400 <= answer.status < 500 and answer.status not in (401, 408, 425, 429),
        retry_after=answer.retry_after,
        auth=answer.status == 401,
        said=_told(answer.body) if said else "",
    )


def is_outcome(entry: Entry) -> bool:
    """Whether the entry is a word from the server about its answer rather than a part of it."""
    if entry.mode == "outcome":
        return True
    return b"OperationOutcome" in entry.raw and _object(entry.raw).get("resourceType") == "OperationOutcome"


def says_nothing_found(entry: Entry) -> bool:
    """Whether a word from the server only says that nothing was found, which makes its answer no less whole."""
    return bool(_NOTHING_FOUND & set(outcome_codes(entry.raw).split()))


def says_partial(entry: Entry) -> bool:
    """Whether a word from the server says that its answer should hold more than it does."""
    if _PARTIAL & set(outcome_codes(entry.raw).split()):
        return True
    issues = _object(entry.raw).get("issue")
    found = issues if isinstance(issues, list) else []
    return not says_nothing_found(entry) and any(
        isinstance(one, dict) and str(one.get("severity")) in _FAILED for one in found
    )


def link_expired(answer: Answer) -> bool:
    """Whether what was asked for by a paging link is not kept any more: 404 and 410, or Epic's word for it."""
    if answer.status in (404, 410):
        return True
    return 400 <= answer.status < 500 and bool(_EXPIRED & set(outcome_codes(answer.body).split()))


def outcome_codes(raw: bytes) -> str:
    """The codes of an OperationOutcome, such as `processing HAPI-0417`; its free text may name a patient and is left out."""
    issues = _object(raw).get("issue")
    codes: list[str] = []
    for issue in issues if isinstance(issues, list) else []:
        if isinstance(issue, dict):
            codes += _issue_codes(issue)
    return " ".join(dict.fromkeys(codes[:6]))


def _told(raw: bytes) -> str:
    """The free text of an OperationOutcome, issue by issue; it may name a patient."""
    issues = _object(raw).get("issue")
    told: list[str] = []
    for issue in issues if isinstance(issues, list) else []:
        if isinstance(issue, dict):
            details = issue.get("details")
            text = details.get("text") if isinstance(details, dict) else None
            where = issue.get("expression") or issue.get("location")
            parts = [text, issue.get("diagnostics"), *(where if isinstance(where, list) else [])]
            told.append(", ".join(dict.fromkeys(part for part in parts if isinstance(part, str) and part)))
    return "; ".join(filter(None, told))[:LONGEST_TOLD]


def _issue_codes(issue: dict[str, Any]) -> list[str]:
    found = [issue.get("code")]
    details = issue.get("details")
    codings = details.get("coding") if isinstance(details, dict) else None
    found += [coding.get("code") for coding in codings or [] if isinstance(coding, dict)] if codings else []
    diagnostics = issue.get("diagnostics")
    found += _HAPI_CODE.findall(diagnostics) if isinstance(diagnostics, str) else []
    return [code for code in found if isinstance(code, str) and _CODE.fullmatch(code)]


def _outcome(body: bytes) -> str:
    if _object(body).get("resourceType") != "OperationOutcome":
        return ""
    codes = outcome_codes(body)
    return f" (OperationOutcome {codes})" if codes else " (OperationOutcome)"


def _entry(raw: bytes) -> Entry:
    try:
        parts = members(raw)
    except ValueError:
        return Entry(raw=raw, problem="the entry is not an object")
    search, request, response = (_object(parts.get(name)) for name in ("search", "request", "response"))
    return Entry(
        raw=parts.get("resource", b""),
        mode=_string(search.get("mode")),
        method=_string(request.get("method")).upper(),
        location=_string(request.get("url")) or _text(parts.get("fullUrl")),
        etag=_string(response.get("etag")),
        modified=_string(response.get("lastModified")),
    )


def _links(bundle: dict[str, bytes]) -> dict[str, str]:
    links: dict[str, str] = {}
    for raw in _list(bundle.get("link"), "link"):
        link = _object(raw)
        relation, url = _string(link.get("relation")), _string(link.get("url"))
        if relation:
            links.setdefault(relation, url)
    return links


def _as_of(bundle: dict[str, bytes], answer: Answer) -> datetime | None:
    stamped = _string(_object(bundle.get("meta")).get("lastUpdated"))
    try:
        told = parse_datetime(stamped) if stamped else None
    except Incorrect:
        told = None
    if told is None or answer.served_at is None:
        return told or answer.served_at
    return min(told, answer.served_at)


def _list(raw: bytes | None, name: str) -> list[bytes]:
    if raw is None:
        return []
    try:
        return items(raw)
    except ValueError:
        raise RemoteFailure(f"Bundle.{name} is not a list.", permanent=True) from None


def _value(raw: bytes | None) -> Any:
    try:
        return None if raw is None else msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _object(raw: bytes | None) -> dict[str, Any]:
    value = _value(raw)
    return value if isinstance(value, dict) else {}


def _text(raw: bytes | None) -> str:
    return _string(_value(raw))


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
