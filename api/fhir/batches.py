"""Batches: the entries of a Bundle one after the other, each for itself, as if it had come alone.

https://hl7.org/fhir/R4/http.html#brules
"""

from __future__ import annotations

import random
from dataclasses import replace

from api.fhir.actions import Finder
from api.fhir.auditing import record
from api.fhir.bundle_answers import LARGEST_ANSWER, entry_text, joined
from api.fhir.bundle_entries import Entry, placed, read_entry
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.negotiation import preference
from api.outcomes import headers_of, outcome_of, status_of
from fhir_tracker import clock
from fhir_tracker.errors import Busy, Category, Incorrect, TooLarge, TrackerError, VersionConflict
from fhir_tracker.fhir.bundle_references import local_form
from fhir_tracker.fhir.json_types import Json
from fhir_tracker.fhir.references import ReferenceKind, parse_reference, rewrite_references, walk_references

_ATTEMPTS = 6
_DENIALS = frozenset({Category.FORBIDDEN, Category.NOT_FOUND})
_NOT_RECORDED = frozenset({Category.BUSY, Category.UNAVAILABLE})


def process(request: FhirRequest, entries: tuple[Json, ...], find: Finder) -> FhirResponse:
    """The batch-response, its entries in the order of the request, each with its own status; one audit row for each."""
    urls = frozenset(url for entry in entries if (url := _full_url(entry)))
    wanted = preference(request.header("prefer"))
    texts = []
    size = 0
    for index, entry in enumerate(entries):
        method = url = ""
        try:
            if size > LARGEST_ANSWER:
                raise TooLarge(f"The answer has more than {LARGEST_ANSWER} bytes already: send fewer entries at once.")
            read = read_entry(request, entry, index, find)
            method, url = read.method, read.read_url
            response = _answer(request, read, urls)
        except TrackerError as error:
            response = FhirResponse(status=status_of(error), body=outcome_of(error), headers=headers_of(error))
        texts.append(entry_text(url, method, response, wanted))
        size += len(texts[-1])
    return joined("batch-response", texts)


def _full_url(entry: Json) -> str:
    url = entry.get("fullUrl") if type(entry) is dict else None
    return url if type(url) is str and url.startswith("urn:") else ""


def _answer(request: FhirRequest, entry: Entry, urls: frozenset[str]) -> FhirResponse:
    given = entry.request
    try:
        given = _local(entry, urls)
        return _write(given, entry) if entry.action.writes else _read(given, entry)
    except TrackerError as error:
        if error.category not in _NOT_RECORDED:
            outcome = "denied" if error.category in _DENIALS else "error"
            note = AuditNote(
                action=entry.action.interaction,
                ref=f"{given.type}/{given.id}".rstrip("/"),
                detail={"status": status_of(error)},
            )
            with request.context.database.begin() as tx:
                record(tx, given, note, outcome)
        raise placed(error, entry.index, given.type) from error


def _local(entry: Entry, urls: frozenset[str]) -> FhirRequest:
    """The request with references to us made relative; raises Incorrect for one to another entry of the batch."""
    resource = entry.request.resource
    if resource is None or not entry.action.writes:
        return entry.request
    for path, reference in walk_references(resource):
        if reference["reference"] in urls:
            raise Incorrect(
                "Entries of a batch cannot refer to each other: send a transaction.", expression=f"{path}.reference"
            )
    base = entry.request.base
    return replace(entry.request, resource=rewrite_references(resource, lambda text: _relative(text, base)))


def _relative(text: str, base: str) -> str:
    local = local_form(text, base)
    return local if parse_reference(local).kind is ReferenceKind.RELATIVE else text


def _read(given: FhirRequest, entry: Entry) -> FhirResponse:
    with given.context.database.read() as tx:
        response = entry.action.handle(given, tx)
    if response.note:
        with given.context.database.begin() as tx:
            record(tx, given, response.note, "success")
    return response


def _write(given: FhirRequest, entry: Entry) -> FhirResponse:
    for attempt in range(_ATTEMPTS):
        try:
            with given.context.database.begin() as tx:
                response = entry.action.handle(given, tx)
                if response.note:
                    record(tx, given, response.note, "success")
                return response
        except VersionConflict:
            if entry.is_guarded:
                raise
            clock.pause(random.uniform(0.0, 0.01 * 2**attempt))  # noqa: S311 - spreads writers, guards nothing
    raise Busy("Others keep changing this resource; try again.")
