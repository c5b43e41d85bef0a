"""Which changes are to reach an EHR: noted in the outbox in the transaction of the change.

A connection's option `write_back` names the types. What is written is what belongs to that connection: the resources mirrored
from it, and those made here for its patients. What came from an EHR never goes back to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

from fhir_tracker import failpoints
from fhir_tracker.errors import RuleBroken
from fhir_tracker.fhir.body import read_stored
from fhir_tracker.fhir.codeable import first_code
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.merging import changed
from fhir_tracker.model.author import Author
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.vocabulary import WORK_SYSTEM
from fhir_tracker.ownership import ADDED_TO, Owners, owner_of
from fhir_tracker.storage import changes, outbox, resources
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.outbox import Changed
from fhir_tracker.storage.resources import Stored

REMEMBERED = timedelta(seconds=1)
"""How long a process goes by what it knows of the connections' options; what it misses by that is caught up on."""
_TARGETS = "write-back targets"
_INSTALLATION = "installation"
_READER = worker_viewer("write-back")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A connection that takes writes of `types`; `owners` as in its option."""

    key: str
    types: frozenset[str]
    owners: Owners = field(default_factory=dict)


def targets(tx: Tx, now: datetime) -> Mapping[str, Target]:
    """The connections that are written back to, by key; asked for once a second in a process."""
    kept = cast("tuple[datetime, Mapping[str, Target]] | None", tx.kept.get(_TARGETS))
    if kept is None or abs(now - kept[0]) > REMEMBERED:
        kept = (now, _read_targets(tx))
        tx.kept[_TARGETS] = kept
    return kept[1]


def forget_targets(tx: Tx) -> None:
    """The connections change in this transaction."""
    tx.kept.pop(_TARGETS, None)


def note(tx: Tx, stored: Stored, resource: Resource | None, author: Author) -> None:
    """Let a version that was just written wait for the EHR it concerns, if it does; `resource` is None for a deletion."""
    found = targets(tx, author.at)
    if not found:
        return
    target = _target_of(found, stored)
    if target is None or author.connection == target.key:
        return
    if resource is None:
        outbox.withdrawn(tx, stored.type, stored.id, stored.version, author.at)
    elif not is_own_affair(resource):
        failpoints.reached("change-before-outbox")
        outbox.put(tx, _changed(tx, stored, target), author.at)
        failpoints.reached("change-after-outbox")


def is_own_affair(resource: Resource) -> bool:
    """Whether it is work about the tracker and its ladders, such as an escalation, which no EHR hears of."""
    return resource["resourceType"] == "Task" and first_code(resource.get("code"), WORK_SYSTEM) is not None


def check_mirrored(tx: Tx, before: Stored, resource: Resource, old: Resource, now: datetime) -> None:
    """Raise RuleBroken unless the EHR that `before` is mirrored from is one that takes this change."""
    target = targets(tx, now).get(before.connection or "")
    if target is None or before.type not in target.types:
        raise RuleBroken(f"{before.ref} is the copy of an EHR's: change it there.")
    for name in sorted(changed(old, resource) - ADDED_TO):
        if owner_of(before.type, name, made_here=False, owners=target.owners) == "ehr":
            raise RuleBroken(f"`{name}` of {before.ref} is the EHR's: change it there.", expression=name)


def identifier_system(tx: Tx, fresh: str | None = None) -> str | None:
    """The system under which this installation's own resources go by in EHRs; made from `fresh` when there is none yet.

    Without `fresh`: None when nothing was ever written to an EHR.
    """
    installation = states.get(tx, _INSTALLATION)
    if installation is None and fresh is not None:
        installation = fresh
        states.put(tx, _INSTALLATION, installation)
    return f"{CANONICAL}/installation/{installation}" if installation else None


def catch_up(tx: Tx, target: Target, since: datetime, now: datetime) -> int:
    """Note what was written since the connection was added by processes that did not know of it yet; how many."""
    written = changes.written_since(tx, since, sorted(target.types), f"ehr:{target.key}")
    noted = outbox.of_local(tx, target.key, written)
    missed = 0
    for ref, stored in resources.find_many(tx, _READER, [one for one in written if one not in noted]).items():
        if ref in noted or stored.deleted or _target_of({target.key: target}, stored) is None:
            continue
        if not is_own_affair(read_stored(stored.body)):
            outbox.put(tx, _changed(tx, stored, target), now)
            missed += 1
    return missed


def _read_targets(tx: Tx) -> Mapping[str, Target]:
    found: dict[str, Target] = {}
    for key, options in outbox.connection_options(tx):
        if types := options.get("write_back"):
            found[key] = Target(key=key, types=frozenset(types), owners=options.get("owners") or {})
    return found


def _target_of(found: Mapping[str, Target], stored: Stored) -> Target | None:
    """The connection a resource belongs to: where it came from, else that of its patient, whose id begins with its key."""
    if stored.connection is not None:
        target = found.get(stored.connection)
    else:
        patient = stored.patient or ""
        target = next((one for one in found.values() if patient.startswith(f"{one.key}-")), None)
    return target if target is not None and stored.type in target.types else None


def _changed(tx: Tx, stored: Stored, target: Target) -> Changed:
    if stored.connection is None:
        return Changed(
            connection=target.key,
            type=stored.type,
            local_id=stored.id,
            patient=stored.patient,
            made_here=True,
            version=stored.version,
        )
    return Changed(
        connection=target.key,
        type=stored.type,
        local_id=stored.id,
        patient=stored.patient,
        made_here=False,
        version=stored.version,
        agreed_version=stored.version - 1,
        base=resources.remote_body(tx, _READER, stored.type, stored.id),
        remote_id=stored.remote_id,
        remote_version=stored.remote_version,
        remote_hash=stored.content_hash,
    )
