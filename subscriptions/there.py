"""What an EHR holds of one resource, as its answers to readings and writes tell it.

https://hl7.org/fhir/R4/http.html#concurrency
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn

from fhir_tracker.errors import Incorrect, RemoteFailure
from fhir_tracker.fhir.body import MAX_BYTES, read_resource
from fhir_tracker.fhir.identity import content_hash
from fhir_tracker.fhir.json_types import Resource
from subscriptions.bundles import refuse
from subscriptions.client import Answer, EhrClient

_VERSION = re.compile(r'(?:W/)?"?([^"\s]{1,100})"?')


@dataclass(frozen=True, kw_only=True)
class There:
    """What the EHR holds: the text as sent, read; `version` as it counts, "" when it does not."""

    id: str
    text: str = field(repr=False)
    resource: Resource = field(repr=False)
    version: str


def there_in(client: EhrClient, answer: Answer, type_: str, *, id_: str = "", created: bool = False) -> There:
    """The resource of an answer to a reading or a write; read anew when the write was answered without it."""
    if answer.status not in (200, 201, 204):
        refuse_write(answer)
    try:
        there = held(read_resource(answer.body, max_bytes=MAX_BYTES), answer.body.decode(), answer.etag)
        if there.resource["resourceType"] == type_ and there.id:
            return there
    except Incorrect:
        pass
    where = re.search(rf"{type_}/([^/?#\s]+)", answer.location) if created else None
    known = where[1] if where else id_
    if not known:
        raise RemoteFailure("It answered without the resource.", unknown=created)
    again = client.get(f"{type_}/{known}")
    if again.status != 200:
        refuse_write(again)
    return held(read_resource(again.body, max_bytes=MAX_BYTES), again.body.decode(), again.etag)


def held(resource: Resource, text: str, etag: str = "") -> There:
    """What a text holds; the version is the one in its meta, else that of the ETag."""
    meta = resource.get("meta")
    told = meta.get("versionId") if isinstance(meta, dict) else None
    match = _VERSION.fullmatch(etag.strip())
    version = str(told) if told is not None else (match[1] if match else "")
    return There(id=str(resource.get("id", "")), text=text, resource=resource, version=version)


def agreement(there: There) -> dict[str, object]:
    """What a row of the outbox keeps of what both sides agree on."""
    return {
        "base": there.text,
        "remote_version": there.version or None,
        "remote_hash": content_hash(there.resource),
    }


def refuse_write(answer: Answer) -> NoReturn:
    """Raise what an answer that is no success means; credentials that are refused today may be right tomorrow."""
    if answer.status == 401:
        raise RemoteFailure("The server answered 401: it refused our credentials.", auth=True)
    if answer.status == 409:
        raise RemoteFailure(
            "The server answered 409: it was busy with the same resource.", retry_after=answer.retry_after
        )
    if 200 <= answer.status < 300:
        raise RemoteFailure("The server's answer to a write cannot be read.", unknown=True)
    refuse(answer)
