"""Who did what and why, as a Provenance beside each tracker write.

https://hl7.org/fhir/R4/provenance.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from fhir_tracker import records, restrictions
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.dates import instant, milliseconds
from fhir_tracker.fhir.identity import is_legal_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.search_rows import ReferenceRow
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.indexing import IndexRows, index_rows, part_keys
from fhir_tracker.storage.resources import NewVersion, Stored

_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_PEOPLE = ("Practitioner/", "PractitionerRole/", "RelatedPerson/", "Patient/")
_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"


def record(
    tx: Tx, targets: Sequence[Stored], author: Author, why: Why | None = None, *, activity: str = "UPDATE"
) -> Stored:
    """Write the Provenance of one act on `targets`, naming each version; a rule's act names its program version as policy."""
    if why is None and len(targets) == 1 and is_legal_id(targets[0].id):
        return _record_plain(tx, targets[0], author, activity)
    resource: Resource = {
        "resourceType": "Provenance",
        **_moving(targets, author, why),
        **_fixed(*_who(author), activity),
    }
    if why and why.reason:
        resource["reason"] = [{"text": why.reason}]
    if why and why.rule:
        resource["policy"] = [f"{CANONICAL}/PlanDefinition/{why.rule}"]
    patients = {one.patient for one in targets}
    return records.create(tx, resource, author, patient=next(iter(patients)) if len(patients) == 1 else None)


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """What the plain Provenances of one author, activity and type of target have in common.

    `pointing` are the parameters by which the target is found, `dated` the keys under which the moment lies.
    """

    tail: str
    keys: frozenset[int]
    pointing: tuple[str, ...]
    dated: tuple[int, ...]


def _record_plain(tx: Tx, target: Stored, author: Author, activity: str) -> Stored:
    """As `records.create` of the same, from parts: there is one beside nearly every write, and they differ in little."""
    id_, updated_at, at = records.fresh_id(author.at), records.moment_of(author.at), instant(author.at)
    prepared = _prepared(*_who(author), activity, target.type)
    new = NewVersion(
        type="Provenance",
        id=id_,
        version=1,
        updated_at=updated_at,
        body=f'{{"resourceType":"Provenance","id":"{id_}","meta":{{"versionId":"1","lastUpdated":"{at}"}},'
        f'"target":[{{"reference":"{_reference(target)}"}}],"occurredDateTime":"{at}","recorded":"{at}",{prepared.tail}',
        patient=target.patient,
        op="create",
    )
    low = milliseconds(author.at)
    rows = IndexRows(
        keys=prepared.keys.union(_target_keys(prepared.pointing, target.type, target.id)),
        dates=frozenset([(key, low, low + 1) for key in prepared.dated]),
    )
    stored = resources.save_indexed(tx, new, rows, author)
    restrictions.keep_trace(tx, stored, [target.ref])
    return stored


def _target_keys(pointing: Sequence[str], type_: str, id_: str) -> list[int]:
    rows = [ReferenceRow(param, type_, id_, None) for param in pointing]
    return [key for row in rows for key in part_keys("Provenance", row.param, row)]


def _who(author: Author) -> tuple[str, str, str]:
    """Reference and name of who acts, and the client through which."""
    return author.viewer.who, author.viewer.name or author.viewer.who, author.viewer.client


def _moving(targets: Sequence[Stored], author: Author, why: Why | None) -> Resource:
    return {
        "target": [{"reference": _reference(one)} for one in targets],
        "occurredDateTime": instant((why and why.effective_at) or author.at),
        "recorded": instant(author.at),
    }


def _reference(target: Stored) -> str:
    return f"{target.type}/{target.id}/_history/{target.version}"


def _fixed(who: str, name: str, client: str, activity: str) -> Resource:
    agents = [{"type": _participant("author"), "who": _agent(who, name)}]
    if client and who.startswith(_PEOPLE):
        through = {"type": "Device", "identifier": {"value": client}, "display": client}
        agents.append({"type": _participant("assembler"), "who": through, "onBehalfOf": _agent(who, name)})
    return {"activity": {"coding": [{"system": _OPERATION, "code": activity}]}, "agent": agents}


def _agent(who: str, name: str) -> Resource:
    """A person by reference; a program, a client or a worker, which are no resources here, by what they are called."""
    if who.startswith(_PEOPLE):
        return {"display": name, "reference": who}
    type_, _, called = who.partition("/")
    if type_ == "Device" and called:
        return {"type": type_, "identifier": {"value": called}, "display": name}
    return {"display": name}


def _participant(code: str) -> Resource:
    return {"coding": [{"system": _PARTICIPANT, "code": code}]}


@lru_cache(maxsize=1024)
def _prepared(who: str, name: str, client: str, activity: str, type_: str) -> _Prepared:
    fixed = _fixed(who, name, client, activity)
    moving = {"target": [{"reference": f"{type_}/sample"}], "occurredDateTime": "2024", "recorded": "2024"}
    values = extract({"resourceType": "Provenance", **moving, **fixed})
    rows = index_rows("Provenance", values)
    pointing = tuple(row.param for row in values.references if (row.type, row.id) == (type_, "sample"))
    return _Prepared(
        tail=write_json(fixed)[1:],
        keys=rows.keys.difference(_target_keys(pointing, type_, "sample")),
        pointing=pointing,
        dated=tuple(key for key, _, _ in rows.dates),
    )
