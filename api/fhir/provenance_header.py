"""A caller's own Provenance of one create, update or patch, which comes in the header X-Provenance.

https://hl7.org/fhir/R4/provenance.html#header
"""

from __future__ import annotations

from api.fhir.exchange import FhirRequest
from fhir_tracker import writes
from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

HEADER = "x-provenance"


def proven(request: FhirRequest, tx: Tx, stored: Stored) -> Stored:
    """`stored`, and beside it the Provenance that came with it; raises Incorrect where that is none, and keeps nothing then."""
    text = request.header(HEADER)
    if text:
        told = _read(text) | {"target": [{"reference": f"{stored.ref}/_history/{stored.version}"}]}
        told.setdefault("recorded", instant(request.now))
        writes.create(tx, told, request.author(), tells_of_others=True, patient=stored.patient)
    return stored


def refuse_for_several(request: FhirRequest) -> None:
    """Raise Incorrect where the header comes with a Bundle, which has entries for that."""
    if request.header(HEADER):
        raise Incorrect("X-Provenance goes with one create, update or patch; in a Bundle a Provenance is an entry.")


def _read(text: str) -> Resource:
    try:
        told = read_resource(text.encode("latin-1"))
    except Incorrect as error:
        raise Incorrect(f"X-Provenance cannot be read: {error.message}", expression="Provenance") from None
    if told["resourceType"] != "Provenance":
        raise Incorrect("X-Provenance holds another resource than a Provenance.", expression="Provenance")
    if "target" in told:
        raise Incorrect(
            "X-Provenance names no target: that is what the request writes.", expression="Provenance.target"
        )
    return told
