"""Whose a Binary is: it says so by the resource that it names as its security context.

https://hl7.org/fhir/R4/binary-definitions.html#Binary.securityContext
"""

from __future__ import annotations

from fhir_tracker.fhir.body import read_stored
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import text_at
from fhir_tracker.model.subject import id_of
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored


def binaries_of(tx: Tx, context: Stored, patient: str, viewer: Viewer) -> list[Resource]:
    """The Binaries made here and counted to `patient` whose security context is this resource, of whatever version."""
    ref = f"{context.type}/{context.id}"
    found = resources.naming(tx, viewer.behind(), "Binary", patient, ref)
    bodies = [read_stored(one.body) for one in found if one.connection is None]
    return [one for one in bodies if _context_of(one) == ref]


def patient_of_context(tx: Tx, resource: Resource, viewer: Viewer) -> str | None:
    """The patient of a Binary: the one it names, or whose the resource is that it names; None where it tells of nobody."""
    if resource["resourceType"] != "Binary":
        return None
    ref = _context_of(resource)
    if patient := id_of(ref, "Patient"):
        return patient
    found = resources.find_many(tx, viewer.behind(), [ref]).get(ref)
    return found.patient if found else None


def _context_of(binary: Resource) -> str:
    named = text_at(binary, "securityContext", "reference") or ""
    return "/".join(named.split("/")[:2])
