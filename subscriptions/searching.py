"""Whether something of ours is at an EHR already: by our identifier, and where that cannot tell, by what looks like it.

https://hl7.org/fhir/R4/http.html#search
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote

from fhir_tracker.errors import Incorrect, RemoteFailure
from fhir_tracker.fhir.body import MAX_BYTES, read_resource, write_json
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import moment_at, objects_at
from fhir_tracker.merging import covers
from fhir_tracker.storage import outbox, resources
from subscriptions import ehr_words
from subscriptions.bundles import is_outcome, read_page
from subscriptions.outbound import origin
from subscriptions.rounds import READER, Round, View, base_of
from subscriptions.there import There, held, refuse_write

PAGES = 20
CONTROLS = 5
SKEW = timedelta(minutes=15)
"""How far the EHR's clock may be behind ours for what it made after our sending to be told from what it had before."""
ALIKE = 0.5
"""From which share of our fields on something undated is taken for what we sent."""
_SHOWN = 400


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Something there that may be what we sent; `text` is how it begins."""

    id: str
    text: str = field(repr=False)


def by_identifier(round_: Round, type_: str, value: str) -> There | None:
    """What goes by our identifier there, the oldest when there are several. RemoteFailure when it cannot be asked."""
    own = ehr_words.own_identifier(round_.system, value)
    query = f"{type_}?identifier={quote(f'{round_.system}|{value}', safe='')}"
    found = [
        held(one, text)
        for one, text in _resources(round_, type_, query)
        if any(own.items() <= name.items() for name in objects_at(one, "identifier"))
    ]
    return min(
        found, key=lambda one: (str((one.resource.get("meta") or {}).get("lastUpdated", "")), one.id), default=None
    )


def keeps_identifiers(round_: Round, type_: str) -> bool | None:
    """Whether what we made there before is found by our identifier; None when nothing of ours is there."""
    with round_.database.read() as tx:
        rows = outbox.written(tx, round_.connection.key, type_, CONTROLS)
    seen: bool | None = None
    for row in rows:
        names = objects_at(base_of(row) or {}, "identifier")
        value = next((one["value"] for one in names if one.get("system") == round_.system and "value" in one), None)
        if value is None:
            seen = False
            continue
        there = by_identifier(round_, type_, str(value))
        if there is not None and there.id == row.remote_id:
            return True
        seen = False
    return seen


def alike(round_: Round, view: View, type_: str, body: Resource, since: datetime) -> list[Alike]:
    """What the patient has there that may be `body`, sent at `since`, and that is known here as nothing else.

    Raises RemoteFailure when it cannot be asked for.
    """
    patient = view.stored.patient or ""
    with round_.database.read() as tx:
        known = resources.find(tx, READER, "Patient", patient)
    remote = known.remote_id if known else None
    remote = remote or patient.removeprefix(f"{round_.connection.key}-")
    if not remote:
        raise RemoteFailure("It is about no patient whose record could be looked through.", permanent=True)
    found = list(_resources(round_, type_, f"{type_}?patient={quote(remote, safe='')}&_count=100"))
    strangers = _strangers(round_, view, type_, {str(one.get("id", "")) for one, _ in found}, since)
    return [
        Alike(id=str(one["id"]), text=text[:_SHOWN])
        for one, text in found
        if one.get("id") in strangers and _may_be(one, body, since)
    ]


def _strangers(round_: Round, view: View, type_: str, ids: set[str], since: datetime) -> set[str]:
    """Those of `ids` that are neither written by us nor were known here when it was sent."""
    key = round_.connection.key
    with round_.database.read() as tx:
        written = outbox.of_remote(tx, key, type_, ids)
        refs = {f"{type_}/{local_id(key, one, type_)}": one for one in ids if one}
        mirrored = resources.find_many(tx, READER, refs)
        first = {ref: resources.find_version(tx, READER, type_, stored.id, 1) for ref, stored in mirrored.items()}
    old = {refs[ref] for ref, one in first.items() if one is not None and one.updated_at < since}
    return {one for one in ids if one and one not in written and one not in old}


def _may_be(there: Resource, body: Resource, since: datetime) -> bool:
    updated = moment_at(there, "meta", "lastUpdated")
    if updated is not None:
        return updated >= since - SKEW
    names = [name for name in body if name not in ("resourceType", "id", "meta", "identifier", "text")]
    same = sum(covers(there.get(name), body[name]) for name in names)
    return same >= ALIKE * len(names)


def _resources(round_: Round, type_: str, query: str) -> Iterator[tuple[Resource, str]]:
    """Every resource of the type that a search finds, page by page, with its text."""
    answer = round_.client.search(query)
    for _ in range(PAGES):
        if answer.status == 401 or answer.status >= 500 or answer.status == 429:
            refuse_write(answer)
        page = read_page(answer, "searchset")
        for entry in page.entries:
            if entry.problem or not entry.raw or is_outcome(entry):
                continue
            try:
                resource = read_resource(entry.raw, max_bytes=MAX_BYTES)
            except Incorrect:
                continue
            if resource["resourceType"] == type_:
                yield resource, entry.raw.decode("utf-8", "replace")
        if page.next_url is None:
            return
        if origin(page.next_url) != origin(round_.client.base_url):
            raise RemoteFailure("The server's next page is on another origin, which is not followed.", permanent=True)
        answer = round_.client.get(page.next_url)
    raise RemoteFailure("It answers with more than can be looked through.", permanent=True)


def shown(found: list[Alike]) -> list[dict[str, str]]:
    """As JSON values."""
    return [{"id": one.id, "text": one.text} for one in found]


def text_of(body: Resource) -> str:
    """How what we sent begins."""
    return write_json(body)[:_SHOWN]
