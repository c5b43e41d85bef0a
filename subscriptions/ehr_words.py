"""Our resources in an EHR's words: its ids where it has what they point to, our identifiers where it has not.

https://hl7.org/fhir/R4/references.html#logical
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime

from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import objects_at, text_at
from fhir_tracker.fhir.references import ReferenceKind, parse_reference, rewrite_references, walk_references
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import outbox, resources
from fhir_tracker.storage.database import Tx
from mappings import Mapping as Dialect
from mappings import Source

CLOSED = frozenset({"completed", "failed", "cancelled", "rejected", "entered-in-error"})
_NOTE_TYPE = {
    "coding": [{"system": "http://loinc.org", "code": "34109-9", "display": "Note"}],
    "text": "Care plan work",
}
_NOT_THERE = "urn:fhir-tracker:"
_READER = worker_viewer("write-back")


def in_ehr_words(tx: Tx, resource: Resource, source: Source, mapping: Dialect, system: str) -> Resource | None:
    """`resource` as the EHR would hold it, without id; None when its mapping has no place for it there."""
    known = _known_there(tx, resource, source)
    foreign = rewrite_references(resource, lambda text: _there(text, known, source))
    translated = mapping.to_ehr(foreign, source)
    if translated is None:
        return None
    logical: Resource = _logical(translated, system)
    return {name: value for name, value in logical.items() if name != "id"}


def own_identifier(system: str, local: str) -> Resource:
    """The identifier under which something made here goes by there."""
    return {"system": system, "value": local}


def with_identifier(resource: Resource, system: str, local: str) -> Resource:
    """A copy that carries our identifier."""
    held = objects_at(resource, "identifier")
    if any(one.get("system") == system for one in held):
        return resource
    return resource | {"identifier": [*(resource.get("identifier") or []), own_identifier(system, local)]}


def without_identifier(resource: Resource, system: str) -> Resource:
    """A copy without it."""
    kept = [one for one in resource.get("identifier") or [] if not _is_own(one, system)]
    rest = {name: value for name, value in resource.items() if name != "identifier"}
    return rest | ({"identifier": kept} if kept else {})


def name_of(local: str, times: int) -> str:
    """The value of our identifier on what tells of the work `local`, when that was told `times` before."""
    return f"{local}/{times + 1}" if times else local


def told_as(kind: str, task: Resource, patient: str, system: str, name: str, now: datetime) -> Resource:
    """What tells the EHR of closed work that it cannot hold: a Communication, or a DocumentReference with a note.

    `patient` is a reference here; `name` is the value of our identifier on it.
    """
    identifier, text = [own_identifier(system, name)], in_a_sentence(task)
    if kind == "communication":
        return {
            "resourceType": "Communication",
            "identifier": identifier,
            "status": "completed",
            "subject": {"reference": patient},
            "sent": instant(now),
            "payload": [{"contentString": text}],
        }
    data = base64.b64encode(text.encode()).decode()
    return {
        "resourceType": "DocumentReference",
        "identifier": identifier,
        "status": "current",
        "type": _NOTE_TYPE,
        "subject": {"reference": patient},
        "date": instant(now),
        "content": [{"attachment": {"contentType": "text/plain; charset=utf-8", "data": data}}],
    }


def headline(task: Resource) -> str:
    """`TCM first call: Reached.`"""
    title = text_at(task, "code", "text") or text_at(task, "description") or "Care plan work"
    status = text_at(task, "businessStatus", "text") or str(task.get("status", ""))
    return f"{title}: {status}."


def in_a_sentence(task: Resource) -> str:
    """`TCM first call: Reached. Spoke to her daughter.`"""
    notes = [found for one in objects_at(task, "note") if (found := text_at(one, "text"))]
    return headline(task) + (f" {notes[-1]}" if notes else "")


def _known_there(tx: Tx, resource: Resource, source: Source) -> Mapping[str, str]:
    """Reference here -> absolute reference there, for what the EHR has."""
    texts = {str(one["reference"]).partition("/_history/")[0] for _, one in walk_references(resource)}
    local = {text for text in texts if parse_reference(text).kind is ReferenceKind.RELATIVE}
    found: dict[str, str] = {}
    for ref, stored in resources.find_many(tx, _READER, local).items():
        if stored.connection == source.key and stored.remote_id:
            found[ref] = f"{source.base_url}/{stored.type}/{stored.remote_id}"
    for ref, row in outbox.of_local(tx, source.key, local - found.keys()).items():
        if row.remote_id and row.remote_type == row.type:
            found[ref] = f"{source.base_url}/{row.type}/{row.remote_id}"
    return found


def _there(text: str, known: Mapping[str, str], source: Source) -> str:
    plain = text.partition("/_history/")[0]
    if plain in known:
        return known[plain]
    parsed = parse_reference(plain)
    is_ours = parsed.kind is ReferenceKind.RELATIVE and not parsed.id.startswith(f"{source.key}-")
    return f"{_NOT_THERE}{plain}" if is_ours else text


def _logical(value: Json, system: str) -> Json:
    """References to what the EHR does not have name it by our identifier: an id of ours would be another thing there."""
    if isinstance(value, list):
        return [_logical(one, system) for one in value]
    if not isinstance(value, dict):
        return value
    fresh = {name: _logical(member, system) for name, member in value.items()}
    text = fresh.get("reference")
    if isinstance(text, str) and text.startswith(_NOT_THERE):
        type_, _, id_ = text.removeprefix(_NOT_THERE).partition("/")
        del fresh["reference"]
        fresh = {"type": type_, "identifier": own_identifier(system, id_)} | fresh
    return fresh


def _is_own(item: Json, system: str) -> bool:
    return isinstance(item, dict) and item.get("system") == system
