"""Who did what and why, as a Provenance beside each tracker write.

https://hl7.org/fhir/R4/provenance.html
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from fhir_tracker import records
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.indexing import IndexRows, index_rows
from fhir_tracker.storage.resources import NewVersion, Stored

_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"


def record(
    tx: Tx, targets: Sequence[Stored], author: Author, why: Why | None = None, *, activity: str = "UPDATE"
) -> Stored:
    """Write the Provenance of one act on `targets`, naming each version; a rule's act names its program version as policy."""
    if why is None and len(targets) == 1:
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
    return records.create(tx, resource, author)


def _record_plain(tx: Tx, target: Stored, author: Author, activity: str) -> Stored:
    """As `records.create` of the same, from parts: there is one beside nearly every write, and they differ in little."""
    id_, updated_at = records.fresh_id(author.at), records.moment_of(author.at)
    moving = _moving([target], author, None)
    head = {"resourceType": "Provenance", "id": id_, "meta": {"versionId": "1", "lastUpdated": instant(updated_at)}}
    tail, constant = _prepared(*_who(author), activity)
    new = NewVersion(
        type="Provenance",
        id=id_,
        version=1,
        updated_at=updated_at,
        body=f"{write_json(head | moving)[:-1]},{tail}",
        patient=None,
        op="create",
    )
    rows = index_rows("Provenance", extract({"resourceType": "Provenance", **moving}))
    return resources.save_indexed(tx, new, rows.with_rows(constant), author)


def _who(author: Author) -> tuple[str, str]:
    return author.viewer.who, author.viewer.name or author.viewer.who


def _moving(targets: Sequence[Stored], author: Author, why: Why | None) -> Resource:
    return {
        "target": [{"reference": f"{one.type}/{one.id}/_history/{one.version}"} for one in targets],
        "occurredDateTime": instant((why and why.effective_at) or author.at),
        "recorded": instant(author.at),
    }


def _fixed(who: str, name: str, activity: str) -> Resource:
    agent: Resource = {"display": name}
    if who.startswith(("Practitioner/", "PractitionerRole/")):
        agent["reference"] = who
    return {
        "activity": {"coding": [{"system": _OPERATION, "code": activity}]},
        "agent": [{"type": {"coding": [{"system": _PARTICIPANT, "code": "author"}]}, "who": agent}],
    }


@lru_cache(maxsize=1024)
def _prepared(who: str, name: str, activity: str) -> tuple[str, IndexRows]:
    """The end of the text, and the index rows, of what one author's Provenances of one activity have in common."""
    fixed = _fixed(who, name, activity)
    return write_json(fixed)[1:], index_rows("Provenance", extract({"resourceType": "Provenance", **fixed}))
