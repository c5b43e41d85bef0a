"""Bundles joined from stored texts, which are never parsed on the way out.

https://hl7.org/fhir/R4/bundle.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

import msgspec

from api.fhir.exchange import Pairs
from api.fhir.query_text import query_text
from fhir_tracker.errors import Issue
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.outcome import operation_outcome
from fhir_tracker.fhir.subsets import WHOLE, Subset, subset_text
from fhir_tracker.storage.history import PastVersion
from fhir_tracker.storage.key_walk import Hit
from fhir_tracker.storage.resources import Stored

_METHOD = {"create": "POST", "update": "PUT", "delete": "DELETE"}
_STATUS = {"create": "201 Created", "update": "200 OK", "delete": "204 No Content"}


def bundle(
    type_: str, entries: Iterable[str], links: Sequence[tuple[str, str]], at: datetime, total: int | None
) -> bytes:
    """A Bundle of ready-made entry texts; `links` are (relation, address) pairs."""
    head: dict[str, object] = {"resourceType": "Bundle", "type": type_, "meta": {"lastUpdated": instant(at)}}
    if total is not None:
        head["total"] = total
    head["link"] = [{"relation": relation, "url": url} for relation, url in links]
    joined = ",".join(entries)
    tail = f',"entry":[{joined}]' if joined else ""
    return f"{_json(head)[:-1]}{tail}}}".encode()


def match_entries(base: str, found: Iterable[Stored | Hit], subset: Subset = WHOLE) -> Iterable[str]:
    """The entries of the matches of a searchset. Types and ids need no escaping, so the text around a body is made once."""
    if not subset.is_whole:
        return (match_entry(base, one, "match", subset) for one in found)
    start = f'{{"fullUrl":{_json(base)[:-1]}/'
    return [f'{start}{one.type}/{one.id}","resource":{one.body},"search":{{"mode":"match"}}}}' for one in found]


def match_entry(base: str, stored: Stored | Hit, mode: str = "match", subset: Subset = WHOLE) -> str:
    """One entry of a searchset."""
    text = subset_text(stored.body, subset, is_match=mode == "match")
    return f'{{"fullUrl":{_json(f"{base}/{stored.ref}")},"resource":{text},"search":{{"mode":"{mode}"}}}}'


def outcome_entry(issues: Sequence[Issue]) -> str:
    """An entry that tells the caller about the search itself; its address stands for what it says."""
    told = write_json(operation_outcome(issues))
    full_url = _json(uuid5(NAMESPACE_URL, told).urn)
    return f'{{"fullUrl":{full_url},"resource":{told},"search":{{"mode":"outcome"}}}}'


def version_entry(base: str, version: PastVersion, subset: Subset = WHOLE) -> str:
    """One entry of a history; a deletion has no resource. What came into being again was put under its id."""
    ref = f"{version.type}/{version.id}"
    method = "PUT" if version.op == "create" and version.version > 1 else _METHOD[version.op]
    request = {"method": method, "url": version.type if method == "POST" else ref}
    response = {
        "status": _STATUS[version.op],
        "etag": f'W/"{version.version}"',
        "lastModified": instant(version.updated_at),
    }
    body = f'"resource":{subset_text(version.body, subset)},' if version.body else ""
    return f'{{"fullUrl":{_json(f"{base}/{ref}")},{body}"request":{_json(request)},"response":{_json(response)}}}'


def address(base: str, path: str, pairs: Pairs) -> str:
    """An absolute address of our API with these parameters."""
    query = query_text(pairs, safe=":/,$")
    whole = f"{base}/{path}" if path else base
    return f"{whole}?{query}" if query else whole


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
