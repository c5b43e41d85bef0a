"""What an EHR sends that we wrote there, or are about to: an echo is nothing new, and a change of theirs is merged, not applied.

The merge is the next write-back's, which reads, merges and writes; here it is only made due.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fhir_tracker import outgoing
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at
from fhir_tracker.storage import outbox
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.outbox import Outgoing
from fhir_tracker.storage.resources import Known

TELLING = ("Communication", "DocumentReference")
"""As what the end of a Task is told where the EHR takes no Tasks."""


def written_there(tx: Tx, connection: str, type_: str, sent: Mapping[str, Resource]) -> dict[str, Outgoing]:
    """Id there -> our row, for those of `sent` (id there -> resource) that we wrote; told by their id or our identifier."""
    system = outgoing.identifier_system(tx)
    if system is None or not sent:
        return {}
    found = outbox.of_remote(tx, connection, type_, sent)
    named = {id_: value for id_, one in sent.items() if id_ not in found and (value := _named(one, system))}
    if named:
        rows = outbox.of_local(tx, connection, [f"{type_}/{value}" for value in named.values()])
        there = {id_: rows.get(f"{type_}/{value}") for id_, value in named.items()}
        found |= {id_: row for id_, row in there.items() if row is not None and row.remote_id is None}
        found |= _telling(tx, connection, type_, {id_: one for id_, one in named.items() if id_ not in found})
    return found


def is_heard(
    tx: Tx,
    row: Outgoing,
    type_: str,
    remote_id: str,
    version: str | None,
    content_hash: str,
    known: Known | None,
    now: datetime,
) -> bool:
    """True when the entry is an echo, or when its merge was made due; False when it is to be applied as any other."""
    if row.made_here:
        if row.type != type_:
            if row.remote_id is None:
                outbox.note(tx, row, state="waiting", due_at=now, remote_type=type_, remote_id=remote_id, sent_at=None)
            return True
        if not _is_news(row, version, content_hash):
            return True
        named = {"remote_type": row.type, "remote_id": remote_id} if row.remote_id is None else {}
        if row.remote_type in (None, row.type):
            outbox.note(tx, row, state="waiting", due_at=now, attempts=0, **named)
        return True
    if row.state not in ("waiting", "conflict") or (known is not None and known.content_hash == content_hash):
        return False
    outbox.note(tx, row, state="waiting", due_at=now, attempts=0)
    return True


def _telling(tx: Tx, connection: str, type_: str, named: Mapping[str, str]) -> dict[str, Outgoing]:
    """Those of `named` (id there -> the value of our identifier) that tell of a Task of ours."""
    if type_ not in TELLING or not named:
        return {}
    refs = {id_: f"Task/{value.partition('/')[0]}" for id_, value in named.items()}
    rows = outbox.of_local(tx, connection, refs.values())
    return {id_: rows[ref] for id_, ref in refs.items() if ref in rows}


def _is_news(row: Outgoing, version: str | None, content_hash: str) -> bool:
    if content_hash == row.remote_hash:
        return False
    if version is None or row.remote_version is None:
        return True
    if version.isdecimal() and row.remote_version.isdecimal() and len(version) < 19:
        return int(version) > int(row.remote_version)
    return version != row.remote_version


def _named(resource: Resource, system: str) -> str | None:
    for one in objects_at(resource, "identifier"):
        if one.get("system") == system and isinstance(one.get("value"), str):
            return str(one["value"])
    return None
