"""What an EHR no longer returns: noted once, tagged when it is missing twice, and deleted only on the EHR's own word.

A full answer that leaves something out does not say that it was deleted: Oracle Health shows active care teams only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fhir_tracker import intake, records
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at
from fhir_tracker.intake import Tally
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.storage import absences, resources
from fhir_tracker.storage.absences import Absence
from fhir_tracker.storage.database import Tx

TIMES = 2
"""How often in a row something has to be missing, or said to be gone, before anything is done."""
TAG = {
    "system": f"{CANONICAL}/CodeSystem/mirror",
    "code": "no-longer-returned",
    "display": "The EHR no longer returns this",
}


def note(tx: Tx, connection: str, type_: str, missing: Mapping[str, bool], author: Author) -> Tally:
    """Count what a full answer left out: remote id -> whether the EHR says besides, on a read, that it is gone."""
    before = absences.find(tx, connection, type_, missing)
    known = resources.known(tx, connection, type_, missing)
    tally = Tally()
    for remote_id, is_gone in missing.items():
        if remote_id not in known or known[remote_id].deleted:
            absences.drop(tx, connection, type_, remote_id)
            continue
        counted = _counted(before.get(remote_id), connection, type_, remote_id, is_gone, author)
        if counted.gone >= TIMES:
            absences.drop(tx, connection, type_, remote_id)
            tally += Tally(deleted=int(intake.take_deletion(tx, type_, remote_id, None, connection, author)))
            continue
        absences.save(tx, counted)
        if counted.misses >= TIMES:
            _tag(tx, type_, known[remote_id].id, author)
    return tally


def returned(tx: Tx, connection: str, type_: str, remote_ids: Iterable[str], author: Author) -> None:
    """These are returned (again)."""
    for remote_id in absences.find(tx, connection, type_, remote_ids):
        absences.drop(tx, connection, type_, remote_id)
        known = resources.known(tx, connection, type_, [remote_id]).get(remote_id)
        if known is not None and not known.deleted:
            _untag(tx, type_, known.id, author)


def missing_among(tx: Tx, connection: str, type_: str, remote_ids: Iterable[str]) -> frozenset[str]:
    """Which of these were missing from the last full answer."""
    return frozenset(absences.find(tx, connection, type_, remote_ids))


def is_tagged(resource: Resource) -> bool:
    """Whether it is marked as no longer returned."""
    return any(_is_ours(tag) for tag in objects_at(resource, "meta", "tag"))


def _counted(
    before: Absence | None, connection: str, type_: str, remote_id: str, is_gone: bool, author: Author
) -> Absence:
    return Absence(
        connection=connection,
        type=type_,
        remote_id=remote_id,
        misses=(before.misses if before else 0) + 1,
        gone=(before.gone if before else 0) + 1 if is_gone else 0,
        last_at=author.at,
    )


def _tag(tx: Tx, type_: str, id_: str, author: Author) -> None:
    stored = resources.find(tx, author.viewer, type_, id_)
    if stored is None or stored.deleted:
        return
    resource = records.resource_of(stored)
    if not is_tagged(resource):
        meta = resource.get("meta") or {}
        tagged = resource | {"meta": meta | {"tag": [*(meta.get("tag") or []), TAG]}}
        records.save(tx, tagged, author, why=Why(reason="The EHR no longer returns it"))


def _untag(tx: Tx, type_: str, id_: str, author: Author) -> None:
    stored = resources.find(tx, author.viewer, type_, id_)
    if stored is None or stored.deleted:
        return
    resource = records.resource_of(stored)
    if is_tagged(resource):
        meta = resource["meta"]
        kept = [tag for tag in meta["tag"] if not _is_ours(tag)]
        plain = {name: value for name, value in meta.items() if name != "tag"} | ({"tag": kept} if kept else {})
        records.save(tx, resource | {"meta": plain}, author, why=Why(reason="The EHR returns it again"))


def _is_ours(tag: Resource) -> bool:
    return tag.get("system") == TAG["system"] and tag.get("code") == TAG["code"]
