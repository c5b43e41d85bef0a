"""Batches: the entries of a Bundle one after the other, each for itself, as if it had come alone.

https://hl7.org/fhir/R4/http.html#brules
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import groupby

from api.fhir.actions import Finder
from api.fhir.auditing import record
from api.fhir.bundle_answers import LARGEST_ANSWER, entry_text, joined
from api.fhir.bundle_entries import Entry, placed, read_entry
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.failing import failure, is_recorded, refusal, repeated
from api.fhir.negotiation import preference
from fhir_tracker.errors import Incorrect, TooLarge, TrackerError
from fhir_tracker.fhir.bundle_references import local_form
from fhir_tracker.fhir.json_types import Json
from fhir_tracker.fhir.references import ReferenceKind, parse_reference, rewrite_references, walk_references

READS_AT_ONCE = 50
"""Entries that only read and follow each other share a view of the store and the writing of their audit rows."""

_Read = Entry | TrackerError
_Answered = tuple[_Read, FhirResponse]


def process(request: FhirRequest, entries: tuple[Json, ...], find: Finder) -> FhirResponse:
    """The batch-response, its entries in the order of the request, each with its own status; one audit row for each."""
    request = request.having(bundle="batch")
    urls = frozenset(url for entry in entries if (url := _full_url(entry)))
    wanted = preference(request.header("prefer"))
    find = cache(find)
    texts: list[bytes] = []
    size = 0
    for group in _groups([_read(request, entry, index, find) for index, entry in enumerate(entries)]):
        if size > LARGEST_ANSWER:
            answered: Sequence[_Answered] = [(one, refusal(_too_large())) for one in group]
        else:
            answered = _answers(request, group, urls)
        for one, response in answered:
            url, method = (one.read_url, one.method) if isinstance(one, Entry) else ("", "")
            texts.append(entry_text(url, method, response, wanted))
            size += len(texts[-1])
    return joined("batch-response", texts)


def _full_url(entry: Json) -> str:
    url = entry.get("fullUrl") if type(entry) is dict else None
    return url if type(url) is str and url.startswith("urn:") else ""


def _read(request: FhirRequest, entry: Json, index: int, find: Finder) -> _Read:
    try:
        return read_entry(request, entry, index, find)
    except TrackerError as error:
        return error


def _groups(entries: Sequence[_Read]) -> Iterator[list[_Read]]:
    """Each write by itself, reads together as far as they follow each other."""
    for writes, group in groupby(entries, lambda one: isinstance(one, Entry) and one.action.writes):
        some = list(group)
        step = 1 if writes else READS_AT_ONCE
        yield from (some[start : start + step] for start in range(0, len(some), step))


def _answers(request: FhirRequest, group: Sequence[_Read], urls: frozenset[str]) -> Sequence[_Answered]:
    only = group[0]
    try:
        if isinstance(only, Entry) and only.action.writes:
            return [(only, _write(request, only, urls))]
        return _look(request, group)
    except TrackerError as error:
        return [(one, refusal(one if isinstance(one, TrackerError) else error)) for one in group]


def _look(request: FhirRequest, group: Sequence[_Read]) -> list[_Answered]:
    rows: list[tuple[FhirRequest, AuditNote, str]] = []
    answered: list[_Answered] = []
    with request.context.database.read() as tx:
        for one in group:
            if isinstance(one, TrackerError):
                answered.append((one, refusal(one)))
                continue
            try:
                response = one.action.handle(one.request, tx)
            except TrackerError as error:
                if not is_recorded(error):
                    raise
                rows.append(_failure(one, error))
                response = refusal(placed(error, one.index, one.request.type))
            else:
                rows += [(one.request, response.note, "success")] if response.note else []
            answered.append((one, response))
    if rows:
        with request.context.database.begin() as tx:
            for row in rows:
                record(tx, *row)
    return answered


def _write(request: FhirRequest, entry: Entry, urls: frozenset[str]) -> FhirResponse:
    try:
        work = partial(_written, _local(entry, urls), entry)
        return repeated(work, lambda: entry.is_guarded, "Others keep changing this resource; try again.")
    except TrackerError as error:
        if is_recorded(error):
            with request.context.database.begin() as tx:
                record(tx, *_failure(entry, error))
        return refusal(placed(error, entry.index, entry.request.type))


def _written(given: FhirRequest, entry: Entry) -> FhirResponse:
    with given.context.database.begin() as tx:
        response = entry.action.handle(given, tx)
        if response.note:
            record(tx, given, response.note, "success")
        return response


def _local(entry: Entry, urls: frozenset[str]) -> FhirRequest:
    """The request with references to us made relative; raises Incorrect for one to another entry of the batch."""
    resource = entry.request.resource
    if resource is None:
        return entry.request
    for path, reference in walk_references(resource):
        if reference["reference"] in urls:
            raise Incorrect(
                "Entries of a batch cannot refer to each other: send a transaction.", expression=f"{path}.reference"
            )
    base = entry.request.base
    return entry.request.having(resource=rewrite_references(resource, lambda text: _relative(text, base)))


def _relative(text: str, base: str) -> str:
    local = local_form(text, base)
    return local if parse_reference(local).kind is ReferenceKind.RELATIVE else text


def _failure(entry: Entry, error: TrackerError) -> tuple[FhirRequest, AuditNote, str]:
    return entry.request, *failure(entry.request, entry.action, error)


def _too_large() -> TooLarge:
    return TooLarge(f"The answer has more than {LARGEST_ANSWER} bytes already: send fewer entries at once.")
