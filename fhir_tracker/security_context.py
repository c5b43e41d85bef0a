"""Whose a Binary is: it says so by the resource that it names as its security context.

https://hl7.org/fhir/R4/binary-definitions.html#Binary.securityContext
"""

from __future__ import annotations

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import text_at
from fhir_tracker.model.subject import id_of
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx


def patient_of_context(tx: Tx, resource: Resource, viewer: Viewer) -> str | None:
    """The patient of a Binary: the one it names, or whose the resource is that it names; None where it tells of nobody."""
    if resource["resourceType"] != "Binary":
        return None
    named = text_at(resource, "securityContext", "reference") or ""
    if patient := id_of(named, "Patient"):
        return patient
    ref = "/".join(named.split("/")[:2])
    found = resources.find_many(tx, viewer.behind(), [ref]).get(ref)
    return found.patient if found else None
