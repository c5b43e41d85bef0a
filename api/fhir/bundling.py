"""transaction and batch: a Bundle posted to the base.

https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

from api.fhir import batches, transactions
from api.fhir.actions import Finder
from api.fhir.bundle_entries import read_bundle
from api.fhir.exchange import FhirRequest, FhirResponse
from api.fhir.provenance_header import refuse_for_several
from fhir_tracker.errors import Incorrect
from fhir_tracker.storage.database import Tx


def process(request: FhirRequest, find: Finder) -> FhirResponse:
    """Do what the entries ask, all or none for a transaction, each for itself for a batch."""
    refuse_for_several(request)
    incoming = read_bundle(request)
    if incoming.type == "transaction":
        return transactions.process(request, incoming.entries, find)
    return batches.process(request, incoming.entries, find)


def nested(request: FhirRequest, tx: Tx) -> FhirResponse:
    """A Bundle within a Bundle is never processed."""
    raise Incorrect("A Bundle cannot be an entry to be processed itself.")
