"""The answer to a transaction or batch, joined from the answers to its entries without parsing them.

https://hl7.org/fhir/R4/http.html#transaction-response
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from api.fhir.exchange import FhirResponse
from api.fhir.negotiation import Preference
from api.outcomes import outcome
from fhir_tracker.errors import Conflict, Incorrect, Issue, NotFound, PreconditionFailed, RuleBroken, TrackerError
from fhir_tracker.fhir.body import read_json, write_json
from fhir_tracker.fhir.dates import instant

LARGEST_ANSWER = 50_000_000
"""Bytes that the resources in one answer may have together; entries that only read are refused beyond."""

_STAMP = re.compile(rb'\{"resourceType":"[A-Za-z]+","id":"[^"]+","meta":\{"versionId":"[0-9]+","lastUpdated":"([^"]+)"')

_ERRORS: dict[int, type[TrackerError]] = {
    400: Incorrect,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    422: RuleBroken,
}


def joined(type_: str, entries: Iterable[bytes]) -> FhirResponse:
    """The Bundle of `type_` with these entries, in this order."""
    texts = b",".join(entries)
    tail = b',"entry":[' + texts + b"]" if texts else b""
    return FhirResponse(status=200, body=b'{"resourceType":"Bundle","type":"' + type_.encode() + b'"' + tail + b"}")


def entry_text(full_url: str, method: str, response: FhirResponse, wanted: Preference) -> bytes:
    """One entry of the answer: the resource as the caller prefers, or the outcome of what failed.

    `full_url` is the address of the resource that was read, or "".
    """
    told: dict[str, str] = {"status": _status(response.status)}
    location = response.headers.get("Location", "")
    if location:
        told["location"] = location
    if etag := response.headers.get("ETag"):
        told["etag"] = etag
    if modified := _modified(response):
        told["lastModified"] = modified
    head = write_json(told).encode()
    if response.status >= 400:
        return b'{"response":' + head[:-1] + b',"outcome":' + response.body + b"}}"
    is_read = method in ("GET", "HEAD") or not (location or response.headers.get("ETag"))
    if not response.body or method == "HEAD" or (not is_read and wanted.returned == "minimal"):
        return b'{"response":' + head + b"}"
    if not is_read and wanted.returned == "OperationOutcome":
        return b'{"response":' + head[:-1] + b',"outcome":' + _stored(response) + b"}}"
    address = location.partition("/_history/")[0] or full_url
    begin = b'{"fullUrl":' + write_json(address).encode() + b"," if address else b"{"
    return begin + b'"resource":' + response.body + b',"response":' + head + b"}"


def _status(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def _stored(response: FhirResponse) -> bytes:
    ref, _, version = response.headers.get("Location", "").partition("/_history/")
    name = "/".join(ref.rsplit("/", 2)[-2:])
    message = f"{name} is stored as version {version}."
    return outcome([Issue(message=message, code="informational", severity="information")])


def _modified(response: FhirResponse) -> str:
    """When the resource was stored: to the millisecond from its own text, else from the header."""
    if "Last-Modified" not in response.headers:
        return ""
    if match := _STAMP.match(response.body):
        return match[1].decode()
    return instant(parsedate_to_datetime(response.headers["Last-Modified"]))


def error_of(response: FhirResponse) -> TrackerError:
    """The error behind an answer that a handler gave instead of raising it."""
    told = read_json(response.body) if response.body else {}
    issues = tuple(
        Issue(
            message=str(row.get("diagnostics", "")),
            code=str(row.get("code", "processing")),
            expression=next(iter(row.get("expression", ())), None),
        )
        for row in told.get("issue", ())
    )
    message = issues[0].message if issues else f"The entry was answered {response.status}."
    return _ERRORS.get(response.status, Incorrect)(message, issues=issues)
