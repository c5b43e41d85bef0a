"""Who did what and why, as a Provenance beside each tracker write.

https://hl7.org/fhir/R4/provenance.html
"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_tracker import records
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"


def record(
    tx: Tx, targets: Sequence[Stored], author: Author, why: Why | None = None, *, activity: str = "UPDATE"
) -> Stored:
    """Write the Provenance of one act on `targets`, naming each version; a rule's act names its program version as policy."""
    who: Resource = {"display": author.viewer.name or author.viewer.who}
    if author.viewer.who.startswith(("Practitioner/", "PractitionerRole/")):
        who["reference"] = author.viewer.who
    resource: Resource = {
        "resourceType": "Provenance",
        "target": [{"reference": f"{one.type}/{one.id}/_history/{one.version}"} for one in targets],
        "occurredDateTime": instant((why and why.effective_at) or author.at),
        "recorded": instant(author.at),
        "activity": {"coding": [{"system": _OPERATION, "code": activity}]},
        "agent": [{"type": {"coding": [{"system": _PARTICIPANT, "code": "author"}]}, "who": who}],
    }
    if why and why.reason:
        resource["reason"] = [{"text": why.reason}]
    if why and why.rule:
        resource["policy"] = [f"{CANONICAL}/PlanDefinition/{why.rule}"]
    return records.create(tx, resource, author)
